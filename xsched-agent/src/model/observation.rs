//! What the observer brings, in the model's own terms.

use xsched_common::api::{BpfState, Sampling};
use xsched_common::bpf::{CallRoute, Drop};
use xsched_common::units::StreamClass;

use crate::process::ProcessId;

/// Everything observed up to now; counts are totals since the start and
/// never go back.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The state of the probes.
    pub bpf: BpfState,
    /// How much of the time calls are counted; the counts are scaled.
    pub sampling: Sampling,
    /// Launches by process, calling library, stream class and route.
    pub launches: Vec<LaunchCount>,
    /// Processes that map the runtime, whether they have launched or not.
    pub users: Vec<u32>,
    /// Events that could not be counted.
    pub drops: Vec<(Drop, u64)>,
    /// What cannot be seen, one line each.
    pub limits: Vec<String>,
}

/// One count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchCount {
    /// The process.
    pub process: ProcessId,
    /// Basename of the calling object.
    pub caller: String,
    /// What kind of object that is.
    pub owner: CallOwner,
    /// The stream's class.
    pub stream: StreamClass,
    /// Whether the call came through the shim's function.
    pub route: CallRoute,
    /// Calls since the observer's start.
    pub total: u64,
}

/// What kind of object a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOwner {
    /// The program or one of its libraries.
    Program,
    /// The runtime itself, which calls its own exports: no launch of its own.
    Runtime,
    /// A shim that calls through.
    Shim,
}
