//! Snapshots for tests.

use xsched_common::api::*;
use xsched_common::platform::Platform;
use xsched_common::units::{Class, Nanos, StreamClass, Weight};

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use xsched_client::{Endpoint, LinkEvent};

use crate::input::Keymap;
use crate::state::{Access, Msg, Row, Settings, Size, Sort, State};
use crate::theme::{Charset, Palette, Theme};
use crate::ui::Ui;

/// A process without the shim, seen by eBPF.
pub fn process(pid: u32, command: &str) -> ProcessRow {
    ProcessRow {
        pid,
        start_time: u64::from(pid) * 10,
        platform: Some(Platform::default()),
        parent: None,
        cgroup: Some("/user.slice/user-1000.slice/session-3.scope".into()),
        pod: None,
        job: None,
        uid: 1000,
        user: Some("anna".into()),
        command: command.into(),
        arguments: format!("/usr/bin/{command} train.py"),
        class: Class::Normal,
        weight: Weight::default(),
        terms_from: "default".into(),
        slo: None,
        blame: None,
        hold: None,
        shim: ShimState::Absent,
        device: None,
        gate: None,
        gate_shares: None,
        hardware: None,
        launches: 90_000,
        launches_per_s: 812.5,
        bypass_ratio: Some(1.0),
        default_stream_ratio: Some(0.25),
        burst: None,
        burst_histogram: Vec::new(),
        gate_wait: None,
        guards: None,
        split_intervals: None,
        in_flight: None,
        kernel_ns: None,
        kernel_alone: None,
        busy_ratio: None,
        apis: Vec::new(),
        sampling: Some(0.25),
        time_slices: Vec::new(),
        groups: Vec::new(),
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
        user: Some("www".into()),
        cgroup: Some("/system.slice/serve.service".into()),
        pod: None,
        job: None,
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
        split_intervals: None,
        in_flight: Some(3),
        kernel_ns: Some(Nanos::from_micros(85)),
        kernel_alone: Some(true),
        sampling: None,
        time_slices: Vec::new(),
        groups: Vec::new(),
        busy_ratio: Some(0.31),
        terms_from: "rule \"serving\"".into(),
        slo: Some(SloRow {
            target_p99_ns: Nanos::from_millis(5),
            state: SloState::Met,
            reason: "P99 is within its target".into(),
        }),
        apis: [
            ("hipLaunchKernel", StreamClass::Created, 46_700),
            ("hipLaunchKernel", StreamClass::Null, 1_500),
            ("hipMemcpyAsync", StreamClass::Created, 9_600),
            ("hipStreamSynchronize", StreamClass::Created, 2_400),
        ]
        .map(|(api, stream, calls)| ApiRow {
            api: api.into(),
            stream,
            calls,
        })
        .to_vec(),
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
        split_intervals: None,
        in_flight: Some(6),
        weight: Weight::new(200).expect("a weight"),
        terms_from: "set by hand".into(),
        slo: None,
        busy_ratio: Some(0.62),
        apis: Vec::new(),
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
    Row::new(process(pid, command))
}

/// The row of [`service_process`].
pub fn service() -> Row {
    Row::new(service_process())
}

fn class_row(class: Class, busy: f64) -> ClassRow {
    let open = u32::from(class == Class::High);
    ClassRow {
        class,
        clients: 1,
        active: 1,
        open,
        capped: 1 - open,
        closed: 0,
        busy_ratio: Some(busy),
    }
}

/// As [`typical`], from an agent before weights, targets, holds, modes and
/// busy shares.
pub fn old() -> Snapshot {
    let mut snapshot = typical();
    for device in &mut snapshot.devices {
        *device = DeviceRow {
            address: device.address.clone(),
            top_active: device.top_active,
            clients: device.clients,
            ..DeviceRow::default()
        };
    }
    for process in &mut snapshot.processes {
        process.weight = Weight::default();
        process.terms_from.clear();
        process.slo = None;
        process.busy_ratio = None;
        process.apis.clear();
    }
    snapshot
}

/// What the agent lists of the last minute.
pub fn listed() -> Vec<EventRow> {
    let row = |(number, seconds, kind, actor, text): (u64, u64, EventKind, &str, &str)| EventRow {
        number,
        time_unix_ns: 1_700_000_000_000_000_000 + seconds * 1_000_000_000,
        pid: Some(4242),
        actor: (!actor.is_empty()).then(|| actor.to_owned()),
        kind,
        text: text.into(),
    };
    let anna = "anna (uid 1000), xtop (pid 6001)";
    [
        (
            12,
            0,
            EventKind::Joined,
            "",
            "python3 serve.py joined as high",
        ),
        (13, 5, EventKind::Changed, anna, "weight 100 to 200"),
        (14, 9, EventKind::Refused, anna, "class realtime needs root"),
        (
            15,
            20,
            EventKind::Slo,
            "",
            "P99 within 5 ms is out of reach: batch runs kernels of 31 ms",
        ),
        (
            18,
            30,
            EventKind::Configuration,
            "root (uid 0), systemctl (pid 1)",
            "3 rules read",
        ),
    ]
    .map(row)
    .to_vec()
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
            control: Default::default(),
            time_slicing: Default::default(),
            abi: "1.1".into(),
            uptime_ns: Nanos::from_secs(3_600),
            bpf: BpfState {
                available: true,
                reason: None,
                images: 1,
                probes: 24,
                events: 1_000_000,
            },
            drops: Drops::default(),
            sampling: Sampling {
                factor: 0.25,
                ..Sampling::default()
            },
            warnings: Vec::new(),
            limits: vec!["no AMD GPU: kernel times come from the gate alone".into()],
        },
        devices: vec![DeviceRow {
            address: "0000:03:00.0".into(),
            platform: Platform::default(),
            top_active: Some(Class::High),
            clients: 2,
            mode: SharingMode::Slo,
            knobs: [
                ("budget_ns", 500_000),
                ("k_max", 256),
                ("linger_ns", 150_000),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
            busy_ratio: Some(0.93),
            classes: vec![class_row(Class::High, 0.31), class_row(Class::Low, 0.62)],
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
            unscheduled: None,
        }],
        processes,
        events: Vec::new(),
        unscheduled: None,
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

/// A fresh state of this size.
pub fn start(size: Size, access: Access) -> Ui {
    let settings = Settings {
        endpoint: Endpoint::Socket("/run/xsched/api.sock".into()),
        interval: Duration::from_secs(1),
        access,
        sort: Sort::default(),
        filter: String::new(),
        uid: 0,
    };
    Ui {
        state: State::new(settings, size),
        keys: Keymap::default(),
        theme: Theme::new(Palette::Dark, Charset::Unicode),
    }
}

/// A state that has seen `snapshot` and then these keys.
pub fn showing(size: Size, snapshot: Snapshot, keys: &str) -> Ui {
    let mut ui = start(size, Access::Full);
    let event = LinkEvent::Snapshot(Box::new(snapshot));
    ui.update(Duration::from_secs(1), Msg::Link(event));
    ui.update(Duration::from_millis(1_300), Msg::Tick);
    press(&mut ui, keys);
    ui
}

/// Presses keys.
pub fn press(ui: &mut Ui, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        let event = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
        ui.event(ui.state.now, &event);
    }
}
