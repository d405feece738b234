//! What a running agent adds, with an invented one.

use xsched_common::Abi;
use xsched_common::api::{GateRow, GateState, Guards, ProcessRow, ShimState};
use xsched_common::units::Class;
use xsched_diagnose::{AgentView, examine as examine_all};
use xsched_host::process::ProcessId;

use super::*;

/// A joined process that has launched a thousand times.
pub fn row(pid: u32) -> ProcessRow {
    let start_time = ProcessId::of(pid).expect("it lives").start_time;
    let json = serde_json::json!({
        "pid": pid, "start_time": start_time, "uid": 0, "command": "program", "arguments": "",
        "class": "low", "shim": "joined", "device": null, "gate": null, "launches": 1000,
        "launches_per_s": 10.0, "bypass_ratio": 0.0, "default_stream_ratio": 0.0, "burst": null,
        "gate_wait": null, "guards": {"trickle": 0, "stall": 0, "lease": 0}, "in_flight": 0,
        "kernel_ns": null, "callers": []
    });
    serde_json::from_value(json).expect("a row")
}

/// An agent that knows the process as `row`.
pub fn view(row: Option<ProcessRow>) -> AgentView {
    AgentView {
        version: "0.1.0".into(),
        abi: Some(xsched_common::ABI),
        uptime: Duration::from_secs(60),
        process: row,
        others: Vec::new(),
        devices: Vec::new(),
    }
}

pub fn with_view(process: &Process, view: AgentView) -> Report {
    checked(examine_all(&options(process.pid()), None, || Some(view)).expect("it can be examined"))
}

pub fn seen(change: impl FnOnce(&mut ProcessRow)) -> Report {
    let set = fixtures();
    let process = set.start("program", Some(&set.text("libxsched_shim.so")), &[]);
    let mut row = row(process.pid());
    change(&mut row);
    with_view(&process, view(Some(row)))
}

fn guards(trickle: u64, stall: u64, lease: u64) -> impl FnOnce(&mut ProcessRow) {
    move |row| {
        row.guards = Some(Guards {
            trickle,
            stall,
            lease,
        });
    }
}

#[test]
fn without_the_shim_the_lever_that_holds_it_is_named() {
    let set = fixtures();
    let process = set.start("program", None, &[]);
    let sliced = |set_by: &str| {
        let mut row = row(process.pid());
        row.time_slices = serde_json::from_value(serde_json::json!([{
            "device": "0000:06:00.0", "slice_ns": 100_000, "set_by": set_by,
            "reason": "a higher class is on this device"
        }]))
        .expect("a slice");
        let report = with_view(&process, view(Some(row)));
        only(&report, "shim-not-loaded", Severity::Error)
    };
    let evidence = sliced("class");
    assert!(
        evidence.contains("time slice on 0000:06:00.0 to 100 us"),
        "{evidence}"
    );
    let evidence = sliced("driver");
    assert!(!evidence.contains("time slice"), "{evidence}");
}

#[test]
fn timed_intervals_that_the_gate_has_split() {
    let split = |count| seen(move |row| row.split_intervals = count);
    let report = split(Some(1_200));
    let evidence = only(&report, "timing-under-gate", Severity::Warning);
    assert!(evidence.contains("1,200 intervals"), "{evidence}");
    assert_eq!(codes(&split(Some(0))), []);
    assert_eq!(codes(&split(None)), []);
}

#[test]
fn guards_that_let_launches_pass() {
    for (fired, name) in [
        (guards(500, 0, 0), "500 by trickle"),
        (guards(0, 3, 0), "3 by stall"),
        (guards(0, 0, 7), "7 by lease"),
    ] {
        let report = seen(fired);
        let evidence = only(&report, "gate-guards", Severity::Warning);
        assert!(evidence.contains(name), "{evidence}");
        // Advice on what happened, and on nothing else.
        let guard = name.rsplit(' ').next().expect("a word");
        let fix = &report.findings[0].fix;
        assert!(fix.contains(guard) && !fix.contains(". "), "{fix}");
    }
    // A closed gate is meant to trickle a little.
    assert_eq!(codes(&seen(guards(5, 0, 0))), []);
    assert_eq!(codes(&seen(|row| row.guards = None)), []);
}

#[test]
fn a_shim_that_has_not_joined() {
    let report = seen(|row| row.shim = ShimState::Mapped);
    let evidence = only(&report, "not-joined", Severity::Error);
    assert!(evidence.contains("has seen 1,000 launches"), "{evidence}");
    let idle = seen(|row| {
        row.shim = ShimState::Mapped;
        row.launches = 0;
    });
    assert_eq!(codes(&idle), []);
    assert_eq!(codes(&seen(|_| ())), []);
    // The row of an earlier process with this pid.
    let stale = seen(|row| {
        row.shim = ShimState::Mapped;
        row.start_time += 1;
    });
    assert_eq!(codes(&stale), []);
}

