//! The dispatch table of HIP 6.1 and later.

use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass;
use xsched_diagnose::ObservedCall;

use super::*;

const LIBRARY: [&str; 3] = ["./libonsix.so", "2", "1"];

fn with(tool: &str, replaces: &str) -> Report {
    let arguments = [&LIBRARY[..], &[tool, "2", replaces]].concat();
    examine(&fixtures().start("plain", None, &arguments))
}

#[test]
fn a_tool_behind_the_exports_is_named() {
    let report = with("./libtool.so", "1");
    let found = codes(&report);
    assert_eq!(
        found,
        [
            ("shim-not-loaded", Severity::Error),
            ("dispatch-table-changed", Severity::Warning)
        ],
        "{report}"
    );
    let evidence = report.findings[1].evidence.join("\n");
    for part in [
        ": 1, of which launch: 1",
        "libtool.so",
        "hipLaunchKernel at 0x",
    ] {
        assert!(evidence.contains(part), "{part}: {evidence}");
    }
    let twin = with("./libtool.so", "0");
    only(&twin, "shim-not-loaded", Severity::Error);
}

#[test]
fn a_shim_in_the_table_receives_what_is_bound_to_the_runtime() {
    let report = with("./strict/libxsched_shim.so", "1");
    assert_eq!(codes(&report), [], "{report}");
    let twin = with("./strict/libxsched_shim.so", "0");
    only(&twin, "api-not-covered", Severity::Error);
}

#[test]
fn calls_that_a_shim_in_the_table_receives_do_not_escape() {
    let observe = |replaces| {
        let arguments = [&LIBRARY[..], &["./strict/libxsched_shim.so", "2", replaces]].concat();
        let process = fixtures().start("plain", None, &arguments);
        let call = ObservedCall {
            object: fixtures().text("libonsix.so"),
            api: "hipLaunchKernel".into(),
            stream: StreamClass::Created,
            route: CallRoute::Direct,
            count: 10,
        };
        let observed = move || {
            Ok(Observed {
                duration: Duration::from_secs(1),
                calls: vec![call.clone()],
                limits: Vec::new(),
            })
        };
        examine_with(process.pid(), observed).expect("it can be examined")
    };
    let report = observe("1");
    assert_eq!(codes(&report), [], "{report}");
    only(&observe("0"), "api-not-covered", Severity::Error);
}
