//! A program like Triton or hip-python: Python that opens the runtime and
//! looks its functions up, so that no slot of any file shows the calls.

use std::process::Command;

use xsched_common::bpf::CallRoute;

use super::*;

/// hipLaunchKernel's arguments as integers: two dim3 by value fill four
/// registers, shared memory and stream are on the stack.
const PROGRAM: &str = "
import ctypes, time
launch = ctypes.CDLL('libamdhip64.so.5').hipLaunchKernel
launch.argtypes = [ctypes.c_size_t] * 8
launch(1, 1, 1, 1, 1, 1, 0, 0x5000)
print('ready', flush=True)
for i in range(60000):
    launch(1, 1, 1, 1, 1, 1, 0, 0x5000)
    time.sleep(0.001)
";

/// What a second of its calls shows; `None` when such tests are left out.
fn observe(preload: Option<String>) -> Option<Report> {
    const PYTHON: &str = "/usr/bin/python3";
    if xsched_testkit::no_bpf() {
        return None;
    }
    if !std::path::Path::new(PYTHON).exists() {
        eprintln!("LEFT OUT: {PYTHON} is not installed");
        return None;
    }
    let set = fixtures();
    let mut command = Command::new(PYTHON);
    command
        .args(["-c", PROGRAM])
        .env("XSCHED_RUN_DIR", set.path("nobody"))
        .env("LD_LIBRARY_PATH", set.path(""));
    if let Some(preload) = preload {
        command.env("LD_PRELOAD", preload);
    }
    let process = set.spawn(command);
    let report = examine_and_observe(&process);
    assert!(!report.calls.is_empty(), "no call was seen: {report}");
    Some(report)
}

#[test]
fn ctypes_goes_past_a_shim_that_has_no_dlsym() {
    let Some(report) = observe(Some(fixtures().text("libshimhip.so"))) else {
        return;
    };
    let evidence = only(&report, "observed-bypass", Severity::Error);
    assert!(evidence.contains("called hipLaunchKernel"), "{evidence}");
    assert!(evidence.contains("ctypes"), "{evidence}");
    let effect = report.findings[0].effect.as_deref().expect("measured");
    assert!(effect.contains("never reach the shim (100%)"), "{effect}");
}

#[test]
fn ctypes_reaches_our_shim() {
    let shim = real_shim::ours();
    let Some(report) = observe(Some(shim)) else {
        return;
    };
    assert_eq!(codes(&report), [], "{report}");
    let mut routes = report.calls.iter().map(|call| call.route);
    assert!(routes.all(|route| route == CallRoute::Shim), "{report}");
}

#[test]
fn ctypes_without_a_shim_is_unscheduled() {
    let Some(report) = observe(None) else {
        return;
    };
    only(&report, "shim-not-loaded", Severity::Error);
}
