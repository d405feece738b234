//! Findings from observed calls, on live processes with invented calls.

use xsched_agent::diagnose::ObservedCall;
use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass;

use super::*;

fn call(object: String, stream: StreamClass, route: CallRoute, count: u64) -> ObservedCall {
    ObservedCall {
        object,
        api: "hipLaunchKernel".into(),
        stream,
        route,
        count,
    }
}

fn observed(calls: Vec<ObservedCall>) -> impl FnMut() -> Result<Observed, String> {
    move || {
        Ok(Observed {
            duration: Duration::from_secs(1),
            calls: calls.clone(),
            limits: Vec::new(),
        })
    }
}

fn start(shim: Option<&str>, library: [&str; 3]) -> Process {
    let set = fixtures();
    let shim = shim.map(|name| set.text(name));
    set.start("program", shim.as_deref(), &library)
}

const NONE: [&str; 3] = ["./libnow.so", "1", "1"];

fn report(process: &Process, calls: Vec<ObservedCall>) -> Report {
    examine_with(process.pid(), observed(calls)).expect("it can be examined")
}

#[test]
fn launches_through_the_shim_on_created_streams_are_healthy() {
    let process = start(Some("libxsched_shim.so"), NONE);
    let program = fixtures().text("program");
    let calls = vec![
        call(program.clone(), StreamClass::Created, CallRoute::Shim, 980),
        // Initialisation.
        call(program, StreamClass::Null, CallRoute::Shim, 20),
    ];
    let report = report(&process, calls);
    assert_eq!(codes(&report), [], "{report}");
    assert_eq!(report.calls.len(), 2);
    let json = serde_json::to_value(&report.calls[1]).expect("serializable");
    assert_eq!(json["stream"], "null");
    assert_eq!(json["route"], "shim");
}

#[test]
fn the_default_stream_is_a_warning_under_our_shim_and_an_error_under_xscheds() {
    for (shim, severity) in [
        ("libxsched_shim.so", Severity::Warning),
        ("libshimhip.so", Severity::Error),
    ] {
        let process = start(Some(shim), NONE);
        let program = fixtures().text("program");
        let calls = vec![
            call(program.clone(), StreamClass::Created, CallRoute::Shim, 60),
            call(program.clone(), StreamClass::Null, CallRoute::Shim, 30),
            call(program, StreamClass::Legacy, CallRoute::Shim, 10),
        ];
        let report = report(&process, calls);
        let evidence = only(&report, "default-stream", severity);
        assert!(
            evidence.contains("30 calls of hipLaunchKernel on the NULL stream"),
            "{evidence}"
        );
        assert!(evidence.contains("on the legacy stream"), "{evidence}");
        let effect = report.findings[0].effect.as_deref().expect("measured");
        assert!(effect.starts_with("40 of 100 launches/s"), "{effect}");
    }
}

#[test]
fn a_bypassing_reference_and_its_calls_are_one_finding() {
    let process = start(Some("libxsched_shim.so"), ["./libnow99.so", "1", "1"]);
    let set = fixtures();
    let calls = vec![
        call(
            set.text("program"),
            StreamClass::Created,
            CallRoute::Shim,
            728,
        ),
        call(
            set.text("libnow99.so"),
            StreamClass::Created,
            CallRoute::Direct,
            312,
        ),
    ];
    let report = report(&process, calls);
    only(&report, "symbol-version-bypass", Severity::Error);
    let effect = report.findings[0].effect.as_deref();
    assert_eq!(
        effect,
        Some("312 of 1,040 launches/s never reach the shim (30%)")
    );
}

#[test]
fn calls_that_no_reference_explains_are_look_ups() {
    let process = start(Some("libxsched_shim.so"), NONE);
    let set = fixtures();
    let calls = vec![
        call(
            set.text("libnow.so"),
            StreamClass::Created,
            CallRoute::Shim,
            50,
        ),
        call(
            set.text("libnow.so"),
            StreamClass::Created,
            CallRoute::Direct,
            50,
        ),
        call("?".into(), StreamClass::Created, CallRoute::Direct, 25),
        // What the runtime and the shim do themselves is no bypass.
        call(
            set.text("libamdhip64.so.5"),
            StreamClass::Created,
            CallRoute::Direct,
            7,
        ),
        call(
            set.text("libxsched_shim.so"),
            StreamClass::Created,
            CallRoute::Direct,
            7,
        ),
    ];
    let report = report(&process, calls);
    let evidence = only(&report, "observed-bypass", Severity::Error);
    assert!(
        evidence.contains("its slot leads to the shim"),
        "{evidence}"
    );
    let effect = report.findings[0].effect.as_deref().expect("measured");
    assert!(effect.starts_with("75 of 132 launches/s"), "{effect}");
}

#[test]
fn a_process_without_shim_says_how_much_runs_unscheduled() {
    let process = start(None, NONE);
    let program = fixtures().text("program");
    let calls = vec![call(
        program,
        StreamClass::Created,
        CallRoute::Direct,
        2_500,
    )];
    let report = report(&process, calls);
    only(&report, "shim-not-loaded", Severity::Error);
    let effect = report.findings[0].effect.as_deref().expect("measured");
    assert_eq!(effect, "2,500 of 2,500 launches/s run unscheduled (100%)");
}
