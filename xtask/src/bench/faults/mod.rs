//! `cargo xtask bench faults`: what hostile neighbours and odd programs cost
//! those beside them.

pub mod attacker;
mod control;
mod diagnosis;
mod herd;
mod sanitizers;

use clap::ValueEnum as _;

use super::report::Metric;
use crate::build::Built;

/// What is measured together; one file each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Many threads at one gate
    Herd,
    /// What clients do to the control thread and to the joining door
    Control,
    /// Diagnosis beside processes that hold up whoever reads them
    Diagnosis,
    /// Programs under sanitizers
    Sanitizers,
}

impl Part {
    fn measure(self, built: &Built) -> anyhow::Result<Vec<Metric>> {
        match self {
            Part::Herd => herd::measure(built),
            Part::Control => control::measure(built),
            Part::Diagnosis => diagnosis::measure(built),
            Part::Sanitizers => sanitizers::measure(built),
        }
    }
}

/// Measures one part, or all of them in the order in which they are listed.
pub fn measure(built: &Built, only: Option<Part>) -> anyhow::Result<Vec<Metric>> {
    let mut metrics = Vec::new();
    for part in Part::value_variants() {
        if only.is_none_or(|only| only == *part) {
            metrics.extend(part.measure(built)?);
        }
    }
    Ok(metrics)
}
