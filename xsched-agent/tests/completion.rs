//! Services that never wait in a HIP call: whatever tells that their work is
//! complete, or nothing, lower classes get what they leave.

use std::time::{Duration, Instant};

use serde_json::Value;
use xsched_testkit::Agent;
use xsched_testkit::machine::{Machine, Program};

/// A tenth of the device: 10 kernels of 500 us every 50 ms.
const SERVICE: [&str; 8] = [
    "--kernels",
    "10",
    "--kernel-time",
    "500us",
    "--period",
    "50ms",
    "--duration",
    "60s",
];
const TENTH: f64 = 0.1;

/// When caps are measured and a silent program is known.
const SETTLED: Duration = Duration::from_millis(1_500);
const MEASURED: Duration = Duration::from_millis(1_500);

fn launches(machine: &Machine, pid: u32) -> f64 {
    machine.agent.row(pid)["launches"]
        .as_f64()
        .expect("it launches")
}

fn rate(machine: &Machine, pid: u32) -> f64 {
    let (before, start) = (launches(machine, pid), Instant::now());
    std::thread::sleep(MEASURED);
    (launches(machine, pid) - before) / start.elapsed().as_secs_f64()
}

fn batch(machine: &Machine) -> Program {
    let batch = machine.run("low", "hipsim-batch", &["--kernel-time", "100us"]);
    machine.row("it launches", batch.pid(), |row| {
        row["launches"].as_u64().is_some_and(|n| n > 1_000)
    });
    batch
}

/// Today's bound is 95 percent (`cargo xtask bench sched`); a service that was
/// never found idle left less than a tenth of this.
#[test]
fn the_low_class_gets_what_is_left_beside_each() {
    let machine = Machine::with(Agent::start());
    let batch = batch(&machine);
    let alone = rate(&machine, batch.pid());
    for way in ["function", "callback", "query", "chain", "value", "silent"] {
        let arguments = [&["--way", way][..], &SERVICE].concat();
        let service = machine.run("high", "hipsim-async", &arguments);
        std::thread::sleep(SETTLED);
        let beside = rate(&machine, batch.pid());
        let kept = beside / (alone * (1.0 - TENTH));
        assert!(kept > 0.5, "{way}: {kept:.2} of the rest, {alone} alone");
        drop(service);
    }
}

/// What is only assumed is said to be.
#[test]
fn a_silent_service_is_assumed_to_be_idle_and_users_are_told() {
    let machine = Machine::with(Agent::start());
    let batch = batch(&machine);
    let arguments = [&["--way", "silent"][..], &SERVICE].concat();
    let service = machine.run("high", "hipsim-async", &arguments);
    let reason = |row: &Value| row["gate"]["reason"].as_str().unwrap_or("").to_owned();
    let row = machine.row("it is assumed to be idle", batch.pid(), |row| {
        reason(row).contains("assumed to be idle")
    });
    assert!(
        reason(&row).contains(&format!("pid {}", service.pid())),
        "{row}"
    );
}
