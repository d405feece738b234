//! `bench sched`: what the policy and the control plane bring, against the
//! bounds of docs/BENCHMARKS.md.

pub mod control;
pub mod modelled;
pub mod realtime;

use super::report::Metric;
use crate::build::Built;

/// All metrics of the benchmark.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    eprintln!("the scenarios in virtual time ...");
    let mut metrics = modelled::measure(modelled::TIME);
    metrics.extend(realtime::measure(built, &metrics)?);
    eprintln!("the control plane ...");
    metrics.extend(control::measure(built)?);
    Ok(metrics)
}

/// How far a figure of a check may be beyond its bound: fewer requests make a
/// P99.
const CHECK_ROOM: f64 = 1.10;

/// The model alone, in seconds: whether a change has spoilt something.
pub fn check() -> Vec<Metric> {
    let metrics = modelled::measure(modelled::SHORT).into_iter();
    metrics.map(|metric| metric.with_room(CHECK_ROOM)).collect()
}

/// Values by the low program's kernel time in us, for people.
fn by_kernel(values: &[(u64, f64)], unit: &str) -> String {
    let each = values
        .iter()
        .map(|(t, value)| format!("{value:.1} {unit} at T = {t} us"));
    each.collect::<Vec<_>>().join(", ")
}
