//! What a running agent says of slow bursts and of a device's queues.

use xsched_common::api::{DeviceRow, HardwareRow, ProcessRow};
use xsched_diagnose::AgentView;

use super::agent::{row, seen, view, with_view};
use super::*;

/// 12 of 100 bursts were slow, mostly by a program past the gate.
fn blame(slow: u64, slo: Option<u64>) -> impl FnOnce(&mut ProcessRow) {
    let part = |cause: &str, pid: Option<u32>, ms: u64| {
        serde_json::json!({
            "cause": cause, "pid": pid, "time_ns": ms * 1_000_000, "at_most_ns": ms * 2_000_000,
            "known": "remainder", "launches_per_s": null, "in_flight": null, "kernel_ns": null
        })
    };
    let blame = serde_json::json!({
        "over_ns": 5_000_000_000_u64, "bursts": 100, "slow": slow, "limit_ns": 14_000_000,
        "slow_mean_ns": 20_400_000, "own_ns": 12_000_000, "loss_ns": 100_000_000,
        "parts": [part("past_gate", Some(4242), 80), part("service_cpu", None, 14), part("gate_wait", None, 2)],
        "unexplained_ns": 4_000_000, "summary": "slow bursts take 20.4 ms, alone 12.0 ms: pid 4242"
    });
    move |row| {
        row.blame = Some(serde_json::from_value(blame).expect("a row of blame"));
        row.slo = slo.map(|ms| {
            let slo = serde_json::json!({
                "target_p99_ns": ms * 1_000_000, "state": "impossible", "reason": ""
            });
            serde_json::from_value(slo).expect("a target")
        });
    }
}

#[test]
fn slow_bursts_and_where_their_time_went() {
    let report = seen(blame(12, Some(14)));
    let evidence = only(&report, "slow-bursts", Severity::Warning);
    assert!(evidence.contains("slow bursts take 20.4 ms"), "{evidence}");
    assert!(
        evidence.contains("80% past the gate, process 4242: 6.67 ms a slow burst"),
        "{evidence}"
    );
    assert!(
        evidence.contains("14% ") && !evidence.contains("process 0"),
        "{evidence}"
    );
    let finding = &report.findings[0];
    assert!(finding.fix.contains("diagnose 4242"), "{}", finding.fix);
    assert_eq!(finding.effect.as_deref(), Some("12 of 100 bursts in 5 s"));
    // Nobody has asked for less: worth knowing, no more.
    only(&seen(blame(12, None)), "slow-bursts", Severity::Info);
    // One in a hundred is what a target of the 99th percentile allows.
    assert_eq!(codes(&seen(blame(1, Some(14)))), []);
}

#[test]
fn more_queues_than_the_device_runs() {
    let set = fixtures();
    let process = set.start("program", Some(&set.text("libxsched_shim.so")), &[]);
    let report = |used: u32, own: u32| {
        let queues = |n: u32| {
            serde_json::from_value(serde_json::json!({
                "memory_bytes": null, "compute_units": null, "evicted_ns": null, "queues": n
            }))
            .expect("what a driver tells")
        };
        let (mut row, mut other) = (row(process.pid()), row(std::process::id()));
        row.hardware = Some(queues(own));
        row.device = Some("0000:03:00.0".into());
        other.hardware = Some(queues(20));
        other.command = "trainer".into();
        let device = DeviceRow {
            address: "0000:03:00.0".into(),
            hardware: Some(HardwareRow {
                queues: Some(24),
                queues_used: Some(used),
                ..HardwareRow::default()
            }),
            ..DeviceRow::default()
        };
        let view = AgentView {
            others: vec![other],
            devices: vec![device],
            ..view(Some(row))
        };
        with_view(&process, view)
    };
    let evidence = only(&report(28, 8), "queues-oversubscribed", Severity::Warning);
    assert!(evidence.contains("24 compute queues at once"), "{evidence}");
    assert!(
        evidence.contains("this process has 8") && evidence.contains("trainer"),
        "{evidence}"
    );
    assert_eq!(codes(&report(24, 4)), []);
    assert_eq!(codes(&report(28, 0)), [], "it is not this one's");
}
