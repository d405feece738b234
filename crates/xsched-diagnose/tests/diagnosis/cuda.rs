//! Processes that use CUDA's driver library.

use super::*;

const LAZY: &str = "1";
const DRIVER: &str = "libcuda.so.1";
const SHIM: &str = "libxsched_shim_cuda.so";

/// A program that opens a user of the driver; the driver, and a shim of that name, do nothing.
fn start(preload: Option<&str>) -> Process {
    let set = fixtures();
    let driver = "int cuLaunchKernel(void *f) { return 0; }";
    let library = ["-shared", "-fPIC"];
    let named = format!("-Wl,-soname,{DRIVER}");
    set.cc(driver, DRIVER, &[&library[..], &[&named]].concat());
    set.cc(driver, SHIM, &library);
    let user = "int cuLaunchKernel(void *f); int go(int call) { return cuLaunchKernel(0); }";
    let found = "-Wl,-rpath,$ORIGIN";
    set.cc(
        user,
        "libuser.so",
        &[&library[..], &[DRIVER, found]].concat(),
    );
    set.start("plain", preload, &["./libuser.so", LAZY, "1"])
}

#[test]
fn a_cuda_program_without_the_shim() {
    let report = examine(&start(None));
    let evidence = only(&report, "shim-not-loaded", Severity::Error);
    assert!(
        evidence.contains("libuser.so: 1 launch function"),
        "{evidence}"
    );
    let runtimes: Vec<&str> = report.runtimes.iter().map(|path| base(path)).collect();
    assert_eq!(runtimes, [DRIVER]);
    let fix = &report.findings[0].fix;
    assert!(fix.contains(SHIM), "{fix}");
}

#[test]
fn a_cuda_program_under_its_shim() {
    let report = examine(&start(Some(&fixtures().text(SHIM))));
    assert_eq!(codes(&report), [], "{report}");
    assert_eq!(report.shim.as_deref().map(base), Some(SHIM));
}

/// One shim for each platform: the other's does not take the launches.
#[test]
fn a_cuda_program_under_another_platforms_shim() {
    let hips = fixtures().text("libxsched_shim.so");
    let report = examine(&start(Some(&hips)));
    let errors = codes(&report).iter().any(|(_, s)| *s == Severity::Error);
    assert!(errors, "{report}");
}
