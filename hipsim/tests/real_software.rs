//! Programs and libraries that know nothing of the simulator: hipcc's output and Debian's librocrand.
//!
//! They need `apt-get install hipcc librocrand1 librocrand-dev libamdhip64-dev` and fail without.

use crate::support::{self, Bench, start};

#[test]
fn a_hipcc_program_computes_what_it_should() {
    let bench = Bench::new();
    let program = bench.hipcc("launches", &[]);
    let output = bench.run(&program, &[]);
    assert!(output.starts_with("ok gfx906"), "{output}");
    // The same program with slow kernels: the four launches between its events take at least their time.
    let slow = support::finish(
        bench
            .command(&program)
            .env("HIPSIM_KERNELS", "*saxpy*=10ms,unknown=5ms"),
    );
    let ms: f64 = slow
        .split_whitespace()
        .nth(2)
        .and_then(|ms| ms.parse().ok())
        .expect("a time");
    assert!((35.0..200.0).contains(&ms), "{slow}");
}

#[test]
fn librocrand_runs_and_launches_its_own_kernels() {
    let bench = Bench::new();
    let program = bench.hipcc("random", &["-lrocrand"]);
    let (status, out, err) = start(bench.command(&program).env("HIPSIM_TRACE", "1")).wait();
    assert!(status.success(), "{out}\n{err}");
    assert_eq!(out.trim(), "ok");
    let launches = err
        .lines()
        .filter(|line| line.starts_with("hipsim: hipLaunchKernel("))
        .count();
    assert!(launches >= 18, "{launches} launches traced");
}

#[test]
fn code_objects_of_hipcc_are_loaded_and_their_known_kernels_compute() {
    let bench = Bench::new();
    let program = bench.compile("code_object");
    let object = bench.hipcc("kernels.hip", &["--genco"]);
    let output = support::finish(bench.command(&program).arg(&object));
    assert_eq!(output.trim(), "ok");
}

/// Code of hipcc for one processor, on a device with another.
#[test]
fn code_for_another_architecture_is_refused() {
    let bench = Bench::new();
    let program = bench.hipcc("launches", &[]);
    let (status, _, err) =
        start(bench.command(&program).env("HIPSIM_ARCHITECTURE", "gfx90a")).wait();
    assert!(!status.success());
    assert!(err.contains("no kernel image is available"), "{err}");
    let loader = bench.compile("code_object");
    let object = bench.hipcc("kernels.hip", &["--genco"]);
    let mut command = bench.command(&loader);
    command.arg(&object).env("HIPSIM_ARCHITECTURE", "gfx90a");
    let (status, _, err) = start(&mut command).wait();
    assert!(!status.success());
    assert!(err.contains("209 (hipErrorNoBinaryForGpu)"), "{err}");
}
