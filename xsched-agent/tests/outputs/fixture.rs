//! A snapshot in which nothing is missing.

use std::collections::BTreeMap;

use xsched_common::api::{
    AgentInfo, AgentWarning, ApiRow, BlameCause, BlamePart, BlameRow, BlameSource, BpfState,
    CallerRow, ClassRow, DeviceRow, DropCount, Drops, EventKind, EventRow, GateRow, GateShares,
    GateState, GroupOrigin, GroupRow, Guards, HardwareRow, JobRow, Latency, LatencyBucket,
    Override, OverrideRow, PodRow, ProcessRow, RouteLaunches, Sampling, Severity, SharingMode,
    ShimState, SliceSetter, SloRow, SloState, Snapshot, TimeSliceRow, TimeSlicing, UnscheduledRow,
};
use xsched_common::platform::Platform;
use xsched_common::units::{Class, Nanos, StreamClass, Weight};

/// Every field has a value.
pub fn snapshot() -> Snapshot {
    let event = |number, kind| EventRow {
        number,
        time_unix_ns: 1_780_000_000_000_000_000,
        pid: Some(42),
        actor: Some("uid 0 (pid 1)".into()),
        kind,
        text: "it happened".into(),
    };
    let unscheduled = UnscheduledRow {
        processes: 1,
        of_unknown_device: 0,
        pids: vec![43],
        launches_per_s: 430.0,
        launch_ratio: Some(0.5),
        busy_ratio: Some(0.22),
    };
    Snapshot {
        api_version: xsched_common::api::API_VERSION,
        time_unix_ns: 1_780_000_000_000_000_000,
        window_ns: Nanos::from_secs(5),
        agent: AgentInfo {
            pid: 1,
            version: "1.2.3".into(),
            control: xsched_common::api::ControlInfo {
                beat_late_max_ns: Some(Nanos::from_micros(80)),
                ..Default::default()
            },
            abi: "1.1".into(),
            uptime_ns: Nanos::from_secs(60),
            bpf: BpfState {
                available: true,
                reason: Some("none".into()),
                images: 1,
                probes: 60,
                events: 1_000,
            },
            drops: Drops {
                total: 3,
                by_reason: vec![DropCount {
                    reason: "ring_full".into(),
                    count: 3,
                    by_cpu: BTreeMap::from([(0, 3)]),
                }],
            },
            sampling: Sampling {
                factor: 0.25,
                budget: Some(0.01),
                cost: Some(0.0075),
            },
            limits: vec!["one".into()],
            warnings: vec![AgentWarning {
                code: "heartbeats_late".into(),
                text: "late".into(),
            }],
            time_slicing: TimeSlicing {
                driver: Some("580.1".into()),
                reason: None,
                changes: 2,
                failures: 1,
            },
        },
        devices: vec![DeviceRow {
            address: "0000:03:00.0".into(),
            platform: Platform::default(),
            mode: SharingMode::Slo,
            knobs: BTreeMap::from([("budget_ns".into(), 500_000)]),
            top_active: Some(Class::High),
            clients: 2,
            busy_ratio: Some(0.75),
            classes: vec![ClassRow {
                class: Class::High,
                clients: 2,
                active: 1,
                open: 1,
                capped: 1,
                closed: 0,
                busy_ratio: Some(0.5),
            }],
            hardware: Some(HardwareRow {
                name: Some("Instinct MI300X".into()),
                utilization: Some(0.97),
                memory_bytes: Some(192 << 30),
                memory_used_bytes: Some(24 << 30),
                clock_hz: Some(2_100_000_000),
                power_w: Some(612.5),
                temperature_c: Some(61.0),
                queues: Some(24),
                queues_used: Some(6),
            }),
            unscheduled: Some(unscheduled.clone()),
        }],
        processes: vec![process(42, "serve"), process(43, "evil\"} 1\n\\")],
        events: vec![
            event(1, EventKind::Joined),
            event(2, EventKind::Finding(Severity::Warning)),
        ],
        unscheduled: Some(unscheduled),
    }
}

