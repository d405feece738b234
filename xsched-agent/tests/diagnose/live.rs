//! Calls of real processes, observed by the BPF programs. Needs root; fails
//! without.

use super::*;

/// Observes a program that launches about a thousand times a second from
/// itself and from each library.
///
/// `None` when tests that need BPF are left out on request.
fn observe(preload: Option<&str>, arguments: &[&str]) -> Option<Report> {
    if xsched_testkit::no_bpf() {
        return None;
    }
    let set = fixtures();
    let preload = preload.map(|name| set.text(name));
    let process = set.start_loop("program", preload.as_deref(), arguments);
    let report = examine_and_observe(&process);
    assert!(
        !report.limits.iter().any(|l| l.contains("not observed")),
        "these tests need root and BPF: {:?}",
        report.limits
    );
    Some(report)
}

/// Launches by caller and route.
fn launches(report: &Report, object: &str, route: xsched_common::bpf::CallRoute) -> u64 {
    let calls = report.calls.iter();
    calls
        .filter(|c| c.object.ends_with(object) && c.route == route)
        .map(|c| c.count)
        .sum()
}

use xsched_common::bpf::CallRoute::{Direct, Shim};

#[test]
fn a_healthy_process_launches_through_the_shim_only() {
    let Some(report) = observe(Some("libxsched_shim.so"), &["./libnow.so", "1", "1"]) else {
        return;
    };
    assert_eq!(codes(&report), [], "{report}");
    let through: u64 = report
        .calls
        .iter()
        .filter(|c| c.route == Shim)
        .map(|c| c.count)
        .sum();
    assert!(through > 100, "{report}");
}

#[test]
fn a_version_bypass_is_one_finding_with_its_share() {
    let Some(report) = observe(Some("libxsched_shim.so"), &["./libnow99.so", "1", "1"]) else {
        return;
    };
    only(&report, "symbol-version-bypass", Severity::Error);
    assert!(launches(&report, "libnow99.so", Direct) > 50, "{report}");
    let effect = report.findings[0].effect.as_deref().expect("measured");
    assert!(effect.contains("never reach the shim (50%)"), "{effect}");
}

#[test]
fn a_look_up_on_a_handle_is_seen_by_its_calls_only() {
    let Some(report) = observe(Some("libxsched_shim.so"), &["./libhandle.so", "1", "1"]) else {
        return;
    };
    let evidence = only(&report, "observed-bypass", Severity::Error);
    assert!(
        evidence.contains("libhandle.so called hipLaunchKernel"),
        "{evidence}"
    );
    assert!(evidence.contains("imports dlsym"), "{evidence}");
}

#[test]
fn the_default_stream_is_seen() {
    let Some(report) = observe(Some("libxsched_shim.so"), &["./libnow.so", "1", "2"]) else {
        return;
    };
    // The program itself launches on a created one.
    assert_eq!(
        codes(&report),
        [
            ("legacy-stream", Severity::Warning),
            ("default-stream", Severity::Info)
        ],
        "{report}"
    );
    let Some(report) = observe(Some("libshimhip.so"), &["./libnow.so", "1", "2"]) else {
        return;
    };
    assert_eq!(codes(&report)[0], ("default-stream", Severity::Error));
}

#[test]
fn a_process_without_shim_is_measured() {
    let Some(report) = observe(None, &[]) else {
        return;
    };
    only(&report, "shim-not-loaded", Severity::Error);
    let effect = report.findings[0].effect.as_deref().expect("measured");
    assert!(
        effect.contains("launches/s run unscheduled (100%)"),
        "{effect}"
    );
}
