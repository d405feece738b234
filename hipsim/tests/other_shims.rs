//! Other people's shims run on the simulated device: here one that is built like XSched's, with deferred launches, contexts
//! set on its worker threads and the real library opened by path (`conformance/faulty/shims/deferring.c`).

use std::path::Path;
use std::process::Command;

use crate::support::{Bench, finish, succeed};

#[test]
fn a_deferring_shim_runs_on_every_version() {
    let bench = Bench::new();
    let program = bench.compile("deferred");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shim = bench.path("libdeferring.so");
    succeed(
        Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-pthread", "-I"])
            .arg(root.join("include"))
            .arg(root.join("../conformance/faulty/shims/deferring.c"))
            .arg("-o")
            .arg(&shim)
            .arg("-ldl"),
        "a C compiler is needed: apt-get install gcc libc6-dev",
    );
    for (major, version) in [(5, "5.7"), (6, "6.4"), (7, "7.2")] {
        // The program by the version it is linked with; the shim by path.
        let soname = format!("libamdhip64.so.{major}");
        let linked = bench.path(&format!("deferred{major}"));
        succeed(
            Command::new("cc")
                .arg("-I")
                .arg(root.join("include"))
                .arg(root.join("tests/c/deferred.c"))
                .arg(bench.library().join(&soname))
                .arg("-o")
                .arg(&linked),
            "a C compiler is needed: apt-get install gcc libc6-dev",
        );
        let native = finish(&mut bench.command(&linked));
        assert_eq!(native, format!("100 100 100 HIP {version}\n"));
        let deferred = finish(
            bench
                .command(&linked)
                .env("LD_PRELOAD", &shim)
                .env("DEFERRING_HIP_LIBRARY", bench.library().join(&soname)),
        );
        assert_eq!(deferred, native, "{soname}");
    }
    let older = finish(bench.command(&program).env("HIPSIM_RUNTIME_VERSION", "6.1"));
    assert!(older.ends_with("HIP 6.1\n"), "{older}");
}
