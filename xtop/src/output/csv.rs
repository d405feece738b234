//! Comma-separated values (RFC 4180): raw numbers, unknown is empty.

use xsched_common::api::{GateState, Latency, ProcessRow, ShimState};

use crate::state::{Row, slo_name};

/// One name per field of [`line`].
pub fn header() -> String {
    let mut header = NAMES.join(",");
    header.push('\n');
    header
}

const NAMES: [&str; 50] = [
    "time_unix_ns",
    "pid",
    "start_time",
    "uid",
    "user",
    "command",
    "arguments",
    "class",
    "shim",
    "device",
    "gate",
    "gate_cap",
    "gate_waiting",
    "gate_reason",
    "launches",
    "launches_per_s",
    "in_flight",
    "kernel_ns",
    "burst_count",
    "burst_p50_ns",
    "burst_p99_ns",
    "burst_max_ns",
    "gate_wait_count",
    "gate_wait_p50_ns",
    "gate_wait_p99_ns",
    "gate_wait_max_ns",
    "bypass_ratio",
    "default_stream_ratio",
    "guard_trickle",
    "guard_stall",
    "guard_lease",
    "parent",
    "cgroup",
    "weight",
    "terms_from",
    "hold",
    "hold_remaining_ns",
    "slo_target_p99_ns",
    "slo_state",
    "slo_reason",
    "busy_ratio",
    "sampling_ratio",
    "split_intervals",
    "kernel_alone",
    "platform",
    "time_slice_ns",
    "time_slice_set_by",
    "namespace",
    "pod",
    "job",
];

/// The process of `row` as seen at `time_unix_ns`.
pub fn line(time_unix_ns: u64, row: &Row) -> String {
    // Exhaustive, so that a new field is thought of here.
    let ProcessRow {
        pid,
        start_time,
        parent,
        cgroup,
        pod,
        job,
        uid,
        command,
        arguments,
        class,
        shim,
        device,
        gate,
        launches,
        launches_per_s,
        bypass_ratio,
        default_stream_ratio,
        burst,
        gate_wait,
        guards,
        in_flight,
        kernel_ns,
        kernel_alone,
        callers: _,
        burst_histogram: _,
        // Unknown where the agent does not say where it comes from.
        weight: _,
        terms_from,
        slo,
        hold,
        busy_ratio,
        apis: _,
        sampling,
        split_intervals,
        platform,
        time_slices: _,
        user: _,
        blame: _,
        groups: _,
        gate_shares: _,
        hardware: _,
    } = &row.process;
    let slice = row.process.time_slice();
    let [burst_count, burst_p50, burst_p99, burst_max] = latency(*burst);
    let [wait_count, wait_p50, wait_p99, wait_max] = latency(*gate_wait);
    let fields: [String; NAMES.len()] = [
        time_unix_ns.to_string(),
        pid.to_string(),
        start_time.to_string(),
        uid.to_string(),
        quoted(&row.user),
        quoted(command),
        quoted(arguments),
        class.to_string(),
        match shim {
            ShimState::Absent => "absent".into(),
            ShimState::Mapped => "mapped".into(),
            ShimState::Joined => "joined".into(),
        },
        device.as_deref().map(quoted).unwrap_or_default(),
        optional(gate.as_ref().map(|gate| match gate.state {
            GateState::Open => "open",
            GateState::Capped => "capped",
            GateState::Closed => "closed",
        })),
        optional(gate.as_ref().and_then(|gate| gate.cap)),
        optional(gate.as_ref().map(|gate| gate.waiting)),
        gate.as_ref()
            .map(|gate| quoted(&gate.reason))
            .unwrap_or_default(),
        launches.to_string(),
        launches_per_s.to_string(),
        optional(*in_flight),
        optional(kernel_ns.map(|time| time.0)),
        burst_count,
        burst_p50,
        burst_p99,
        burst_max,
        wait_count,
        wait_p50,
        wait_p99,
        wait_max,
        optional(*bypass_ratio),
        optional(*default_stream_ratio),
        optional(guards.map(|guards| guards.trickle)),
        optional(guards.map(|guards| guards.stall)),
        optional(guards.map(|guards| guards.lease)),
        optional(*parent),
        cgroup.as_deref().map(quoted).unwrap_or_default(),
        optional(row.weight()),
        quoted(terms_from),
        optional(hold.map(|hold| hold.hold.name())),
        optional(hold.map(|hold| hold.remaining_ns.0)),
        optional(slo.as_ref().map(|slo| slo.target_p99_ns.0)),
        optional(slo.as_ref().map(|slo| slo_name(slo.state))),
        slo.as_ref()
            .map(|slo| quoted(&slo.reason))
            .unwrap_or_default(),
        optional(*busy_ratio),
        optional(*sampling),
        optional(*split_intervals),
        optional(*kernel_alone),
        optional(platform.map(|platform| platform.name())),
        optional(slice.map(|slice| slice.slice_ns.0)),
        optional(slice.map(|slice| slice.set_by.name())),
        pod.as_ref()
            .and_then(|pod| pod.namespace.as_deref())
            .map(quoted)
            .unwrap_or_default(),
        // Its uid while nobody has named it.
        pod.as_ref()
            .map(|pod| quoted(pod.name.as_deref().unwrap_or(&pod.uid)))
            .unwrap_or_default(),
        optional(job.as_ref().map(|job| job.id)),
    ];
    let mut line = fields.join(",");
    line.push('\n');
    line
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Count and percentiles; percentiles of nothing are unknown.
fn latency(latency: Option<Latency>) -> [String; 4] {
    let some = latency.filter(|latency| latency.count > 0);
    [
        optional(latency.map(|l| l.count)),
        optional(some.map(|l| l.p50_ns.0)),
        optional(some.map(|l| l.p99_ns.0)),
        optional(some.map(|l| l.max_ns.0)),
    ]
}

/// Control characters are escaped before quoting, so that one process is
/// always one line and no name can drive a terminal.
fn quoted(text: &str) -> String {
    let text = crate::text::clean(text);
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_lines_or_fields() {
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(quoted("a\nb"), "a^Jb");
    }
}
