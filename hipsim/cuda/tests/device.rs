//! One device behind both faces.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::support;

/// Kernels of a CUDA and of a HIP process that name the same device share it: together each takes about twice its time alone.
#[test]
fn cuda_and_hip_programs_share_a_device() {
    let out = tempfile::tempdir().expect("a temporary directory");
    let (cuda, hip) = (support::driver(), support::driver().join("hip"));
    let program = |name: &str, library: &Path| {
        support::compiled(name, out.path(), &[library.as_os_str(), OsStr::new("-ldl")])
    };
    let ours = program("busy_cuda", &cuda.join("libcuda.so.1"));
    let theirs = program("busy_hip", &hip.join("libamdhip64.so.6"));
    let device = out.path().join("device");
    let start = |program: &Path, libraries: &Path, ms: &str| {
        let mut command = Command::new(program);
        command
            .arg(ms)
            .env("LD_LIBRARY_PATH", libraries)
            .env("HIPSIM_DEVICE", &device);
        command
    };
    let kernels = |output: &std::process::Output| -> f64 {
        support::printed(output).trim().parse().expect("a number")
    };
    let alone = kernels(&start(&ours, cuda, "300").output().expect("it runs"));
    let beside = start(&theirs, &hip, "900")
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut beside = beside.expect("it starts");
    std::thread::sleep(std::time::Duration::from_millis(150));
    let together = kernels(&start(&ours, cuda, "300").output().expect("it runs"));
    assert!(beside.wait().expect("it ends").success());
    let share = together / alone;
    assert!(
        (0.3..0.75).contains(&share),
        "{together} of {alone} kernels"
    );
}
