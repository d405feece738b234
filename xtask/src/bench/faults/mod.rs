//! `cargo xtask bench faults`: what hostile neighbours and odd programs cost
//! those beside them.

pub mod attacker;
mod control;
mod diagnosis;
mod herd;
mod sanitizers;

use super::report::Metric;
use crate::build::Built;

type Part = fn(&Built) -> anyhow::Result<Vec<Metric>>;

/// One file each, in the order in which they are measured.
const PARTS: &[Part] = &[
    herd::measure,
    control::measure,
    diagnosis::measure,
    sanitizers::measure,
];

/// Measures all parts.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    let mut metrics = Vec::new();
    for part in PARTS {
        metrics.extend(part(built)?);
    }
    Ok(metrics)
}
