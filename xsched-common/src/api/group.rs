//! Class groups of a process.

use serde::{Deserialize, Serialize};

use super::snapshot::{GateRow, Guards, Latency};
use crate::units::{Class, Nanos};

/// Threads and streams of a process that have a class of their own, by a rule
/// or by the program's hint. What the process's row says is of the others,
/// except launches and callers, which are of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GroupRow {
    /// The class it has.
    pub class: Class,
    /// The class that is wanted for it.
    pub wish: Class,
    /// Whose wish that is.
    pub origin: GroupOrigin,
    /// Address of the device that it has launched on most, once known.
    pub device: Option<String>,
    /// Its gate on that device.
    pub gate: Option<GateRow>,
    /// Gated commands since it joined.
    pub commands: u64,
    /// First launch after idle until drained, or what the program marks as its
    /// requests, in the window; null while it does nothing.
    pub burst: Option<Latency>,
    /// Waits at the gate; null while it does nothing.
    pub gate_wait: Option<Latency>,
    /// Launches that passed a gate that did not admit them.
    pub guards: Guards,
    /// Gated commands in flight on that device.
    pub in_flight: Option<u32>,
    /// Measured kernel time T there.
    pub kernel_ns: Option<Nanos>,
    /// Estimated share of the device's time in the window.
    pub busy_ratio: Option<f64>,
}

/// Whose wish a group's class is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GroupOrigin {
    /// The program's own.
    Hint,
    /// A rule's, by the threads' names.
    Rule,
}

impl GroupOrigin {
    /// The name in JSON and on screen.
    pub const fn name(self) -> &'static str {
        match self {
            GroupOrigin::Hint => "hint",
            GroupOrigin::Rule => "rule",
        }
    }
}
