//! Children of a fork that inherited the GPU. The device is a file in a mount
//! namespace of the test's own.

use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass;
use xsched_diagnose::ObservedCall;

use super::*;

/// The program in a namespace with a /dev/kfd, and its child.
fn forked(how: &str) -> (Process, u32) {
    let set = fixtures();
    let shim = set.text("libxsched_shim.so");
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c"]).arg(format!(
        "mount -t tmpfs none /dev && touch /dev/kfd && DEVICE=/dev/kfd FORK={how} LD_PRELOAD={shim} exec ./program"
    ));
    let process = set.spawn(command);
    let children = format!("/proc/{0}/task/{0}/children", process.pid());
    let children = std::fs::read_to_string(children).expect("it lives");
    let child = children.trim().parse().expect("one child");
    (process, child)
}

fn with_calls(pid: u32, count: u64) -> Report {
    let call = ObservedCall {
        object: fixtures().text("program"),
        api: "hipLaunchKernel".into(),
        stream: StreamClass::Created,
        route: CallRoute::Shim,
        count,
    };
    let calls = Vec::from_iter((count > 0).then_some(call));
    let observed = move || {
        Ok(Observed {
            duration: Duration::from_secs(1),
            calls: calls.clone(),
            limits: Vec::new(),
        })
    };
    examine_with(pid, observed).expect("it can be examined")
}

#[test]
fn a_child_that_inherited_the_gpu_and_uses_hip_is_in_trouble() {
    if !is_root("making a mount namespace") {
        return;
    }
    let (parent, child) = forked("inherit");
    let report = with_calls(child, 50);
    let evidence = only(&report, "fork-after-init", Severity::Error);
    let from = format!("those of process {}", parent.pid());
    assert!(evidence.contains(&from), "{evidence}");
    // A data loader leaves HIP alone, and the parent is no child.
    assert_eq!(codes(&with_calls(child, 0)), []);
    assert_eq!(codes(&with_calls(parent.pid(), 50)), []);
}

#[test]
fn a_child_that_opened_the_gpu_itself_is_healthy() {
    if !is_root("making a mount namespace") {
        return;
    }
    let (_parent, child) = forked("anew");
    assert_eq!(codes(&with_calls(child, 50)), []);
}
