//! From the model to the rows that users see.

use std::sync::atomic::Ordering::Relaxed;

use xsched_common::api::{
    ApiRow, BpfState, CallerRow, GateRow, GateState, Guards, Latency, LatencyBucket, OverrideRow,
    ProcessRow, RouteLaunches, Sampling, ShimState,
};
use xsched_common::gate::{GateMode, GateWord, Guard};
use xsched_common::page::{HistogramCounts, bucket_bounds};
use xsched_common::platform::{ENTRY_POINTS, Platform, entry};
use xsched_common::units::{DeviceIndex, Nanos};
use xsched_policy::{Override, Reason, SchedAttr};

use super::Clients;
use super::devices::busy_ratio;
use super::observation::Bypass;
use super::process::Process;
use crate::attr::Standing;
use crate::control::{ClientShared, DeviceKey};

pub(super) fn process_row(
    process: &Process,
    standing: Option<Standing>,
    now: Nanos,
    bpf: &BpfState,
    sampling: Sampling,
    clients: &Clients,
) -> ProcessRow {
    let client = process.client.as_deref();
    let attr = match (client, &standing) {
        (Some(client), _) => client.attr(),
        (None, Some(standing)) => standing.attr,
        (None, None) => SchedAttr::default(),
    };
    let hold = match client {
        Some(client) => client.hold(now),
        None => Override::in_force(standing.as_ref().and_then(|standing| standing.hold), now),
    };
    let device = client.and_then(busiest_device);
    let kernel = client
        .zip(device)
        .and_then(|(client, (_, device))| kernel_time(client, device));
    let change = process.window.change();
    let launches = change.as_ref().map_or(0, |c| c.of(|t| t.launches));
    let share = |part: u64| (launches > 0).then(|| part as f64 / launches as f64);
    let bypass_ratio = match client {
        None => share(launches),
        // Without probes nobody knows what went past the shim.
        Some(_) if !bpf.available || process.bypass == Bypass::Unknown => None,
        Some(_) => change.as_ref().and_then(|c| share(c.of(|t| t.bypass))),
    };
    let counted = change.as_ref().and_then(|c| c.counted.as_deref());
    let latency = |pick: fn(&super::window::Totals) -> &HistogramCounts| {
        counted.map_or_else(Latency::default, |totals| latency(pick(totals)))
    };
    // Without the shim only bursts that were seen are known, so none seen is
    // none known.
    let burst = latency(|t| &t.bursts);
    ProcessRow {
        pid: process.id.pid,
        start_time: process.id.start_time,
        platform: platform(process),
        parent: process.parent,
        cgroup: process.cgroup.clone(),
        pod: None,
        job: None,
        uid: process.uid,
        user: None,
        command: process.command.clone(),
        arguments: process.arguments.clone(),
        class: attr.class,
        weight: attr.weight,
        terms_from: standing.map_or_else(String::new, |standing| standing.from.to_string()),
        slo: None,
        blame: None,
        hold: hold.map(|hold| OverrideRow {
            hold: hold.kind,
            remaining_ns: hold.until.since(now),
        }),
        shim: match (client, process.shim_mapped) {
            (Some(_), _) => ShimState::Joined,
            (None, true) => ShimState::Mapped,
            (None, false) => ShimState::Absent,
        },
        device: device.map(|(key, _)| key.to_string()),
        gate: client
            .zip(device)
            .map(|(client, (_, device))| gate_row(client, device, clients)),
        gate_shares: process.gates.shares(),
        hardware: None,
        launches: process.launches(),
        launches_per_s: change
            .as_ref()
            .map_or(0.0, |c| launches as f64 / c.over.as_secs_f64()),
        bypass_ratio,
        default_stream_ratio: change
            .as_ref()
            .and_then(|c| share(c.of(|t| t.default_stream))),
        burst: (client.is_some() || burst.count > 0).then_some(burst),
        burst_histogram: counted.map_or_else(Vec::new, |totals| buckets(&totals.bursts)),
        gate_wait: client.map(|_| latency(|t| &t.gate_waits)),
        guards: client.map(guards),
        split_intervals: client.map(|client| client.status.split_intervals.load(Relaxed)),
        in_flight: client.zip(device).map(|(client, (_, device))| {
            client.status.devices[device.0 as usize]
                .in_flight
                .load(Relaxed)
        }),
        kernel_ns: kernel.map(|(time, _)| time),
        kernel_alone: kernel.map(|(_, alone)| alone),
        busy_ratio: device
            .zip(change.as_ref())
            .map(|((_, device), change)| busy_ratio(change, device)),
        callers: caller_rows(process),
        apis: api_rows(process),
        sampling: (client.is_none() && bpf.available).then_some(sampling.factor),
        time_slices: Vec::new(),
        groups: process.groups.rows(clients),
    }
}

