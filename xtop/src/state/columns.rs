//! The table's columns: names, values, order.

use std::borrow::Cow;
use std::cmp::Ordering;

use xsched_common::api::{GateState, ShimState};
use xsched_common::units::Nanos;

use super::row::Row;

/// A column of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// Process id.
    Pid,
    /// Name of the user.
    User,
    /// Container or systemd unit.
    Unit,
    /// Command with arguments.
    Command,
    /// Scheduling class.
    Class,
    /// State of the gate.
    Gate,
    /// Launches per second.
    Launches,
    /// Gated commands in flight.
    InFlight,
    /// Median burst.
    BurstP50,
    /// 99th percentile of bursts.
    BurstP99,
    /// 99th percentile of waits at the gate.
    WaitP99,
    /// Launches that did not pass the gate.
    Bypass,
    /// Launches on the default stream.
    DefaultStream,
    /// Address of the device.
    Device,
    /// Whether the shim is in the process.
    Shim,
}

/// A column's value in one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Not known, which is not zero.
    Unknown,
    /// Text; ordered by alphabet.
    Text(Cow<'a, str>),
    /// Text with an order of its own.
    Ranked(Cow<'a, str>, u32),
    /// An identifying number.
    Id(u32),
    /// A number of things.
    Count(u64),
    /// Per second.
    Rate(f64),
    /// A time.
    Time(Nanos),
    /// From 0 to 1.
    Share(f64),
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
    pub const ALL: [Column; 15] = [
        Column::Pid,
        Column::User,
        Column::Unit,
        Column::Command,
        Column::Class,
        Column::Gate,
        Column::Launches,
        Column::InFlight,
        Column::BurstP50,
        Column::BurstP99,
        Column::WaitP99,
        Column::Bypass,
        Column::DefaultStream,
        Column::Device,
        Column::Shim,
    ];

    /// The name in `--sort` and in filters.
    pub const fn name(self) -> &'static str {
        match self {
            Column::Pid => "pid",
            Column::User => "user",
            Column::Unit => "unit",
            Column::Command => "command",
            Column::Class => "class",
            Column::Gate => "gate",
            Column::Launches => "launches",
            Column::InFlight => "inflight",
            Column::BurstP50 => "p50",
            Column::BurstP99 => "p99",
            Column::WaitP99 => "wait",
            Column::Bypass => "bypass",
            Column::DefaultStream => "default",
            Column::Device => "device",
            Column::Shim => "shim",
        }
    }

    /// The title on screen.
    pub const fn title(self) -> &'static str {
        match self {
            Column::Pid => "PID",
            Column::User => "USER",
            Column::Unit => "UNIT",
            Column::Command => "COMMAND",
            Column::Class => "CLASS",
            Column::Gate => "GATE",
            Column::Launches => "LAUNCH/S",
            Column::InFlight => "INFLT",
            Column::BurstP50 => "P50",
            Column::BurstP99 => "P99",
            Column::WaitP99 => "WAIT99",
            Column::Bypass => "BYPASS",
            Column::DefaultStream => "DEFSTR",
            Column::Device => "DEVICE",
            Column::Shim => "SHIM",
        }
    }

    /// What it shows, for the sort menu and the help.
    pub const fn meaning(self) -> &'static str {
        match self {
            Column::Pid => "process id",
            Column::User => "user",
            Column::Unit => "container or systemd unit",
            Column::Command => "command and arguments",
            Column::Class => "scheduling class",
            Column::Gate => "gate: open, capped or closed",
            Column::Launches => "launches per second",
            Column::InFlight => "gated commands in flight",
            Column::BurstP50 => "burst, median",
            Column::BurstP99 => "burst, 99th percentile",
            Column::WaitP99 => "wait at the gate, 99th percentile",
            Column::Bypass => "launches past the gate",
            Column::DefaultStream => "launches on the default stream",
            Column::Device => "device used last",
            Column::Shim => "whether the shim is in the process",
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
            | Column::Launches
            | Column::InFlight
            | Column::BurstP50
            | Column::BurstP99
            | Column::WaitP99
            | Column::Bypass
            | Column::DefaultStream => true,
            Column::User
            | Column::Unit
            | Column::Command
            | Column::Class
            | Column::Gate
            | Column::Device
            | Column::Shim => false,
        }
    }

    /// The direction people want first: the worst or busiest on top.
    pub const fn natural_direction(self) -> Direction {
        match self {
            Column::Pid | Column::User | Column::Unit | Column::Command | Column::Device => {
                Direction::Ascending
            }
            _ => Direction::Descending,
        }
    }

    /// Its value in `row`.
    pub fn value(self, row: &Row) -> Value<'_> {
        let process = &row.process;
        match self {
            Column::Pid => Value::Id(process.pid),
            Column::User => Value::Text(Cow::Borrowed(&row.user)),
            Column::Unit => known(row.unit.as_deref(), |unit| Value::Text(unit.into())),
            Column::Command => Value::Text(Cow::Borrowed(&row.command)),
            Column::Class => Value::Ranked(process.class.name().into(), process.class as u32),
            Column::Gate => gate(row),
            Column::Launches => Value::Rate(process.launches_per_s),
            Column::InFlight => known(process.in_flight, |n| Value::Count(n.into())),
            Column::BurstP50 => latency(process.burst, |l| l.p50_ns),
            Column::BurstP99 => latency(process.burst, |l| l.p99_ns),
            Column::WaitP99 => latency(process.gate_wait, |l| l.p99_ns),
            Column::Bypass => known(process.bypass_ratio, Value::Share),
            Column::DefaultStream => known(process.default_stream_ratio, Value::Share),
            Column::Device => known(row.device.as_deref(), |d| Value::Text(d.into())),
            Column::Shim => {
                let (name, rank) = match process.shim {
                    ShimState::Absent => ("absent", 0),
                    ShimState::Mapped => ("mapped", 1),
                    ShimState::Joined => ("joined", 2),
                };
                Value::Ranked(name.into(), rank)
            }
        }
    }
}

