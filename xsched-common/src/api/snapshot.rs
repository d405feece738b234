//! The state of the machine as the agent sees it.

use serde::{Deserialize, Serialize};

use super::workload::{JobRow, PodRow};
use super::{
    AgentWarning, BlameRow, DeviceRow, Drops, EventRow, GroupRow, ProcessHardware, TimeSliceRow,
    TimeSlicing, UnscheduledRow,
};
use crate::platform::Platform;
use crate::units::{Class, Nanos, StreamClass, Weight};

/// Everything at one moment. Rates and latencies cover the last
/// [`Snapshot::window_ns`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Processes that use a runtime, by pid.
    pub processes: Vec<ProcessRow>,
    /// What happened lately, oldest first; the agent keeps a few hundred.
    #[serde(default)]
    pub events: Vec<EventRow>,
    /// Work on the whole machine that escapes scheduling; null where no probes
    /// tell of it.
    #[serde(default)]
    pub unscheduled: Option<UnscheduledRow>,
}

/// The agent and the honesty of its numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AgentInfo {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The [`crate::ABI`] that shims must speak to join it, as `major.minor`;
    /// empty from agents that do not say.
    #[serde(default)]
    pub abi: String,
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
    /// The thread that opens and closes gates.
    #[serde(default)]
    pub control: ControlInfo,
    /// The hardware's time slices.
    #[serde(default)]
    pub time_slicing: TimeSlicing,
    /// What users should not overlook, one each.
    #[serde(default)]
    pub warnings: Vec<AgentWarning>,
}

/// The thread that joins clients, decides, and writes their gates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ControlInfo {
    /// Clients joined now.
    pub clients: u64,
    /// From waking up to having decided and written, median of the window;
    /// null while unknown.
    pub round_p50_ns: Option<Nanos>,
    /// The same, 99th percentile.
    pub round_p99_ns: Option<Nanos>,
    /// Times that a client's doorbell was not listened to for a while, because
    /// it rang too often.
    pub bells_muted: u64,
    /// Joins refused for want of a place, or because they came too often.
    pub joins_refused: u64,
    /// How late the latest heartbeat of the window was at most; clients run
    /// free after 250 ms without one. Null while unknown.
    #[serde(default)]
    pub beat_late_max_ns: Option<Nanos>,
}

/// The observer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// How much of the events is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sampling {
    /// Share of the time that probes are in place; counts are divided by it.
    pub factor: f64,
    /// Share of the busiest process's time that probes may cost it
    /// (`--overhead-budget`); null without probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// What they cost it of late: the calls that met a probe, times what such
    /// a call costs on this machine with cold caches; null until known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            factor: 1.0,
            budget: None,
            cost: None,
        }
    }
}

/// A process that uses a runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessRow {
    /// In the agent's namespace.
    pub pid: u32,
    /// Start time, clock ticks since boot (`/proc/PID/stat`): with the pid,
    /// the process's identity.
    pub start_time: u64,
    /// Whose runtime it uses: of several the one that its shim or its calls are
    /// of; null while unknown.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Its parent when it was first seen; null while unknown.
    #[serde(default)]
    pub parent: Option<u32>,
    /// Its control group when it was first seen, as `/proc/PID/cgroup` has
    /// it, cut at 256 bytes: names its container or systemd unit; null where
    /// it is the root or unknown.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// Its Kubernetes pod, as far as root made its control group; left out
    /// where it is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRow>,
    /// Its Slurm job, the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRow>,
    /// Its user.
    pub uid: u32,
    /// That user's name; null where it has none.
    #[serde(default)]
    pub user: Option<String>,
    /// `/proc/PID/comm`.
    pub command: String,
    /// Arguments, joined by blanks, cut at 256 bytes.
    pub arguments: String,
    /// The class it has, or would have if it joined.
    pub class: Class,
    /// Its share within the class.
    #[serde(default)]
    pub weight: Weight,
    /// Where its attributes come from, for people: `rule "serving"`, `set by hand`,
    /// `default`.
    #[serde(default)]
    pub terms_from: String,
    /// Its latency target, if it has one.
    #[serde(default)]
    pub slo: Option<SloRow>,
    /// Where the time of its slow bursts in the window went; null without the
    /// shim and while neither its target nor its time alone is known.
    #[serde(default)]
    pub blame: Option<BlameRow>,
    /// A boost or suspension in force.
    #[serde(default)]
    pub hold: Option<OverrideRow>,
    /// Whether the shim is in it.
    pub shim: ShimState,
    /// Address of the device that it has launched on most, once known.
    pub device: Option<String>,
    /// Its gate on that device, if it has joined.
    pub gate: Option<GateRow>,
    /// How that gate stood over the window; null without the shim and until it
    /// was decided about.
    #[serde(default)]
    pub gate_shares: Option<GateShares>,
    /// What the kernel's driver tells of its use of devices; left out where it
    /// tells nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<ProcessHardware>,
    /// Launches since it was first seen.
    pub launches: u64,
    /// In the window.
    pub launches_per_s: f64,
    /// Share of launches in the window that escape scheduling because they
    /// never reach the shim ([`RouteLaunches::bypass`]); all without the
    /// shim, null while unknown or without launches. What passes the gate on
    /// purpose is no part of it. A joined
    /// process carries no probes: whether calls go past its shim is looked at
    /// for a moment every 30 s, and all the time once some did.
    pub bypass_ratio: Option<f64>,
    /// Share of launches in the window on the default stream.
    pub default_stream_ratio: Option<f64>,
    /// First launch after idle until drained. For a joined process from its
    /// page, complete. For others only where the agent runs with
    /// `--probe-returns` (else null), and as its threads see it, by probes:
    /// from a thread's first launch after idle to the return of the wait or
    /// copy that ends it; only those that lie whole in a time in which probes
    /// were in place ([`ProcessRow::sampling`]), so long ones are seen less
    /// often; null if none was.
    pub burst: Option<Latency>,
    /// Bursts in the window by length, shortest first, four buckets to a power
    /// of two; empty ones are left out.
    #[serde(default)]
    pub burst_histogram: Vec<LatencyBucket>,
    /// Waits at the gate; null without the shim.
    pub gate_wait: Option<Latency>,
    /// Launches that passed a gate that did not admit them.
    pub guards: Option<Guards>,
    /// Intervals between two events of a program that asks for such times, which
    /// the gate has split: the times are too long. Null without the shim.
    #[serde(default)]
    pub split_intervals: Option<u64>,
    /// Gated commands in flight.
    pub in_flight: Option<u32>,
    /// Measured kernel time T: the time between two completions, per command.
    pub kernel_ns: Option<Nanos>,
    /// Whether that is what the process showed while nobody else was at work
    /// on the device, as far as the agent knows. If not, it is an upper bound
    /// that others stretch; null where T is unknown.
    #[serde(default)]
    pub kernel_alone: Option<bool>,
    /// Estimated share of its device's time in the window, from the gate's
    /// accounting; null without the shim.
    #[serde(default)]
    pub busy_ratio: Option<f64>,
    /// Calling libraries, busiest first.
    pub callers: Vec<CallerRow>,
    /// Functions that it called, busiest first, as far as they are probed:
    /// launches, waits and copies that the host waits for. Empty for a joined
    /// process, which carries no probes.
    #[serde(default)]
    pub apis: Vec<ApiRow>,
    /// Share of the time in which its calls are counted by probes; launches
    /// and calls are divided by it, bursts are not. Null for a joined
    /// process and without probes.
    #[serde(default)]
    pub sampling: Option<f64>,
    /// The hardware's time slices of its work, by device, where the driver
    /// lets them be read and set from outside.
    #[serde(default)]
    pub time_slices: Vec<TimeSliceRow>,
    /// Its threads and streams that have classes of their own.
    #[serde(default)]
    pub groups: Vec<GroupRow>,
}