/// Of a client that of its shim; else that of the most of its calls, and before
/// it has made any that of what it maps.
fn platform(process: &Process) -> Option<Platform> {
    if let Some(client) = &process.client {
        return Some(Platform::from_raw(client.status.platform.load(Relaxed)));
    }
    let calls = |platform: &Platform| -> u64 {
        let counts = process.apis.iter();
        let its = counts.filter(|count| entry(count.api).is_some_and(|e| e.platform == *platform));
        its.map(|count| count.total).fold(0, u64::saturating_add)
    };
    // Of equals the first.
    let called = Platform::ALL.into_iter().rev().max_by_key(calls);
    called
        .filter(|platform| calls(platform) > 0)
        .or(process.platform)
}

/// T, and whether it is what the client showed while alone: beside others it
/// is stretched, and then what it was alone is better known.
fn kernel_time(client: &ClientShared, device: DeviceIndex) -> Option<(Nanos, bool)> {
    let said = client.status.kernel_time(device)?;
    Some(match client.kernel_alone(device) {
        Some(alone) => (said.min(alone), true),
        None => (said, false),
    })
}

/// Functions that are told of one process.
const MAX_APIS: usize = 64;

/// A joined process's calls are not traced but for checks.
fn api_rows(process: &Process) -> Vec<ApiRow> {
    if process.client.is_some() {
        return Vec::new();
    }
    let mut rows: Vec<ApiRow> = process
        .apis
        .iter()
        .filter(|count| count.total > 0)
        .map(|count| ApiRow {
            api: ENTRY_POINTS[usize::from(count.api)].symbol.to_owned(),
            stream: count.stream,
            calls: count.total,
        })
        .collect();
    rows.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.api.cmp(&b.api)));
    rows.truncate(MAX_APIS);
    rows
}

fn caller_rows(process: &Process) -> Vec<CallerRow> {
    let mut rows: Vec<CallerRow> = process
        .callers
        .iter()
        .map(|(library, caller)| CallerRow {
            library: library.clone(),
            launches: RouteLaunches {
                gated: caller.page.gated,
                passthrough: caller.page.passthrough,
                bypass: caller.direct,
            },
            default_stream: caller.default_stream(),
        })
        .collect();
    rows.sort_by_key(|row| {
        let RouteLaunches {
            gated,
            passthrough,
            bypass,
        } = row.launches;
        std::cmp::Reverse(gated.saturating_add(passthrough).saturating_add(bypass))
    });
    rows
}

pub(super) fn latency(counts: &HistogramCounts) -> Latency {
    Latency {
        count: counts.total(),
        p50_ns: counts.quantile(0.5).unwrap_or_default(),
        p99_ns: counts.quantile(0.99).unwrap_or_default(),
        max_ns: counts.max().unwrap_or_default(),
    }
}

/// Buckets of the histogram that share a row: four rows to a power of two,
/// which is as fine as a screen can show.
const BUCKETS_PER_ROW: usize = 4;

fn buckets(counts: &HistogramCounts) -> Vec<LatencyBucket> {
    let rows = counts.0.chunks(BUCKETS_PER_ROW).enumerate();
    rows.map(|(index, counts)| LatencyBucket {
        from_ns: bucket_bounds(index * BUCKETS_PER_ROW).0,
        count: counts.iter().map(|&n| u64::from(n)).sum(),
    })
    .filter(|bucket| bucket.count > 0)
    .collect()
}

