//! The columns of the table of processes: names and meanings.

/// A column of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// Process id.
    Pid,
    /// Name of the user.
    User,
    /// Container or systemd unit.
    Unit,
    /// Pod or Slurm job.
    Workload,
    /// Command with arguments.
    Command,
    /// Scheduling class.
    Class,
    /// Share within the class.
    Weight,
    /// State of the gate.
    Gate,
    /// Boosted or suspended.
    Override,
    /// How the latency target goes.
    Slo,
    /// Launches per second.
    Launches,
    /// Estimated share of the device's time.
    Busy,
    /// Gated commands in flight.
    InFlight,
    /// Median burst.
    BurstP50,
    /// 99th percentile of bursts.
    BurstP99,
    /// Longest burst.
    BurstMax,
    /// 99th percentile of waits at the gate.
    WaitP99,
    /// Launches that never reached the shim.
    Bypass,
    /// Launches on the default stream.
    DefaultStream,
    /// Whose runtime it uses.
    Platform,
    /// The hardware's time slice.
    Slice,
    /// Address of the device.
    Device,
    /// Whether the shim is in the process.
    Shim,
    /// Why the process fares as it does.
    Why,
}

/// The direction of a sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

impl Direction {
    /// The other one.
    pub const fn inverted(self) -> Direction {
        match self {
            Direction::Ascending => Direction::Descending,
            Direction::Descending => Direction::Ascending,
        }
    }
}

impl Column {
    /// All columns in the order of the screen.
    pub const ALL: [Column; 24] = [
        Column::Pid,
        Column::User,
        Column::Unit,
        Column::Workload,
        Column::Command,
        Column::Class,
        Column::Weight,
        Column::Gate,
        Column::Override,
        Column::Slo,
        Column::Launches,
        Column::Busy,
        Column::InFlight,
        Column::BurstP50,
        Column::BurstP99,
        Column::BurstMax,
        Column::WaitP99,
        Column::Bypass,
        Column::DefaultStream,
        Column::Platform,
        Column::Slice,
        Column::Device,
        Column::Shim,
        Column::Why,
    ];

    /// The name in `--sort` and in filters.
    pub const fn name(self) -> &'static str {
        match self {
            Column::Pid => "pid",
            Column::User => "user",
            Column::Unit => "unit",
            Column::Workload => "workload",
            Column::Command => "command",
            Column::Class => "class",
            Column::Weight => "weight",
            Column::Gate => "gate",
            Column::Override => "hold",
            Column::Slo => "slo",
            Column::Launches => "launches",
            Column::Busy => "busy",
            Column::InFlight => "inflight",
            Column::BurstP50 => "p50",
            Column::BurstP99 => "p99",
            Column::BurstMax => "max",
            Column::WaitP99 => "wait",
            Column::Bypass => "bypass",
            Column::DefaultStream => "default",
            Column::Platform => "platform",
            Column::Slice => "slice",
            Column::Device => "device",
            Column::Shim => "shim",
            Column::Why => "why",
        }
    }

    /// The title on screen.
    pub const fn title(self) -> &'static str {
        match self {
            Column::Pid => "PID",
            Column::User => "USER",
            Column::Unit => "UNIT",
            Column::Workload => "WORKLOAD",
            Column::Command => "COMMAND",
            Column::Class => "CLASS",
            Column::Weight => "WEIGHT",
            Column::Gate => "GATE",
            Column::Override => "HOLD",
            Column::Slo => "SLO",
            Column::Launches => "LAUNCH/S",
            Column::Busy => "~BUSY",
            Column::InFlight => "INFLT",
            Column::BurstP50 => "P50",
            Column::BurstP99 => "P99",
            Column::BurstMax => "MAX",
            Column::WaitP99 => "WAIT99",
            Column::Bypass => "BYPASS",
            Column::DefaultStream => "DEFSTR",
            Column::Platform => "PLATFORM",
            Column::Slice => "SLICE",
            Column::Device => "DEVICE",
            Column::Shim => "SHIM",
            Column::Why => "WHY",
        }
    }

    /// What it shows, for the sort menu and the help.
    pub const fn meaning(self) -> &'static str {
        match self {
            Column::Pid => "process id",
            Column::User => "user",
            Column::Unit => "container or systemd unit",
            Column::Workload => "pod, or Slurm job and step",
            Column::Command => "command and arguments",
            Column::Class => "scheduling class",
            Column::Weight => "share within the class, 100 by default",
            Column::Gate => "gate: open, capped or closed",
            Column::Override => "boosted or suspended, and for how long",
            Column::Slo => "latency target: met, adapting, impossible",
            Column::Launches => "launches per second",
            Column::Busy => "estimated share of the device's time",
            Column::InFlight => "gated commands in flight",
            Column::BurstP50 => "burst, median",
            Column::BurstP99 => "burst, 99th percentile",
            Column::BurstMax => "burst, longest",
            Column::WaitP99 => "wait at the gate, 99th percentile",
            Column::Bypass => "launches past the gate",
            Column::DefaultStream => "launches on the default stream",
            Column::Platform => "whose runtime it uses",
            Column::Slice => "time slice of the hardware, set by class",
            Column::Device => "device launched on most",
            Column::Shim => "whether the shim is in the process",
            Column::Why => "why it fares so: who holds it back",
        }
    }

    /// The column with this [`Column::name`].
    pub fn from_name(name: &str) -> Option<Column> {
        Column::ALL
            .into_iter()
            .find(|column| column.name().eq_ignore_ascii_case(name))
    }

    /// All names, for error messages.
    pub fn names() -> String {
        Column::ALL.map(Column::name).join(", ")
    }

    /// Whether values stand at the right edge.
    pub const fn is_numeric(self) -> bool {
        match self {
            Column::Pid
            | Column::Weight
            | Column::Launches
            | Column::Busy
            | Column::InFlight
            | Column::BurstP50
            | Column::BurstP99
            | Column::BurstMax
            | Column::WaitP99
            | Column::Bypass
            | Column::DefaultStream
            | Column::Slice => true,
            Column::User
            | Column::Unit
            | Column::Workload
            | Column::Command
            | Column::Class
            | Column::Gate
            | Column::Override
            | Column::Slo
            | Column::Platform
            | Column::Device
            | Column::Shim
            | Column::Why => false,
        }
    }

    /// The direction people want first: the worst or busiest on top.
    pub const fn natural_direction(self) -> Direction {
        match self {
            Column::Pid
            | Column::User
            | Column::Unit
            | Column::Workload
            | Column::Command
            | Column::Platform
            | Column::Device => Direction::Ascending,
            _ => Direction::Descending,
        }
    }
}
