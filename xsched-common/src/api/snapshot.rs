//! The state of the machine as the agent sees it.

use serde::{Deserialize, Serialize};

use crate::units::{Class, Nanos};

/// Everything at one moment. Rates and latencies cover the last
/// [`Snapshot::window_ns`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`super::API_VERSION`] of the agent.
    pub api_version: u32,
    /// Time of day, ns since 1970.
    pub time_unix_ns: u64,
    /// The time that rates and latencies cover.
    pub window_ns: Nanos,
    /// The agent itself.
    pub agent: AgentInfo,
    /// Devices that joined processes use, by address.
    pub devices: Vec<DeviceRow>,
    /// Processes that use HIP, by pid.
    pub processes: Vec<ProcessRow>,
}

/// The agent and the honesty of its numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Since its start.
    pub uptime_ns: Nanos,
    /// Whether it sees processes that have not joined.
    pub bpf: BpfState,
    /// Events the kernel could not count, since the start.
    pub drops: Drops,
    /// How much of the events is looked at.
    pub sampling: Sampling,
    /// What is missing, one line each, with what it costs and how to get it.
    pub limits: Vec<String>,
}

/// The observer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BpfState {
    /// Whether probes can be set.
    pub available: bool,
    /// Why not, when not.
    pub reason: Option<String>,
    /// Images of the runtime that carry probes.
    pub images: u32,
    /// Probes in place.
    pub probes: u32,
    /// Calls counted since the start.
    pub events: u64,
}

/// Events that are missing from the counts, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// All of them.
    pub total: u64,
    /// By reason; reasons without drops are left out.
    pub by_reason: Vec<DropCount>,
}

/// A reason and its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// [`crate::bpf::Drop::name`].
    pub reason: String,
    /// Events.
    pub count: u64,
}

/// How much of the events is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Share of the time that probes are in place; counts are divided by it.
    pub factor: f64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { factor: 1.0 }
    }
}

/// A device that joined processes use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// `domain:bus:device.function`.
    pub address: String,
    /// The policy in force.
    pub policy: String,
    /// The highest class that has work now, if any.
    pub top_active: Option<Class>,
    /// Joined processes.
    pub clients: u32,
}

/// A process that uses HIP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// In the agent's namespace.
    pub pid: u32,
    /// Start time, clock ticks since boot (`/proc/PID/stat`): with the pid,
    /// the process's identity.
    pub start_time: u64,
    /// Its parent when it was first seen; null while unknown.
    #[serde(default)]
    pub parent: Option<u32>,
    /// Its control group when it was first seen, as `/proc/PID/cgroup` has
    /// it, cut at 256 bytes: names its container or systemd unit; null where
    /// it is the root or unknown.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// Its user.
    pub uid: u32,
    /// `/proc/PID/comm`.
    pub command: String,
    /// Arguments, joined by blanks, cut at 256 bytes.
    pub arguments: String,
    /// The class it has, or would have if it joined.
    pub class: Class,
    /// Whether the shim is in it.
    pub shim: ShimState,
    /// Address of the device it used last, once known.
    pub device: Option<String>,
    /// Its gate on that device, if it has joined.
    pub gate: Option<GateRow>,
    /// Launches since it was first seen.
    pub launches: u64,
    /// In the window.
    pub launches_per_s: f64,
    /// Share of launches in the window that did not pass the gate; all
    /// without the shim, null while unknown or without launches.
    pub bypass_ratio: Option<f64>,
    /// Share of launches in the window on the default stream.
    pub default_stream_ratio: Option<f64>,
    /// First launch after idle until drained; null without the shim.
    pub burst: Option<Latency>,
    /// Bursts in the window by length, shortest first, four buckets to a power
    /// of two; empty ones are left out.
    #[serde(default)]
    pub burst_histogram: Vec<LatencyBucket>,
    /// Waits at the gate; null without the shim.
    pub gate_wait: Option<Latency>,
    /// Launches that passed a gate that did not admit them.
    pub guards: Option<Guards>,
    /// Gated commands in flight.
    pub in_flight: Option<u32>,
    /// Measured kernel time T.
    pub kernel_ns: Option<Nanos>,
    /// Calling libraries, busiest first.
    pub callers: Vec<CallerRow>,
}

/// Whether the shim is in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShimState {
    /// Not mapped: the process runs unscheduled.
    Absent,
    /// Mapped, but the process has not joined this agent.
    Mapped,
    /// Joined: the process is scheduled.
    Joined,
}

/// The state of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRow {
    /// What it allows.
    pub state: GateState,
    /// The cap, when capped.
    pub cap: Option<u16>,
    /// Why, for people: "high (pid 17) is active".
    pub reason: String,
    /// Threads waiting.
    pub waiting: u32,
}

/// What a gate allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateState {
    /// Everything.
    Open,
    /// A number of commands in flight.
    Capped,
    /// Nothing.
    Closed,
}

/// Latencies in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Values.
    pub count: u64,
    /// Median.
    pub p50_ns: Nanos,
    /// 99th percentile.
    pub p99_ns: Nanos,
    /// Largest.
    pub max_ns: Nanos,
}

/// Latencies of about the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyBucket {
    /// The shortest that it counts.
    pub from_ns: Nanos,
    /// Values.
    pub count: u64,
}

/// Times each guard let a launch pass, since the process joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guards {
    /// [`crate::gate::Guard::Trickle`].
    pub trickle: u64,
    /// [`crate::gate::Guard::Stall`].
    pub stall: u64,
    /// [`crate::gate::Guard::Lease`].
    pub lease: u64,
}

/// A library that launches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallerRow {
    /// Basename of the file.
    pub library: String,
    /// Launches since the process was first seen.
    pub launches: RouteLaunches,
    /// Of these, on the default stream.
    pub default_stream: u64,
}

/// Launches by the way they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLaunches {
    /// Through the gate.
    pub gated: u64,
    /// Past the gate on purpose.
    pub passthrough: u64,
    /// Never reached the shim.
    pub bypass: u64,
}
