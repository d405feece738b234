//! Whether every event is accounted for at the highest rate that this machine
//! reaches: sent = counted + dropped.

use super::super::report::Metric;
use super::super::workbench::{Shim, Workbench};
use super::launcher::{Counted, launcher, observing};
use super::progress;

/// Per thread; a multiple of the launcher's 64 places.
const CALLS: u64 = 64 * 40_000;
const THREADS: u64 = 2;

/// With room for all keys, and with so little that most calls are dropped.
const ROOM: [&str; 2] = ["16384", "16"];

pub fn measure(bench: &Workbench<'_>) -> anyhow::Result<Metric> {
    let mut unaccounted = 0.0;
    let mut details = Vec::new();
    for keys in ROOM {
        let mut program = launcher(bench, "push", Shim::Without, &[])?;
        let pid = program.pid().to_string();
        let observer = observing(bench, &["count", &pid, keys])?;
        let ns = program.number(&format!("threads {THREADS} {CALLS}"))?;
        let counted = Counted::of(observer)?;
        let sent = THREADS * CALLS;
        let seen = counted.counted + counted.dropped;
        let missing = sent.abs_diff(seen).max(sent.abs_diff(counted.events));
        unaccounted += missing as f64;
        details.push(format!(
            "{:.2} million/s: {sent} sent, {} counted, {} dropped",
            sent as f64 * 1e3 / ns,
            counted.counted,
            counted.dropped
        ));
        progress(&format!(
            "drain with room for {keys} keys: {}",
            details[details.len() - 1]
        ));
    }
    Ok(Metric::at_most("drain_unaccounted", "count", unaccounted, 0.0).detail(details.join("; ")))
}