/// The device that a client has launched on most.
pub(super) fn busiest_device(client: &ClientShared) -> Option<(DeviceKey, DeviceIndex)> {
    client
        .status
        .devices()
        .max_by_key(|(index, status)| (status.admitted.load(Relaxed), std::cmp::Reverse(*index)))
        .map(|(index, _)| (DeviceKey::of(index, &client.status), index))
}

pub(super) fn guards(client: &ClientShared) -> Guards {
    let count = |guard: Guard| client.status.guards[guard as usize].load(Relaxed);
    Guards {
        trickle: count(Guard::Trickle),
        stall: count(Guard::Stall),
        lease: count(Guard::Lease),
    }
}

pub(super) fn gate_row(client: &ClientShared, device: DeviceIndex, clients: &Clients) -> GateRow {
    let control = &client.control.devices[device.0 as usize];
    let mode = GateWord(control.word.load(Relaxed)).mode();
    let reason = match client.reason(device) {
        Reason::Unrivalled => "no higher class on this device".to_owned(),
        Reason::RivalIdle => "a higher class is on this device but idle".to_owned(),
        Reason::HeldBy(id) => match clients.get(&id) {
            Some(holder) => format!("{} (pid {}) has work", holder.class(), holder.process),
            None => "a higher class that has just left had work".to_owned(),
        },
        Reason::RivalStuck(id) => match clients.get(&id) {
            Some(rival) => format!(
                "{} (pid {}) says that it has work but makes no progress: not waited for",
                rival.class(),
                rival.process
            ),
            None => "a higher class is on this device but idle".to_owned(),
        },
        Reason::RivalAssumedIdle(id) => match clients.get(&id) {
            Some(rival) => format!(
                "{} (pid {}) is assumed to be idle: nothing tells when its work is complete",
                rival.class(),
                rival.process
            ),
            None => "a higher class is on this device but idle".to_owned(),
        },
        Reason::Turn => "has its turn in its class".to_owned(),
        Reason::WaitsFor(id) => match clients.get(&id) {
            Some(peer) => format!("pid {} of its class has its turn", peer.process),
            None => "another of its class had its turn".to_owned(),
        },
        Reason::MinShare => "gets the minimum share of its class".to_owned(),
        Reason::Suspended => "suspended".to_owned(),
        Reason::Off => "this device is not shared by rules (mode off)".to_owned(),
    };
    GateRow {
        state: match mode {
            GateMode::Open | GateMode::Watched => GateState::Open,
            GateMode::Capped(_) => GateState::Capped,
            GateMode::Closed => GateState::Closed,
        },
        cap: match mode {
            GateMode::Capped(cap) => Some(cap),
            GateMode::Open | GateMode::Watched | GateMode::Closed => None,
        },
        reason,
        waiting: client.status.devices[device.0 as usize]
            .waiting
            .load(Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::page::Histogram;
    use xsched_common::units::Nanos;

    #[test]
    fn latencies_come_from_the_window() {
        let hist = Histogram::new();
        for ms in 1..=100 {
            hist.record(Nanos::from_millis(ms));
        }
        let got = latency(&hist.counts());
        assert_eq!(got.count, 100);
        assert!((48..=53).contains(&(got.p50_ns.0 / 1_000_000)), "{got:?}");
        assert!((95..=103).contains(&(got.p99_ns.0 / 1_000_000)), "{got:?}");
        assert!(got.max_ns >= got.p99_ns);
    }

    #[test]
    fn histograms_leave_nothing_out() {
        let hist = Histogram::new();
        for ms in [0, 1, 1, 100, 1 << 40] {
            hist.record(Nanos::from_millis(ms));
        }
        let rows = buckets(&hist.counts());
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 5);
        assert_eq!(rows[1].count, 2);
        assert!(rows[1].from_ns <= Nanos::from_millis(1) && rows[1].from_ns.0 > 700_000);
        assert!(rows.is_sorted_by_key(|row| row.from_ns));
    }
}
