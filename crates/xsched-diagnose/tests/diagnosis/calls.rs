//! Findings from observed calls, on live processes with invented calls.

use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass;
use xsched_diagnose::ObservedCall;

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

/// A program under `shim` that launches so often on created, NULL and legacy
/// streams.
fn on_streams(shim: Option<&str>, counts: [u64; 3]) -> Report {
    let process = start(shim, NONE);
    let program = fixtures().text("program");
    let route = match shim {
        Some(_) => CallRoute::Shim,
        None => CallRoute::Direct,
    };
    let streams = [StreamClass::Created, StreamClass::Null, StreamClass::Legacy];
    let calls = streams.into_iter().zip(counts).filter(|(_, n)| *n > 0);
    let calls = calls.map(|(stream, n)| call(program.clone(), stream, route, n));
    report(&process, calls.collect())
}

#[test]
fn default_stream_is_an_error_under_xscheds_shim_and_fine_under_ours() {
    let report = on_streams(Some("libshimhip.so"), [0, 90, 10]);
    let evidence = only(&report, "default-stream", Severity::Error);
    assert!(
        evidence.contains("90 calls of hipLaunchKernel on the NULL stream"),
        "{evidence}"
    );
    assert!(evidence.contains("on the legacy stream"), "{evidence}");
    let effect = report.findings[0].effect.as_deref().expect("measured");
    assert!(effect.starts_with("100 of 100 launches/s"), "{effect}");
    assert!(!report.is_clean());
    let ours = on_streams(Some("libxsched_shim.so"), [0, 90, 10]);
    only(&ours, "default-stream", Severity::Info);
    assert!(ours.is_clean());
    let without = on_streams(None, [0, 90, 10]);
    assert_eq!(codes(&without)[1], ("default-stream", Severity::Info));
}

#[test]
fn default_stream_twin_a_few_launches_of_initialisation() {
    for shim in ["libshimhip.so", "libxsched_shim.so"] {
        let report = on_streams(Some(shim), [980, 20, 0]);
        assert_eq!(codes(&report), [], "{report}");
    }
}

#[test]
fn legacy_stream_launches_beside_others_serialise() {
    let report = on_streams(Some("libxsched_shim.so"), [60, 30, 10]);
    assert_eq!(
        codes(&report),
        [
            ("legacy-stream", Severity::Warning),
            ("default-stream", Severity::Info)
        ],
        "{report}"
    );
    let effect = report.findings[0].effect.as_deref().expect("measured");
    assert!(effect.starts_with("40 of 100 launches/s"), "{effect}");
    let evidence = report.findings[0].evidence.join("\n");
    assert!(
        evidence.contains("60 launches on other streams"),
        "{evidence}"
    );
}

#[test]
fn legacy_stream_twins_use_one_kind_only() {
    for counts in [
        [100, 0, 0],
        [0, 100, 0],
        [0, 50, 50],
        [97, 3, 0],
        [3, 97, 0],
    ] {
        let report = on_streams(Some("libxsched_shim.so"), counts);
        let legacy = codes(&report)
            .iter()
            .any(|(code, _)| *code == "legacy-stream");
        assert!(!legacy && report.is_clean(), "{counts:?}: {report}");
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
