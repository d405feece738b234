//! What a running agent adds, with an invented one.

use xsched_agent::diagnose::{AgentView, examine as examine_all};
use xsched_agent::process::ProcessId;
use xsched_common::api::{Guards, ProcessRow, ShimState};

use super::*;

/// A joined process that has launched a thousand times.
fn row(pid: u32) -> ProcessRow {
    let start_time = ProcessId::of(pid).expect("it lives").start_time;
    let json = serde_json::json!({
        "pid": pid, "start_time": start_time, "uid": 0, "command": "program", "arguments": "",
        "class": "low", "shim": "joined", "device": null, "gate": null, "launches": 1000,
        "launches_per_s": 10.0, "bypass_ratio": 0.0, "default_stream_ratio": 0.0, "burst": null,
        "gate_wait": null, "guards": {"trickle": 0, "stall": 0, "lease": 0}, "in_flight": 0,
        "kernel_ns": null, "callers": []
    });
    serde_json::from_value(json).expect("a row")
}

fn seen(change: impl FnOnce(&mut ProcessRow)) -> Report {
    let set = fixtures();
    let process = set.start("program", Some(&set.text("libxsched_shim.so")), &[]);
    let mut row = row(process.pid());
    change(&mut row);
    let view = AgentView {
        process: row,
        uptime: Duration::from_secs(60),
    };
    checked(examine_all(&options(process.pid()), None, Some(view)).expect("it can be examined"))
}

fn guards(trickle: u64, stall: u64, lease: u64) -> impl FnOnce(&mut ProcessRow) {
    move |row| {
        row.guards = Some(Guards {
            trickle,
            stall,
            lease,
        });
    }
}

#[test]
fn guards_that_let_launches_pass() {
    for (fired, name) in [
        (guards(500, 0, 0), "500 by trickle"),
        (guards(0, 3, 0), "3 by stall"),
        (guards(0, 0, 7), "7 by lease"),
    ] {
        let report = seen(fired);
        let evidence = only(&report, "gate-guards", Severity::Warning);
        assert!(evidence.contains(name), "{evidence}");
    }
    // A closed gate is meant to trickle a little.
    assert_eq!(codes(&seen(guards(5, 0, 0))), []);
    assert_eq!(codes(&seen(|row| row.guards = None)), []);
}

#[test]
fn a_shim_that_has_not_joined() {
    let report = seen(|row| row.shim = ShimState::Mapped);
    let evidence = only(&report, "not-joined", Severity::Error);
    assert!(evidence.contains("has seen 1,000 launches"), "{evidence}");
    let idle = seen(|row| {
        row.shim = ShimState::Mapped;
        row.launches = 0;
    });
    assert_eq!(codes(&idle), []);
    assert_eq!(codes(&seen(|_| ())), []);
    // The row of an earlier process with this pid.
    let stale = seen(|row| {
        row.shim = ShimState::Mapped;
        row.start_time += 1;
    });
    assert_eq!(codes(&stale), []);
}