/// All that launches goes past the shim, so it cannot have joined: that is no
/// fault of its own, whether calls are observed or not.
#[test]
fn a_shim_that_no_launch_reaches_is_not_blamed_for_not_joining() {
    let set = fixtures();
    let shim = set.text("libxsched_shim.so");
    let process = set.start_loop("plain", Some(&shim), &["./libnow99.so", "1", "1"]);
    let mapped = || {
        let mut row = row(process.pid());
        row.shim = ShimState::Mapped;
        Some(view(Some(row)))
    };
    let unobserved = checked(examine_all(&options(process.pid()), None, mapped).expect("lives"));
    only(&unobserved, "symbol-version-bypass", Severity::Error);
    let direct = xsched_diagnose::ObservedCall {
        object: set.text("libnow99.so"),
        api: "hipLaunchKernel".into(),
        stream: xsched_common::units::StreamClass::Created,
        route: xsched_common::bpf::CallRoute::Direct,
        count: 1000,
    };
    let mut source = Fake(|| {
        Ok(Observed {
            duration: Duration::from_secs(1),
            calls: vec![direct.clone()],
            limits: Vec::new(),
        })
    });
    let watched = Options {
        duration: Duration::from_secs(1),
        ..options(process.pid())
    };
    let observed = examine_all(&watched, Some(&mut source), mapped).expect("lives");
    assert_eq!(codes(&observed), codes(&unobserved), "{observed}");
}

/// What the agent's configuration exempts is known by its counts.
#[test]
fn libraries_that_the_agent_lets_pass() {
    let passing = |passthrough: u64, gated: u64| {
        let set = fixtures();
        let shim = set.text("libxsched_shim.so");
        let process = set.start("program", Some(&shim), &["./libnow.so", "1", "1"]);
        let mut row = row(process.pid());
        row.callers = serde_json::from_value(serde_json::json!([{
            "library": "libnow.so", "default_stream": 0,
            "launches": {"gated": gated, "passthrough": passthrough, "bypass": 0}
        }]))
        .expect("a caller");
        with_view(&process, view(Some(row)))
    };
    let report = passing(1_000, 3);
    let evidence = only(&report, "passthrough", Severity::Warning);
    assert!(
        evidence.contains("has counted 1,000 of its launches"),
        "{evidence}"
    );
    // Captured into a graph now and then.
    assert_eq!(codes(&passing(3, 1_000)), []);
}

#[test]
fn abi_mismatch_is_proven_by_the_shims_note() {
    let set = fixtures();
    let start = |shim: &str| set.start("program", Some(&set.text(shim)), &[]);
    let old = start("abi99/libxsched_shim.so");
    let refused = |process: &Process| {
        let mut row = row(process.pid());
        row.shim = ShimState::Mapped;
        with_view(process, view(Some(row)))
    };
    // One fault, one finding: not "not-joined" as well.
    let evidence = only(&refused(&old), "abi-mismatch", Severity::Error);
    assert!(evidence.contains("version 9.9.9, ABI 99.0"), "{evidence}");
    assert!(
        evidence.contains("the running agent is version 0.1.0"),
        "{evidence}"
    );
    // Without an agent, or one that does not know the process.
    let evidence = only(&examine(&old), "abi-mismatch", Severity::Warning);
    assert!(evidence.contains("no running agent"), "{evidence}");
    only(
        &with_view(&old, view(None)),
        "abi-mismatch",
        Severity::Error,
    );
    // An agent of the shim's release.
    let same = AgentView {
        abi: Some(Abi {
            major: 99,
            minor: 3,
        }),
        ..view(Some(row(old.pid())))
    };
    assert_eq!(codes(&with_view(&old, same)), []);
}

#[test]
fn abi_mismatch_twin_a_shim_of_this_release_is_silent() {
    let set = fixtures();
    let process = set.start("program", Some(&set.text("noted/libxsched_shim.so")), &[]);
    assert_eq!(codes(&examine(&process)), []);
    assert_eq!(
        codes(&with_view(&process, view(Some(row(process.pid()))))),
        []
    );
}

