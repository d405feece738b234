//! What a running agent says about the process.

use std::time::Duration;

use xsched_common::api::ProcessRow;

/// The agent's view of one process.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// The process's row.
    pub process: ProcessRow,
    /// How long the agent has been running: shims look for it from time to
    /// time.
    pub uptime: Duration,
}
