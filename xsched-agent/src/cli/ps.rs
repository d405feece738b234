//! `ps`: one look at all processes that use a runtime.

use std::process::ExitCode;

use xsched_client::blocking as client;
use xsched_common::api::{GateState, OverrideRow, ProcessRow, Sampling, ShimState, Snapshot};
use xsched_common::bpf::Drop;
use xsched_common::platform::TITLES;
use xsched_common::units::Nanos;
use xsched_host::text::counted;

use super::{endpoint, print, print_json, table};

/// For a live view use xtop.
#[derive(clap::Args)]
#[command(after_help = "\
PLATFORM    whose runtime it uses; - while unknown
CLASS       with a boost or suspension in force and its remaining time
WEIGHT      the share within the class
TERMS FROM  where class and weight come from; `xsched-agent explain` tells all
SHIM        joined: scheduled; mapped: not joined; absent: runs unscheduled
BURST       from the first launch after idle until drained; of programs without
            the shim only where the agent has --probe-returns
GATE        what it allows now: open, cap N (commands in flight) or closed
SLICE       the hardware's time slice of its work, where the agent has set it by
            class; it needs no shim. The column is there where some are
BYPASS      share of launches that never reach the shim, and so run unscheduled")]
pub struct Options {
    /// Print the agent's snapshot: raw numbers, times in ns
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let snapshot = client::list(&endpoint())?;
    if options.json {
        print_json(&snapshot)?;
    } else {
        print(&text(&snapshot))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(snapshot: &Snapshot) -> String {
    let mut out = if snapshot.processes.is_empty() {
        format!("no process uses {TITLES}\n")
    } else {
        let mut headings = HEADINGS.to_vec();
        let mut rows: Vec<_> = snapshot.processes.iter().map(row).collect();
        let has_slices = |process: &ProcessRow| !process.time_slices.is_empty();
        if snapshot.processes.iter().any(has_slices) {
            headings.insert(AFTER_GATE, ">SLICE");
            for (process, row) in snapshot.processes.iter().zip(&mut rows) {
                row.insert(AFTER_GATE, slice(process));
            }
        }
        table::render(&headings, &rows)
    };
    for process in &snapshot.processes {
        out += &on_purpose(process);
    }
    for drop in &snapshot.agent.drops.by_reason {
        let costs = if drop.reason == Drop::RingFull.name() {
            "short-lived callers may be unnamed"
        } else {
            "counts are too low"
        };
        let events = counted(drop.count, "event");
        out += &format!("{events} dropped ({}): {costs}\n", drop.reason);
    }
    let sampling = snapshot.agent.sampling.factor;
    if sampling < 1.0 {
        out += &format!(
            "note: probes are in place for {:.0}% of the time{}: counts of processes without the shim \
             are scaled\n",
            sampling * 100.0,
            cost(snapshot.agent.sampling)
        );
    }
    for limit in &snapshot.agent.limits {
        out += &format!("note: {limit}\n");
    }
    out
}

const HEADINGS: [&str; 13] = [
    ">PID",
    "COMMAND",
    "PLATFORM",
    "CLASS",
    ">WEIGHT",
    "TERMS FROM",
    "SHIM",
    "GATE",
    ">LAUNCH/S",
    ">BURST P50",
    ">P99",
    ">BYPASS",
    ">DEFAULT",
];

/// Where the column of slices goes, if there is one.
const AFTER_GATE: usize = 8;

fn slice(process: &ProcessRow) -> String {
    let slice = process.time_slice();
    slice.map_or_else(|| "-".to_owned(), |slice| slice.slice_ns.to_string())
}

fn row(process: &ProcessRow) -> Vec<String> {
    let unknown = || "-".to_owned();
    let percent = |share: Option<f64>| share.map_or_else(unknown, |s| format!("{:.1}%", s * 100.0));
    let latency = |pick: fn(&xsched_common::api::Latency) -> Nanos| {
        process
            .burst
            .filter(|burst| burst.count > 0)
            .map_or_else(unknown, |burst| pick(&burst).to_string())
    };
    vec![
        process.pid.to_string(),
        process.command.clone(),
        process
            .platform
            .map_or_else(unknown, |platform| platform.name().to_owned()),
        class(process),
        process.weight.to_string(),
        if process.terms_from.is_empty() {
            unknown()
        } else {
            process.terms_from.clone()
        },
        match process.shim {
            ShimState::Absent => "absent",
            ShimState::Mapped => "mapped",
            ShimState::Joined => "joined",
        }
        .to_owned(),
        process
            .gate
            .as_ref()
            .map_or_else(unknown, |gate| match gate.state {
                GateState::Open => "open".to_owned(),
                GateState::Capped => format!("cap {}", gate.cap.unwrap_or_default()),
                GateState::Closed => "closed".to_owned(),
            }),
        format!("{:.0}", process.launches_per_s),
        latency(|l| l.p50_ns),
        latency(|l| l.p99_ns),
        percent(process.bypass_ratio),
        percent(process.default_stream_ratio),
    ]
}

/// What probes cost, beside what they may.
fn cost(sampling: Sampling) -> String {
    match (sampling.budget, sampling.cost) {
        (Some(budget), Some(cost)) => format!(
            ", which costs the busiest process {:.2}% of its time (--overhead-budget {})",
            cost * 100.0,
            (budget * 1e4).round() / 100.0
        ),
        _ => " (--overhead-budget)".to_owned(),
    }
}

/// A line for each process that has launches past the gate on purpose.
fn on_purpose(process: &ProcessRow) -> String {
    let passed = process.callers.iter();
    let mut passed = passed.filter(|caller| caller.launches.passthrough > 0);
    let Some(first) = passed.next() else {
        return String::new();
    };
    let launches = passed.clone().map(|caller| caller.launches.passthrough);
    let launches = launches.fold(first.launches.passthrough, u64::saturating_add);
    let more = match passed.count() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!(
        "note: {} of {} ({}{more}) passed the gate on purpose: `xsched-agent diagnose --pid {1}` says why\n",
        counted(launches, "launch"),
        process.pid,
        first.library
    )
}

/// With what takes precedence over it for a while.
fn class(process: &ProcessRow) -> String {
    match process.hold {
        None => process.class.to_string(),
        Some(row) => {
            let OverrideRow { hold, remaining_ns } = row;
            format!("{} ({}, {remaining_ns})", process.class, hold.name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::api::DropCount;

    #[test]
    fn launches_past_the_gate_on_purpose_are_said_apart() {
        let caller = |library: &str, passthrough| {
            serde_json::json!({
                "library": library, "default_stream": 0,
                "launches": {"gated": 1, "passthrough": passthrough, "bypass": 0}
            })
        };
        let of = |callers: serde_json::Value| {
            let row = serde_json::json!({
                "pid": 7, "start_time": 1, "uid": 0, "command": "x", "arguments": "", "class": "low",
                "shim": "joined", "device": null, "gate": null, "launches": 1, "launches_per_s": 1.0,
                "bypass_ratio": 0.0, "default_stream_ratio": 0.0, "burst": null, "gate_wait": null,
                "guards": null, "in_flight": 0, "kernel_ns": null, "callers": callers
            });
            on_purpose(&serde_json::from_value(row).expect("a row"))
        };
        assert_eq!(of(serde_json::json!([caller("liba.so", 0)])), "");
        let said = of(serde_json::json!([
            caller("librccl.so.1", 40),
            caller("liba.so", 0),
            caller("libb.so", 2)
        ]));
        assert_eq!(
            said,
            "note: 42 launches of 7 (librccl.so.1 and 1 more) passed the gate on purpose: \
             `xsched-agent diagnose --pid 7` says why\n"
        );
    }

    #[test]
    fn a_lost_notice_is_not_said_to_be_a_lost_call() {
        let mut snapshot = Snapshot::default();
        snapshot.agent.drops.by_reason = [Drop::CountsFull, Drop::RingFull]
            .map(|reason| DropCount {
                reason: reason.name().to_owned(),
                count: 3,
                ..DropCount::default()
            })
            .into();
        assert_eq!(
            text(&snapshot),
            "no process uses HIP or CUDA\n\
             3 events dropped (counts_full): counts are too low\n\
             3 events dropped (ring_full): short-lived callers may be unnamed\n"
        );
    }
}