/// Two programs, of which the second waits for the first, and what is found
/// at the second one when the first is of `class` and its gate in `state`.
fn waiting(how: &str, class: Class, state: GateState) -> Report {
    let set = fixtures();
    let start = |role: &str| {
        let mut command = std::process::Command::new(set.path("program"));
        command
            .env("LD_PRELOAD", set.text("libxsched_shim.so"))
            .env("WAIT", how)
            .env("ROLE", role)
            .env("AT", set.text(&format!("{how}-{class:?}-{state:?}")));
        set.spawn(command)
    };
    let first = start("first");
    let second = start("second");
    let row = |process: &Process, class, state| ProcessRow {
        class,
        device: Some("0000:c1:00.0".into()),
        gate: Some(GateRow {
            state,
            cap: None,
            reason: "high is active".into(),
            waiting: 1,
        }),
        ..row(process.pid())
    };
    let mut view = view(Some(row(&second, Class::High, GateState::Open)));
    view.others.push(row(&first, class, state));
    // It says that it is ready before it waits.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    let blocked = |text: &str| {
        ["0 ", "72 ", "73 ", "202 "]
            .iter()
            .any(|n| text.starts_with(n))
    };
    let call = format!("/proc/{}/syscall", second.pid());
    while !blocked(&std::fs::read_to_string(&call).unwrap_or_default()) {
        assert!(
            std::time::Instant::now() < deadline,
            "{how}: it does not wait"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    with_view(&second, view)
}

const WAITS: [(&str, &str); 5] = [
    ("flock", "a FLOCK lock that"),
    ("posix", "a POSIX lock that"),
    ("fifo", "reads from a pipe"),
    ("mutex", "waits for a lock in"),
    ("inheriting", "waits for a lock in"),
];

#[test]
fn priority_inversion_is_proven_for_locks_pipes_and_shared_memory() {
    if !is_root("/proc/PID/syscall of another process") {
        return;
    }
    for (how, what) in WAITS {
        let report = waiting(how, Class::Low, GateState::Closed);
        let evidence = only(&report, "priority-inversion", Severity::Warning);
        assert!(evidence.contains(what), "{how}: {evidence}");
        assert!(
            evidence.contains("is of class low, and its gate is closed"),
            "{evidence}"
        );
        let fix = &report.findings[0].fix;
        assert!(fix.contains("xsched-agent set --pid"), "{fix}");
    }
}

#[test]
fn priority_inversion_twins_wait_for_equals_or_for_the_open() {
    if !is_root("/proc/PID/syscall of another process") {
        return;
    }
    for (how, _) in WAITS {
        for (class, state) in [
            (Class::High, GateState::Closed),
            (Class::Low, GateState::Open),
        ] {
            let report = waiting(how, class, state);
            assert_eq!(codes(&report), [], "{how}: {report}");
        }
    }
    // A pipe that the waiting process can itself write to.
    let report = waiting("ownfifo", Class::Low, GateState::Closed);
    assert_eq!(codes(&report), [], "{report}");
}

/// A program in a pid namespace of its own, where it is number 1.
struct Contained {
    _unshare: Process,
    pid: u32,
}

impl Contained {
    fn waiting(role: &str, at: &str) -> Contained {
        let set = fixtures();
        let mut command = std::process::Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child"])
            .arg(set.path("program"))
            .env("LD_PRELOAD", set.text("libxsched_shim.so"))
            .envs([("WAIT", "mutex"), ("ROLE", role), ("AT", at)]);
        let unshare = set.spawn(command);
        let of = unshare.pid();
        let children = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children"));
        let pid = children.expect("a list").trim().parse().expect("one child");
        Contained {
            _unshare: unshare,
            pid,
        }
    }
}

/// The lock's owner is written in it as number 1, which outside is init. With
/// a second container in which somebody is number 1, nothing is proven.
#[test]
fn priority_inversion_by_a_container_is_proven_if_its_thread_is_the_only_one_of_that_number() {
    if !is_root("a pid namespace") {
        return;
    }
    let set = fixtures();
    let at = set.text("mutex-contained");
    let first = Contained::waiting("first", &at);
    let mut command = std::process::Command::new(set.path("program"));
    command
        .env("LD_PRELOAD", set.text("libxsched_shim.so"))
        .envs([("WAIT", "mutex"), ("ROLE", "second"), ("AT", &at)]);
    let second = set.spawn(command);
    let waits = |process: u32| {
        let call = std::fs::read_to_string(format!("/proc/{process}/syscall"));
        call.is_ok_and(|call| call.starts_with("202 "))
    };
    let until = |process: u32| {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !waits(process) {
            assert!(std::time::Instant::now() < deadline, "it does not wait");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until(second.pid());
    let on_the_device = |pid, class, state| ProcessRow {
        class,
        device: Some("0000:c1:00.0".into()),
        gate: Some(GateRow {
            state,
            cap: None,
            reason: "high is active".into(),
            waiting: 1,
        }),
        ..row(pid)
    };
    let mut seen = view(Some(on_the_device(
        second.pid(),
        Class::High,
        GateState::Open,
    )));
    let closed = |pid| on_the_device(pid, Class::Low, GateState::Closed);
    seen.others.push(closed(first.pid));
    let report = with_view(&second, seen.clone());
    let evidence = only(&report, "priority-inversion", Severity::Warning);
    let owner = format!("thread {0} (1 in its pid namespace) of {0}", first.pid);
    assert!(evidence.contains(&owner), "{evidence}");

    let third = Contained::waiting("third", &at);
    until(third.pid);
    seen.others.push(closed(third.pid));
    let report = with_view(&second, seen);
    assert_eq!(codes(&report), [], "{report}");
}
