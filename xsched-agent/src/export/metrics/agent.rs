//! The agent and the honesty of its numbers.

use std::fmt;

use xsched_common::api::EventKind;
use xsched_common::bpf::Drop;

use super::Scrape;
use super::families::{Families, In};

pub(super) fn collect(scrape: &Scrape, to: &mut Families<'_>) -> fmt::Result {
    let Scrape {
        snapshot,
        sums,
        control,
        processes: _,
        workloads: _,
    } = scrape;
    let agent = &snapshot.agent;
    let version = [agent.version.as_str()];
    to.gauges(
        "build_info",
        "The agent's version; always 1.",
        In::Number,
        &version,
        |_| Some(1.0),
        |version| vec![("version", *version)],
    )?;
    let started = snapshot.time_unix_ns.saturating_sub(agent.uptime_ns.0);
    to.gauge(
        "agent_start_time",
        "When the agent started, since 1970.",
        In::Seconds,
        started as f64 / 1e9,
    )?;
    to.gauge(
        "snapshot_time",
        "When the agent last looked at all processes, since 1970.",
        In::Seconds,
        snapshot.time_unix_ns as f64 / 1e9,
    )?;
    to.histograms(
        "model_tick_duration",
        "How long a look at all processes took.",
        std::slice::from_ref(&sums.ticks),
        |ticks| ticks,
        |_| Vec::new(),
    )?;
    to.histograms(
        "control_heartbeat_delay",
        "How late the heartbeats to the clients were; 250 ms without one set them free.",
        std::slice::from_ref(&control.beats_late),
        |late| late,
        |_| Vec::new(),
    )?;
    to.histograms(
        "control_round_duration",
        "From an event to having decided and written the gates.",
        std::slice::from_ref(&control.rounds),
        |took| took,
        |_| Vec::new(),
    )?;
    to.gauge(
        "control_clients",
        "Clients that have joined.",
        In::Number,
        control.clients as f64,
    )?;
    to.counter(
        "control_joins_refused",
        "Joins refused for want of a place, or because they came too often.",
        In::Number,
        control.joins_refused as f64,
    )?;
    to.counter(
        "control_bells_muted",
        "Times that a doorbell was not listened to for a while, because it rang too often.",
        In::Number,
        control.bells_muted as f64,
    )?;
    if snapshot.agent.time_slicing.driver.is_some() {
        let slicing = &snapshot.agent.time_slicing;
        to.counter(
            "time_slices_set",
            "Times that a process's time slice was set.",
            In::Number,
            slicing.changes as f64,
        )?;
        to.counter(
            "time_slices_failed",
            "Times that setting a time slice failed.",
            In::Number,
            slicing.failures as f64,
        )?;
    }
    let flag = |is: bool| if is { 1.0 } else { 0.0 };
    if let Some(late) = agent.control.beat_late_max_ns {
        to.gauge(
            "control_heartbeat_late_max",
            "The latest heartbeat of the last 5 s, come or not.",
            In::Seconds,
            late.as_secs_f64(),
        )?;
    }
    to.gauge(
        "observer_up",
        "Whether probes can be set (1); without, only processes under the shim are seen.",
        In::Number,
        flag(agent.bpf.available),
    )?;
    to.gauge(
        "observer_probes",
        "Probes in place.",
        In::Number,
        f64::from(agent.bpf.probes),
    )?;
    to.gauge(
        "observer_images",
        "Files of GPU runtimes that carry probes.",
        In::Number,
        f64::from(agent.bpf.images),
    )?;
    to.gauge(
        "observer_sampling",
        "Share of the time that probes are in place; counts of calls are divided by it.",
        In::Ratio,
        agent.sampling.factor,
    )?;
    if let Some(budget) = agent.sampling.budget {
        to.gauge(
            "observer_budget",
            "Share of the busiest process's time that probes may cost it (--overhead-budget).",
            In::Ratio,
            budget,
        )?;
    }
    if let Some(cost) = agent.sampling.cost {
        to.gauge(
            "observer_cost",
            "Share of its time that probes cost the busiest process of late: calls counted, times what one costs.",
            In::Ratio,
            cost,
        )?;
    }
    to.counter(
        "observer_calls",
        "Calls that the probes counted.",
        In::Number,
        agent.bpf.events as f64,
    )?;
    to.counters(
        "observer_dropped_events",
        "Events that the kernel could not count, by reason.",
        In::Number,
        &Drop::ALL,
        |reason| {
            let of = agent.drops.by_reason.iter();
            of.filter(|drop| drop.reason == reason.name())
                .map(|drop| drop.count as f64)
                .sum()
        },
        |reason| vec![("reason", reason.name())],
    )?;
    to.gauge(
        "limits",
        "Things that the agent cannot do or see on this machine (xsched-agent check).",
        In::Number,
        agent.limits.len() as f64,
    )?;
    let kinds: Vec<(&str, u64)> = EventKind::NAMES
        .into_iter()
        .zip(sums.events.by_kind)
        .collect();
    to.counters(
        "events",
        "Events by kind (xsched-agent events).",
        In::Number,
        &kinds,
        |(_, count)| *count as f64,
        |(kind, _)| vec![("kind", *kind)],
    )?;
    to.counter(
        "events_lost",
        "Events that came too fast to be noted.",
        In::Number,
        sums.events.lost as f64,
    )
}
