//! A process that maps and unmaps libraries while it is examined.

use std::process::Command;

use super::*;

#[test]
fn libraries_that_come_and_go_disturb_nothing() {
    let set = fixtures();
    let mut command = Command::new(set.path("program"));
    command
        .env("LD_PRELOAD", set.text("libxsched_shim.so"))
        .env("CHURN", "1");
    let process = set.spawn(command);
    let mut seen = 0;
    for _ in 0..60 {
        let report = examine(&process);
        // What stays mapped is always seen, and seen right.
        let own = report.bindings.iter();
        let own = own.filter(|b| b.object.ends_with("/program") && b.symbol == "hipLaunchKernel");
        let own: Vec<&str> = own.map(|b| b.bound_to.as_str()).collect();
        assert_eq!(own, [set.text("libxsched_shim.so")], "{report}");
        // A library that is half mapped or gone is bound nowhere wrong.
        assert!(report.findings.is_empty(), "{report}");
        seen += u32::from(
            report
                .bindings
                .iter()
                .any(|b| b.object.ends_with("libnow.so")),
        );
    }
    assert!(seen > 0, "the library was never there: nothing was tested");
}
