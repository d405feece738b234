//! Snapshots for tests.

use xsched_common::api::*;
use xsched_common::units::{Class, Nanos, Weight};

use crate::state::{Row, Users};

/// A process without the shim, seen by eBPF.
pub fn process(pid: u32, command: &str) -> ProcessRow {
    ProcessRow {
        pid,
        start_time: u64::from(pid) * 10,
        parent: None,
        cgroup: Some("/user.slice/user-1000.slice/session-3.scope".into()),
        uid: 1000,
        command: command.into(),
        arguments: format!("/usr/bin/{command} train.py"),
        class: Class::Normal,
        weight: Weight::default(),
        terms_from: "default".into(),
        slo: None,
        hold: None,
        shim: ShimState::Absent,
        device: None,
        gate: None,
        launches: 90_000,
        launches_per_s: 812.5,
        bypass_ratio: Some(1.0),
        default_stream_ratio: Some(0.25),
        burst: None,
        burst_histogram: Vec::new(),
        gate_wait: None,
        guards: None,
        in_flight: None,
        kernel_ns: None,
        busy_ratio: None,
        apis: Vec::new(),
        callers: vec![CallerRow {
            library: "libtorch_hip.so".into(),
            launches: RouteLaunches {
                gated: 0,
                passthrough: 0,
                bypass: 90_000,
            },
            default_stream: 22_500,
        }],
    }
}

fn latency(count: u64, p50_us: u64, p99_us: u64) -> Option<Latency> {
    Some(Latency {
        count,
        p50_ns: Nanos::from_micros(p50_us),
        p99_ns: Nanos::from_micros(p99_us),
        max_ns: Nanos::from_micros(p99_us * 2),
    })
}

/// Buckets from so many us on.
fn histogram(buckets: &[(u64, u64)]) -> Vec<LatencyBucket> {
    let bucket = |&(from_us, count)| LatencyBucket {
        from_ns: Nanos(from_us << 10),
        count,
    };
    buckets.iter().map(bucket).collect()
}

/// A joined process of class high.
pub fn service_process() -> ProcessRow {
    ProcessRow {
        uid: 33,
        cgroup: Some("/system.slice/serve.service".into()),
        arguments: "/usr/bin/python3 serve.py --model resnet18".into(),
        class: Class::High,
        shim: ShimState::Joined,
        device: Some("0000:03:00.0".into()),
        gate: Some(GateRow {
            state: GateState::Open,
            cap: None,
            reason: "highest active class".into(),
            waiting: 0,
        }),
        launches: 48_200,
        launches_per_s: 1_240.0,
        bypass_ratio: Some(0.0),
        default_stream_ratio: Some(0.031),
        burst: latency(200, 2_010, 3_210),
        burst_histogram: histogram(&[(1_792, 40), (2_048, 110), (2_560, 45), (3_072, 5)]),
        gate_wait: latency(0, 0, 0),
        guards: Some(Guards::default()),
        in_flight: Some(3),
        kernel_ns: Some(Nanos::from_micros(85)),
        callers: vec![
            CallerRow {
                library: "libtorch_hip.so".into(),
                launches: RouteLaunches {
                    gated: 40_000,
                    passthrough: 0,
                    bypass: 0,
                },
                default_stream: 1_494,
            },
            CallerRow {
                library: "libMIOpen.so.1".into(),
                launches: RouteLaunches {
                    gated: 8_000,
                    passthrough: 200,
                    bypass: 0,
                },
                default_stream: 0,
            },
        ],
        ..process(4242, "python3")
    }
}

/// A joined process of class low whose gate is capped.
pub fn batch_process() -> ProcessRow {
    ProcessRow {
        class: Class::Low,
        arguments: "/usr/bin/batch --forever".into(),
        gate: Some(GateRow {
            state: GateState::Capped,
            cap: Some(6),
            reason: "high (pid 4242) is active".into(),
            waiting: 2,
        }),
        launches: 9_123_000,
        launches_per_s: 11_950.0,
        in_flight: Some(6),
        burst: latency(12, 81_000, 120_000),
        gate_wait: latency(900, 410, 5_200),
        guards: Some(Guards {
            trickle: 4,
            stall: 1,
            lease: 0,
        }),
        ..ProcessRow {
            pid: 977,
            start_time: 500,
            ..service_process()
        }
    }
    .renamed("batch")
}

trait Renamed {
    fn renamed(self, command: &str) -> Self;
}

impl Renamed for ProcessRow {
    fn renamed(mut self, command: &str) -> ProcessRow {
        self.command = command.into();
        self
    }
}

/// A row of [`process`].
pub fn row(pid: u32, command: &str) -> Row {
    Row::new(process(pid, command), &users())
}

/// The row of [`service_process`].
pub fn service() -> Row {
    Row::new(service_process(), &users())
}

/// The users of the fixtures.
pub fn users() -> Users {
    Users::parse("root:x:0:0::/:/bin/sh\nwww:x:33:33::/:/bin/sh\nanna:x:1000:1000::/:/bin/sh\n")
}

/// A machine with these processes.
pub fn snapshot(processes: Vec<ProcessRow>) -> Snapshot {
    Snapshot {
        api_version: API_VERSION,
        time_unix_ns: 1_700_000_000_000_000_000,
        window_ns: Nanos::from_secs(5),
        agent: AgentInfo {
            pid: 812,
            version: "0.1.0".into(),
            uptime_ns: Nanos::from_secs(3_600),
            bpf: BpfState {
                available: true,
                reason: None,
                images: 1,
                probes: 24,
                events: 1_000_000,
            },
            drops: Drops::default(),
            sampling: Sampling { factor: 0.25 },
            limits: vec!["no AMD GPU: kernel times come from the gate alone".into()],
        },
        devices: vec![DeviceRow {
            address: "0000:03:00.0".into(),
            top_active: Some(Class::High),
            clients: 2,
            ..DeviceRow::default()
        }],
        processes,
        events: Vec::new(),
    }
}

/// A service, a batch program and one without the shim.
pub fn typical() -> Snapshot {
    snapshot(vec![
        batch_process(),
        service_process(),
        process(5100, "train"),
    ])
}

/// `n` processes of all kinds.
pub fn many(n: u32) -> Snapshot {
    let kinds = [service_process(), batch_process(), process(0, "train")];
    let processes = (0..n).map(|i| {
        let mut process = kinds[i as usize % kinds.len()].clone();
        process.pid = 10_000 + i;
        process.start_time = u64::from(i);
        process.launches_per_s = f64::from(i * 7919 % 5_000);
        process
    });
    snapshot(processes.collect())
}
