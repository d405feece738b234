//! The control plane: doorbells, many clients, an agent that is gone.

use crate::bench::report::Metric;
use crate::build::Built;

/// Metrics that need the real agent and its clients.
pub fn measure(_built: &Built) -> anyhow::Result<Vec<Metric>> {
    Ok(Vec::new())
}
