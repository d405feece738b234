//! The busiest processes, one by one, and the rest as one.
//!
//! Gauges only: a process that comes and goes among the busiest would make
//! counters with holes. The classes' counters have everything.

use std::fmt;

use xsched_common::api::{
    BlameCause, GateState, Latency, ProcessRow, ShimState, SloState, Snapshot,
};
use xsched_common::platform::Platform;
use xsched_common::units::Nanos;
use xsched_host::cgroup;

use super::families::{Families, In, Label};

/// A process's series.
struct Series<'a> {
    pid: String,
    command: String,
    user: String,
    unit: &'a str,
    row: Option<&'a ProcessRow>,
    launches_per_s: f64,
    in_flight: Option<f64>,
    busy: Option<f64>,
}

impl Series<'_> {
    fn labels(&self) -> Vec<Label<'_>> {
        let class = self.row.map_or("", |row| row.class.name());
        let platform = self.row.and_then(|row| row.platform);
        vec![
            ("pid", &self.pid),
            ("command", &self.command),
            ("user", &self.user),
            ("unit", self.unit),
            (
                "device",
                self.row
                    .and_then(|row| row.device.as_deref())
                    .unwrap_or_default(),
            ),
            ("class", class),
            ("platform", platform.map_or("", Platform::name)),
        ]
    }
}

pub(super) fn collect(snapshot: &Snapshot, most: usize, to: &mut Families<'_>) -> fmt::Result {
    let series = series(snapshot, most);
    let of =
        |pick: fn(&ProcessRow) -> Option<f64>| move |series: &Series<'_>| series.row.and_then(pick);
    to.gauges(
        "process_launches_per_second",
        "Launches per second over the last 5 s.",
        In::Number,
        &series,
        |s| Some(s.launches_per_s),
        Series::labels,
    )?;
    to.gauges(
        "process_in_flight",
        "Gated commands in flight.",
        In::Number,
        &series,
        |s| s.in_flight,
        Series::labels,
    )?;
    to.gauges(
        "process_busy",
        "Estimated share of its device's time over the last 5 s.",
        In::Ratio,
        &series,
        |s| s.busy,
        Series::labels,
    )?;
    to.gauges(
        "process_bypass",
        "Share of its launches over the last 5 s that never reached the shim: they escape scheduling.",
        In::Ratio,
        &series,
        of(|row| row.bypass_ratio),
        Series::labels,
    )?;
    to.gauges(
        "process_default_stream",
        "Share of its launches over the last 5 s on the default stream.",
        In::Ratio,
        &series,
        of(|row| row.default_stream_ratio),
        Series::labels,
    )?;
    to.gauges(
        "process_burst_p50",
        "Median of its bursts over the last 5 s.",
        In::Seconds,
        &series,
        of(|row| quantile(row.burst, |l| l.p50_ns.as_secs_f64())),
        Series::labels,
    )?;
    to.gauges(
        "process_burst_p99",
        "99th percentile of its bursts over the last 5 s.",
        In::Seconds,
        &series,
        of(|row| quantile(row.burst, |l| l.p99_ns.as_secs_f64())),
        Series::labels,
    )?;
    to.gauges(
        "process_gate_wait_p99",
        "99th percentile of its waits at the gate over the last 5 s.",
        In::Seconds,
        &series,
        of(|row| quantile(row.gate_wait, |l| l.p99_ns.as_secs_f64())),
        Series::labels,
    )?;
    to.gauges(
        "process_time_slice",
        "The hardware's time slice of its work on the device that it uses most.",
        In::Seconds,
        &series,
        of(|row| row.time_slice().map(|slice| slice.slice_ns.as_secs_f64())),
        Series::labels,
    )?;
    to.gauges(
        "process_gate_closed",
        "Whether its gate is closed (1), capped (0.5) or open (0).",
        In::Number,
        &series,
        of(|row| {
            row.gate.as_ref().map(|gate| match gate.state {
                GateState::Open => 0.0,
                GateState::Capped => 0.5,
                GateState::Closed => 1.0,
            })
        }),
        Series::labels,
    )?;
    to.gauges(
        "process_joined",
        "Whether it is scheduled (1) or runs without the shim (0).",
        In::Number,
        &series,
        of(|row| Some(f64::from(u8::from(row.shim == ShimState::Joined)))),
        Series::labels,
    )?;
    to.gauges(
        "process_slo_target",
        "The 99th percentile of its bursts that it is to reach.",
        In::Seconds,
        &series,
        of(|row| Some(row.slo.as_ref()?.target_p99_ns.as_secs_f64())),
        Series::labels,
    )?;
    to.gauges(
        "process_slo_met",
        "Whether its target is met (1) or not (0); without series while that is unknown.",
        In::Number,
        &series,
        of(|row| match row.slo.as_ref()?.state {
            SloState::Unknown => None,
            SloState::Met => Some(1.0),
            SloState::Adapting | SloState::Impossible => Some(0.0),
        }),
        Series::labels,
    )?;
    lost(&series, to)
}

