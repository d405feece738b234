//! What the observer brings, in the model's own attributes.

use std::collections::{BTreeMap, HashMap};

use xsched_common::api::{BpfState, Sampling};
use xsched_common::bpf::{CallRoute, Drop};
use xsched_common::page::HistogramCounts;
use xsched_common::units::StreamClass;
use xsched_host::process::ProcessId;

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
    /// Calls by process, function and stream class.
    pub apis: Vec<ApiCount>,
    /// Whole bursts that were seen, per process; not scaled.
    pub bursts: HashMap<ProcessId, HistogramCounts>,
    /// For each joined process whether calls go past its shim.
    pub bypass: HashMap<ProcessId, Bypass>,
    /// Processes that map the runtime, whether they have launched or not.
    pub users: Vec<u32>,
    /// Events that could not be counted.
    pub drops: Vec<DropTotal>,
    /// What cannot be seen, one line each.
    pub limits: Vec<String>,
}

/// Events that could not be counted for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropTotal {
    /// The reason.
    pub reason: Drop,
    /// By CPU; CPUs without are left out.
    pub by_cpu: BTreeMap<u32, u64>,
}

impl DropTotal {
    /// All of them.
    pub fn count(&self) -> u64 {
        self.by_cpu.values().sum()
    }
}

/// Whether calls of a joined process go past its shim, as the last check
/// found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bypass {
    /// Not checked, or it made no calls while it was.
    #[default]
    Unknown,
    /// None did.
    NotSeen,
    /// Some did: its calls are counted like those of a process without the
    /// shim.
    Seen,
}

/// Calls of one function on one kind of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiCount {
    /// The process.
    pub process: ProcessId,
    /// Index into [`xsched_common::platform::ENTRY_POINTS`].
    pub api: u16,
    /// The stream's class.
    pub stream: StreamClass,
    /// Calls since the observer's start, scaled.
    pub total: u64,
}

/// One count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchCount {
    /// The process.
    pub process: ProcessId,
    /// Basename of the calling object.
    pub caller: String,
    /// The stream's class.
    pub stream: StreamClass,
    /// Whether the call came through the shim's function.
    pub route: CallRoute,
    /// Calls since the observer's start.
    pub total: u64,
}