/// Ranked by how much the gate holds back.
fn gate(row: &Row) -> Value<'_> {
    known(row.process.gate.as_ref(), |gate| {
        match (gate.state, gate.cap) {
            (GateState::Open, _) => Value::Ranked("open".into(), 0),
            (GateState::Capped, Some(cap)) => {
                Value::Ranked(format!("cap {cap}").into(), 1 + u32::from(u16::MAX - cap))
            }
            (GateState::Capped, None) => Value::Ranked("cap".into(), 1),
            (GateState::Closed, _) => Value::Ranked("closed".into(), u32::MAX),
        }
    })
}

/// A percentile of nothing is unknown, not zero.
fn latency(
    latency: Option<xsched_common::api::Latency>,
    pick: impl Fn(xsched_common::api::Latency) -> Nanos,
) -> Value<'static> {
    known(latency.filter(|l| l.count > 0), |l| Value::Time(pick(l)))
}

fn known<'a, T>(value: Option<T>, show: impl FnOnce(T) -> Value<'a>) -> Value<'a> {
    value.map_or(Value::Unknown, show)
}

impl Value<'_> {
    /// The order in `direction`; what is unknown comes last in either.
    pub fn compare(&self, other: &Value<'_>, direction: Direction) -> Ordering {
        let order = match (self, other) {
            (Value::Unknown, Value::Unknown) => return Ordering::Equal,
            (Value::Unknown, _) => return Ordering::Greater,
            (_, Value::Unknown) => return Ordering::Less,
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Ranked(_, a), Value::Ranked(_, b)) | (Value::Id(a), Value::Id(b)) => a.cmp(b),
            (a, b) => a.number().total_cmp(&b.number()),
        };
        match direction {
            Direction::Ascending => order,
            Direction::Descending => order.reverse(),
        }
    }

    /// As a plain number: ns for times, 0 to 1 for shares.
    pub fn number(&self) -> f64 {
        match self {
            Value::Unknown | Value::Text(_) => f64::NAN,
            Value::Ranked(_, rank) => f64::from(*rank),
            Value::Id(id) => f64::from(*id),
            Value::Count(n) => *n as f64,
            Value::Rate(x) | Value::Share(x) => *x,
            Value::Time(t) => t.0 as f64,
        }
    }
}