/// What slow bursts lost, by cause.
fn lost(series: &[Series<'_>], to: &mut Families<'_>) -> fmt::Result {
    const UNEXPLAINED: &str = "unexplained";
    let blamed = series
        .iter()
        .filter_map(|s| Some((s, s.row?.blame.as_ref()?)));
    let of_causes = blamed.flat_map(|(series, blame)| {
        let of = move |cause: BlameCause| {
            let parts = blame.parts.iter().filter(move |part| part.cause == cause);
            (
                series,
                cause.name(),
                blame,
                Nanos(parts.map(|part| part.time_ns.0).sum()),
            )
        };
        let rest = (series, UNEXPLAINED, blame, blame.unexplained_ns);
        BlameCause::ALL.into_iter().map(of).chain([rest])
    });
    let items: Vec<_> = of_causes.filter(|(.., time)| *time > Nanos::ZERO).collect();
    to.gauges(
        "process_slow_loss",
        "Time that its slow bursts lost in the last 5 s, over that time, by cause.",
        In::Ratio,
        &items,
        |(_, _, blame, time)| Some(time.0 as f64 / blame.over_ns.0.max(1) as f64),
        |(series, cause, ..)| {
            let mut labels = series.labels();
            labels.push(("cause", cause));
            labels
        },
    )
}

/// The kernel keeps 15 bytes of a command's name; the arguments have all.
fn command(row: &ProcessRow) -> String {
    const KEPT: usize = 15;
    let cut = row.command.len() >= KEPT;
    let words = row.arguments.split(' ').take(2);
    let mut names = words.map(|word| word.rsplit('/').next().unwrap_or(word));
    let whole = names.find(|name| cut && name.starts_with(&row.command));
    whole.unwrap_or(&row.command).to_owned()
}

/// The container that it runs in, or the systemd unit.
fn unit(row: &ProcessRow) -> &str {
    let path = row.cgroup.as_deref().unwrap_or_default();
    let container = cgroup::container(path).map(|id| id.get(..12).unwrap_or(id));
    container
        .or_else(|| cgroup::units(path).next())
        .unwrap_or_default()
}

fn quantile(latency: Option<Latency>, pick: fn(Latency) -> f64) -> Option<f64> {
    latency.filter(|l| l.count > 0).map(pick)
}

/// Processes with a target first, then by launches.
fn series(snapshot: &Snapshot, most: usize) -> Vec<Series<'_>> {
    let mut rows: Vec<&ProcessRow> = snapshot.processes.iter().collect();
    rows.sort_by(|a, b| {
        let rank = |row: &ProcessRow| (row.slo.is_some(), row.launches_per_s);
        let ((a_slo, a_rate), (b_slo, b_rate)) = (rank(a), rank(b));
        b_slo
            .cmp(&a_slo)
            .then(b_rate.total_cmp(&a_rate))
            .then(a.pid.cmp(&b.pid))
    });
    let (shown, rest) = rows.split_at(most.min(rows.len()));
    let mut series: Vec<Series<'_>> = shown
        .iter()
        .map(|row| Series {
            pid: row.pid.to_string(),
            command: command(row),
            user: row.user.clone().unwrap_or_else(|| row.uid.to_string()),
            unit: unit(row),
            row: Some(*row),
            launches_per_s: row.launches_per_s,
            in_flight: row.in_flight.map(f64::from),
            busy: row.busy_ratio,
        })
        .collect();
    if !rest.is_empty() {
        let sum = |pick: fn(&ProcessRow) -> Option<f64>| {
            rest.iter().filter_map(|row| pick(row)).reduce(|a, b| a + b)
        };
        series.push(Series {
            pid: String::new(),
            command: "(others)".to_owned(),
            user: String::new(),
            unit: "",
            row: None,
            launches_per_s: rest.iter().map(|row| row.launches_per_s).sum(),
            in_flight: sum(|row| row.in_flight.map(f64::from)),
            busy: sum(|row| row.busy_ratio),
        });
    }
    series
}