impl ProcessRow {
    /// The pod or Slurm job that it belongs to, as people call it.
    pub fn workload(&self) -> Option<String> {
        let pod = self.pod.as_ref().map(ToString::to_string);
        pod.or_else(|| self.job.as_ref().map(ToString::to_string))
    }

    /// The time slice on the device that it uses most.
    pub fn time_slice(&self) -> Option<&TimeSliceRow> {
        let on_its = |row: &&TimeSliceRow| Some(&row.device) == self.device.as_ref();
        let mut rows = self.time_slices.iter();
        rows.find(on_its).or_else(|| self.time_slices.first())
    }
}

/// Calls of one function by kind of stream, as far as they were observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ApiRow {
    /// The function.
    pub api: String,
    /// The stream that the calls named.
    pub stream: StreamClass,
    /// Calls since the process was first seen, scaled for sampling.
    pub calls: u64,
}

/// A latency target and how it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SloRow {
    /// The P99 of bursts to reach.
    pub target_p99_ns: Nanos,
    /// How it goes.
    pub state: SloState,
    /// Why it is so, for people: "train.py (pid 17) runs kernels of 31 ms".
    pub reason: String,
}

/// How a latency target goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SloState {
    /// Too few bursts to tell.
    Unknown,
    /// Met.
    Met,
    /// Missed, cap and linger are adapting.
    Adapting,
    /// Out of reach whatever cap and linger are.
    Impossible,
}

/// What takes precedence over a process's class for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Override {
    /// Above all classes.
    Boosted,
    /// Gates closed.
    Suspended,
}

impl Override {
    /// As in JSON, and for people.
    pub const fn name(self) -> &'static str {
        match self {
            Override::Boosted => "boosted",
            Override::Suspended => "suspended",
        }
    }
}

/// A boost or suspension in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OverrideRow {
    /// Which.
    pub hold: Override,
    /// Until it ends by itself.
    pub remaining_ns: Nanos,
}

/// Whether the shim is in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GateRow {
    /// What it allows.
    pub state: GateState,
    /// The cap, when capped.
    pub cap: Option<u16>,
    /// Why, for people: "high (pid 17) has work".
    pub reason: String,
    /// Threads waiting.
    pub waiting: u32,
}

/// What a gate allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum GateState {
    /// Everything.
    Open,
    /// A number of commands in flight.
    Capped,
    /// Nothing.
    Closed,
}

/// How a gate stood over some time, as shares of that time: they sum up to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GateShares {
    /// Open.
    pub open_ratio: f64,
    /// Capped, whatever the cap.
    pub capped_ratio: f64,
    /// Closed.
    pub closed_ratio: f64,
}

/// Latencies in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LatencyBucket {
    /// The shortest that it counts.
    pub from_ns: Nanos,
    /// Values.
    pub count: u64,
}

/// Times each guard let a launch pass, since the process joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallerRow {
    /// Basename of the file.
    pub library: String,
    /// Launches since the process was first seen.
    pub launches: RouteLaunches,
    /// Of these, on the default stream.
    pub default_stream: u64,
}

/// Launches by the way they took. What passes the gate and what does not is
/// said by these three in every output and in diagnosis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RouteLaunches {
    /// Through the gate.
    pub gated: u64,
    /// They reached the shim, which let them by on purpose: collectives of
    /// RCCL, what the agent's configuration or the environment exempts, and
    /// what is captured into a graph.
    pub passthrough: u64,
    /// Never reached the shim: they escape scheduling.
    pub bypass: u64,
}
