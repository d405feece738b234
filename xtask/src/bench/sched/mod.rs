//! `bench sched`: what the policy and the control plane bring, against the
//! bounds of docs/BENCHMARKS.md.

mod control;

use super::report::Metric;
use crate::build::Built;

/// All metrics of the benchmark.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    control::measure(built)
}
