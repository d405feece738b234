//! The columns of `ps`.

use xsched_common::api::{
    GateRow, GateState, GroupRow, Latency, OverrideRow, ProcessRow, ShimState, SloState, Snapshot,
};
use xsched_common::platform::Platform;
use xsched_common::units::Nanos;

use super::super::table::{Cell, Tone};

/// A column, and what it shows.
#[derive(Debug)]
pub struct Column {
    /// Right-aligned where it starts with `>`.
    pub heading: &'static str,
    /// Where there is not room for all, columns of a higher number go first;
    /// those of zero never do.
    pub rank: u8,
    /// Of a process.
    pub cell: fn(&ProcessRow) -> Cell,
    /// Without being asked for: where it has something to say of some process.
    shown: Option<fn(&ProcessRow) -> bool>,
}

/// All, from left to right.
pub static ALL: [Column; 20] = [
    column(">PID", 0, |p| p.pid.to_string().into()),
    column("USER", 3, |p| {
        p.user.clone().unwrap_or_else(|| p.uid.to_string()).into()
    }),
    column("WORKLOAD", 3, |p| known(p.workload())).where_some(|p| p.workload().is_some()),
    column("COMMAND", 0, |p| p.command.clone().into()),
    column("ARGUMENTS", 9, |p| p.arguments.clone().into()).where_some(|_| false),
    column("PLATFORM", 6, |p| known(p.platform.map(Platform::name))),
    column("CLASS", 0, |p| class(p).into()),
    column(">WEIGHT", 8, |p| p.weight.to_string().into()),
    column("TERMS FROM", 7, |p| match p.terms_from.as_str() {
        "" => known(None::<String>),
        from => from.to_owned().into(),
    }),
    column(">TARGET", 2, target),
    column("SHIM", 4, shim),
    column("GATE", 2, |p| gate(p.gate.as_ref())),
    column(">SLICE", 5, |p| {
        known(p.time_slice().map(|slice| slice.slice_ns.to_string()))
    })
    .where_some(|p| !p.time_slices.is_empty()),
    column(">LAUNCH/S", 1, |p| {
        format!("{:.0}", p.launches_per_s).into()
    }),
    column(">BUSY", 2, |p| percent(p.busy_ratio).into()),
    column(">BURST P50", 3, |p| burst(p, |l| l.p50_ns)),
    column(">P99", 1, |p| burst(p, |l| l.p99_ns)),
    column(">BYPASS", 1, bypass),
    column(">DEFAULT", 9, |p| percent(p.default_stream_ratio).into()),
    column("WHY", 1, why),
];

/// Those that a picture has something for.
pub fn of(snapshot: &Snapshot) -> Vec<&'static Column> {
    let any = |has: fn(&ProcessRow) -> bool| snapshot.processes.iter().any(has);
    ALL.iter()
        .filter(|column| column.shown.is_none_or(any))
        .collect()
}

const fn column(heading: &'static str, rank: u8, cell: fn(&ProcessRow) -> Cell) -> Column {
    Column {
        heading,
        rank,
        cell,
        shown: None,
    }
}

impl Column {
    const fn where_some(self, has: fn(&ProcessRow) -> bool) -> Column {
        Column {
            shown: Some(has),
            ..self
        }
    }
}

fn known(text: Option<impl Into<String>>) -> Cell {
    text.map_or_else(|| "-".to_owned(), Into::into).into()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", share * 100.0))
}

fn burst(process: &ProcessRow, pick: fn(&Latency) -> Nanos) -> Cell {
    latency(process.burst, pick)
}

fn latency(burst: Option<Latency>, pick: fn(&Latency) -> Nanos) -> Cell {
    let burst = burst.filter(|burst| burst.count > 0);
    known(burst.map(|burst| pick(&burst).to_string()))
}

fn target(process: &ProcessRow) -> Cell {
    let Some(slo) = &process.slo else {
        return known(None::<String>);
    };
    let tone = match slo.state {
        SloState::Met => Tone::Good,
        SloState::Adapting => Tone::Warning,
        SloState::Impossible => Tone::Bad,
        SloState::Unknown => Tone::Plain,
    };
    Cell::new(slo.target_p99_ns.to_string(), tone)
}

fn shim(process: &ProcessRow) -> Cell {
    match process.shim {
        ShimState::Absent => Cell::new("absent", Tone::Warning),
        ShimState::Mapped => Cell::new("mapped", Tone::Warning),
        ShimState::Joined => "joined".into(),
    }
}

/// A closed gate is what a lower class is for: no alarm.
fn gate(gate: Option<&GateRow>) -> Cell {
    known(gate.map(|gate| match gate.state {
        GateState::Open => "open".to_owned(),
        GateState::Capped => format!("cap {}", gate.cap.unwrap_or_default()),
        GateState::Closed => "closed".to_owned(),
    }))
}

fn bypass(process: &ProcessRow) -> Cell {
    let tone = match process.bypass_ratio {
        Some(ratio) if ratio >= 0.995 => Tone::Bad,
        Some(ratio) if ratio > 0.0 => Tone::Warning,
        _ => Tone::Plain,
    };
    Cell::new(percent(process.bypass_ratio), tone)
}

/// In a line below its process: what has a class of its own there. Columns that say
/// nothing of it are empty.
pub fn of_group(column: &Column, group: &GroupRow) -> Cell {
    match column.heading {
        "COMMAND" => "  threads".into(),
        "CLASS" => group.class.to_string().into(),
        "TERMS FROM" if group.wish == group.class => group.origin.name().into(),
        "TERMS FROM" => format!("{}, wants {}", group.origin.name(), group.wish).into(),
        "GATE" => gate(group.gate.as_ref()),
        ">BUSY" => percent(group.busy_ratio).into(),
        ">BURST P50" => latency(group.burst, |l| l.p50_ns),
        ">P99" => latency(group.burst, |l| l.p99_ns),
        "WHY" => known(group.gate.as_ref().map(|gate| gate.reason.clone())),
        _ => "".into(),
    }
}

/// With what takes precedence over it for a while.
fn class(process: &ProcessRow) -> String {
    match process.hold {
        None => process.class.to_string(),
        Some(OverrideRow { hold, remaining_ns }) => {
            format!("{} ({}, {remaining_ns})", process.class, hold.name())
        }
    }
}

/// Of the things that are so, the one that matters most.
fn why(process: &ProcessRow) -> Cell {
    let missed = |state| matches!(state, SloState::Adapting | SloState::Impossible);
    if let Some(slo) = process.slo.as_ref().filter(|slo| missed(slo.state)) {
        return Cell::new(slo.reason.clone(), Tone::Warning);
    }
    if let Some(blame) = process.blame.as_ref().filter(|blame| blame.slow > 0) {
        return blame.summary.clone().into();
    }
    match (&process.gate, process.shim) {
        (Some(gate), _) => gate.reason.clone().into(),
        (None, ShimState::Joined) => "it has used no device yet".into(),
        (None, ShimState::Mapped) => "the shim has not joined this agent".into(),
        (None, ShimState::Absent) => "runs without the shim: unscheduled".into(),
    }
}