/// A busy process.
pub fn process(pid: u32, command: &str) -> ProcessRow {
    let latency = Some(Latency {
        count: 9,
        p50_ns: Nanos::from_millis(1),
        p99_ns: Nanos::from_millis(3),
        max_ns: Nanos::from_millis(4),
    });
    ProcessRow {
        pid,
        start_time: 7,
        platform: Some(Platform::default()),
        parent: Some(1),
        cgroup: Some("/system.slice/serve.service".into()),
        pod: Some(PodRow {
            uid: "7d1b53a2-9d8f-4a0c-8c5e-6a5f0b7e2c11".into(),
            namespace: Some("web".into()),
            name: Some("api-0".into()),
            container: Some("4f1a2b3c4d5e".into()),
        }),
        job: Some(JobRow {
            id: 7,
            step: Some("0".into()),
            partition: Some("gpu".into()),
            qos: Some("high".into()),
            account: Some("ml".into()),
        }),
        uid: 1000,
        user: Some("ada".into()),
        command: command.into(),
        arguments: "python serve.py".into(),
        class: Class::High,
        weight: Weight::default(),
        terms_from: "default".into(),
        slo: Some(SloRow {
            target_p99_ns: Nanos::from_millis(5),
            state: SloState::Met,
            reason: "it is".into(),
        }),
        blame: Some(BlameRow {
            over_ns: Nanos::from_secs(5),
            bursts: 9,
            slow: 2,
            limit_ns: Some(Nanos::from_millis(2)),
            slow_mean_ns: Some(Nanos::from_millis(3)),
            own_ns: Some(Nanos::from_millis(1)),
            loss_ns: Nanos::from_millis(4),
            parts: vec![BlamePart {
                cause: BlameCause::PastGate,
                pid: Some(43),
                time_ns: Nanos::from_millis(3),
                at_most_ns: Nanos::from_millis(4),
                known: BlameSource::Remainder,
                launches_per_s: Some(430.0),
                in_flight: None,
                kernel_ns: None,
            }],
            unexplained_ns: Nanos::from_millis(1),
            summary: "past the gate 75%".into(),
        }),
        hold: Some(OverrideRow {
            hold: Override::Boosted,
            remaining_ns: Nanos::from_secs(1),
        }),
        shim: ShimState::Joined,
        device: Some("0000:03:00.0".into()),
        gate: Some(GateRow {
            state: GateState::Capped,
            cap: Some(8),
            reason: "a rival".into(),
            waiting: 1,
        }),
        gate_shares: Some(GateShares {
            open_ratio: 0.5,
            capped_ratio: 0.25,
            closed_ratio: 0.25,
        }),
        hardware: None,
        launches: 1_000,
        launches_per_s: f64::from(pid) * 10.0,
        bypass_ratio: Some(0.1),
        default_stream_ratio: Some(0.2),
        burst: latency,
        burst_histogram: vec![LatencyBucket {
            from_ns: Nanos::from_millis(1),
            count: 9,
        }],
        gate_wait: latency,
        guards: Some(Guards::default()),
        split_intervals: None,
        in_flight: Some(3),
        kernel_ns: Some(Nanos::from_micros(50)),
        time_slices: vec![TimeSliceRow {
            device: "0000:03:00.0".into(),
            slice_ns: Nanos::from_millis(100),
            set_by: SliceSetter::Class,
            reason: "only lower classes are here".into(),
        }],
        groups: vec![GroupRow {
            class: Class::Low,
            wish: Class::Low,
            origin: GroupOrigin::Rule,
            device: Some("0000:03:00.0".into()),
            gate: None,
            commands: 7,
            burst: None,
            gate_wait: None,
            guards: Guards::default(),
            in_flight: Some(1),
            kernel_ns: Some(Nanos(60_000)),
            busy_ratio: Some(0.25),
        }],
        kernel_alone: Some(true),
        busy_ratio: Some(0.5),
        callers: vec![CallerRow {
            library: "libtorch_hip.so".into(),
            launches: RouteLaunches::default(),
            default_stream: 1,
        }],
        apis: vec![ApiRow {
            api: "hipLaunchKernel".into(),
            stream: StreamClass::Null,
            calls: 5,
        }],
        sampling: Some(0.25),
    }
}
