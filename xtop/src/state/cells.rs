//! What the columns say of a row.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::Duration;

use xsched_common::api::{GateState, Latency, Override, ShimState, SloState};
use xsched_common::units::{Nanos, Weight};

use super::row::Row;
use crate::column::{Column, Direction};
use crate::format;

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
    /// From 0 to 1, estimated.
    Estimate(f64),
}

impl Column {
    /// Whether what it says of `row` goes without saying.
    pub fn is_plain(self, row: &Row) -> bool {
        match self {
            Column::Override => row.process.hold.is_none(),
            Column::Slo => row.process.slo.is_none(),
            Column::Busy => row.process.busy_ratio.is_none(),
            Column::Slice => row.process.time_slices.is_empty(),
            Column::Workload => row.workload.is_none(),
            Column::Weight => row.weight().is_none_or(|w| w == Weight::default()),
            _ => false,
        }
    }

    /// Its value in `row`.
    pub fn value(self, row: &Row) -> Value<'_> {
        let process = &row.process;
        match self {
            Column::Pid => Value::Id(process.pid),
            Column::User => Value::Text(Cow::Borrowed(&row.user)),
            Column::Unit => known(row.unit.as_deref(), |unit| Value::Text(unit.into())),
            Column::Workload => known(row.workload.as_deref(), |name| Value::Text(name.into())),
            Column::Command => Value::Text(Cow::Borrowed(&row.command)),
            Column::Class => Value::Ranked(process.class.name().into(), process.class as u32),
            Column::Weight => known(row.weight(), |weight| Value::Count(weight.get().into())),
            Column::Gate => gate(row),
            Column::Override => hold(row),
            Column::Slo => slo(row),
            Column::Launches => Value::Rate(process.launches_per_s),
            Column::Busy => known(process.busy_ratio, Value::Estimate),
            Column::InFlight => known(process.in_flight, |n| Value::Count(n.into())),
            Column::BurstP50 => latency(process.burst, |l| l.p50_ns),
            Column::BurstP99 => latency(process.burst, |l| l.p99_ns),
            Column::BurstMax => latency(process.burst, |l| l.max_ns),
            Column::WaitP99 => latency(process.gate_wait, |l| l.p99_ns),
            Column::Bypass => known(process.bypass_ratio, Value::Share),
            Column::DefaultStream => known(process.default_stream_ratio, Value::Share),
            Column::Platform => known(process.platform, |platform| {
                Value::Text(platform.name().into())
            }),
            Column::Slice => known(process.time_slice(), |slice| Value::Time(slice.slice_ns)),
            Column::Device => known(row.device.as_deref(), |d| Value::Text(d.into())),
            Column::Shim => {
                let (name, rank) = match process.shim {
                    ShimState::Absent => ("absent", 0),
                    ShimState::Mapped => ("mapped", 1),
                    ShimState::Joined => ("joined", 2),
                };
                Value::Ranked(name.into(), rank)
            }
            Column::Why => match row.verdict.why.as_str() {
                "" => Value::Unknown,
                why => Value::Ranked(why.into(), row.verdict.standing as u32),
            },
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

/// A hold in few columns.
pub const fn hold_word(hold: Override) -> &'static str {
    match hold {
        Override::Boosted => "boost",
        Override::Suspended => "susp",
    }
}

/// Ranked by what is left of it.
fn hold(row: &Row) -> Value<'_> {
    known(row.process.hold, |hold| {
        let left = format::age(Duration::from_nanos(hold.remaining_ns.0));
        let name = hold_word(hold.hold);
        let rank = u32::try_from(hold.remaining_ns.0 / 1_000_000).unwrap_or(u32::MAX);
        Value::Ranked(format!("{name} {left}").into(), rank)
    })
}

/// The name of a target's state, as in JSON.
pub const fn slo_name(state: SloState) -> &'static str {
    match state {
        SloState::Unknown => "unknown",
        SloState::Met => "met",
        SloState::Adapting => "adapting",
        SloState::Impossible => "impossible",
    }
}

/// Ranked by how bad it is.
fn slo(row: &Row) -> Value<'_> {
    known(row.process.slo.as_ref(), |slo| {
        let rank = match slo.state {
            SloState::Unknown => 0,
            SloState::Met => 1,
            SloState::Adapting => 2,
            SloState::Impossible => 3,
        };
        Value::Ranked(slo_name(slo.state).into(), rank)
    })
}

/// A percentile of nothing is unknown, not zero.
fn latency(latency: Option<Latency>, pick: impl Fn(Latency) -> Nanos) -> Value<'static> {
    known(latency.filter(|l| l.count > 0), |l| Value::Time(pick(l)))
}

fn known<'a, T>(value: Option<T>, show: impl FnOnce(T) -> Value<'a>) -> Value<'a> {
    value.map_or(Value::Unknown, show)
}

impl Value<'_> {
    /// As people read it, at most eight columns wide unless it is text.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Value::Unknown => format::UNKNOWN.into(),
            Value::Text(text) | Value::Ranked(text, _) => Cow::Borrowed(text),
            Value::Id(id) => id.to_string().into(),
            Value::Count(n) => format::count(*n).into(),
            Value::Rate(rate) => format::rate(*rate).into(),
            Value::Time(time) => time.to_string().into(),
            Value::Share(share) => format::share(*share).into(),
            Value::Estimate(share) => format::estimate(*share).into(),
        }
    }

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
            Value::Rate(x) | Value::Share(x) | Value::Estimate(x) => *x,
            Value::Time(t) => t.0 as f64,
        }
    }
}
