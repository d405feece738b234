//! The real binary on a pseudo-terminal, against a fake agent.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use xsched_common::api::{Change, Request};
use xsched_common::units::{Class, Nanos, Weight};
use xsched_testkit::pty::Pty;

use crate::support::agent::{Behaviour, FakeAgent};

const XTOP: &str = env!("CARGO_BIN_EXE_xtop");

fn start(agent: &FakeAgent, more: &[&str]) -> Pty {
    let mut arguments = vec![
        OsStr::new("--fresh"),
        OsStr::new("--socket"),
        agent.socket.as_os_str(),
    ];
    arguments.extend(more.iter().map(OsStr::new));
    let pty = Pty::start(XTOP, &arguments, (100, 24));
    pty.wait_for("table", |screen| screen.contains("LAUNCH/S"));
    assert!(pty.is_taken());
    pty
}

/// Whether the processes stand in this order.
fn in_order(screen: &str, pids: &[&str]) -> bool {
    let places: Option<Vec<usize>> = pids.iter().map(|pid| screen.find(pid)).collect();
    places.is_some_and(|places| places.is_sorted())
}

#[test]
fn sort_filter_change_a_class_and_quit() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut xtop = start(&agent, &["-d", "0.2"]);
    xtop.wait_for("order by launches", |s| {
        in_order(s, &["  977", " 4242", " 5100"])
    });

    // The menu stands on the present column; choosing it again turns it round.
    xtop.press("s\r");
    xtop.wait_for("order turned round", |s| {
        in_order(s, &[" 5100", " 4242", "  977"])
    });

    xtop.press("/serve\r");
    xtop.wait_for("filter", |s| {
        s.contains("1 of 3 processes match") && !s.contains("  977")
    });

    xtop.press("c4");
    xtop.wait_for("question", |s| {
        s.contains("change class?") && s.contains("high → low")
    });
    xtop.press("\r");
    wait_for(&agent, |requests| requests.contains(&set(4242, Class::Low)));
    xtop.wait_for("result", |s| s.contains("pid 4242 is low"));
    let row_says = |s: &str, class| {
        s.lines()
            .any(|l| l.trim_start().starts_with("4242") && l.contains(class))
    };
    xtop.wait_for("new class in the row", |s| row_says(s, " low "));

    xtop.press("q");
    assert!(xtop.wait().success());
    xtop.assert_restored();
}

#[test]
fn ctrl_z_gives_the_terminal_back_until_it_goes_on() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut xtop = start(&agent, &["-d", "0.2"]);
    xtop.press("\x1a");
    let stat = format!("/proc/{}/stat", xtop.id());
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_stopped = || {
        let stat = std::fs::read_to_string(&stat).expect("it runs");
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" T"))
    };
    while !is_stopped() {
        assert!(Instant::now() < deadline, "it is not stopped");
        std::thread::sleep(Duration::from_millis(10));
    }
    xtop.assert_restored();
    xtop.signal(Signal::CONT);
    xtop.wait_for("the table again", |s| s.contains("LAUNCH/S"));
    assert!(xtop.is_taken());
    xtop.press("q");
    assert!(xtop.wait().success());
    xtop.assert_restored();
}

/// Waits until the agent's requests satisfy `wanted`.
fn wait_for(agent: &FakeAgent, wanted: impl Fn(&[Request]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !wanted(&agent.requests.lock().expect("requests")) {
        assert!(Instant::now() < deadline, "{:?}", agent.requests);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn set(pid: u32, class: Class) -> Request {
    Request::Set(Change {
        pid,
        class: Some(class),
        ..Change::default()
    })
}

#[test]
fn weights_targets_boosts_suspensions_and_sharing() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut xtop = start(&agent, &["-d", "0.2", "--filter", "serve"]);
    let pid = 4242;
    let steps: [(&str, &str, Request, &str); 5] = [
        (
            "w300\r",
            "has weight 300",
            Request::Set(Change {
                pid,
                weight: Weight::new(300).ok(),
                ..Change::default()
            }),
            "300",
        ),
        (
            "l2ms\r",
            "is to keep its P99 within 2.00 ms",
            Request::Set(Change {
                pid,
                slo_p99_ns: Some(Nanos::from_millis(2)),
                ..Change::default()
            }),
            "misses P99 of 2 ms: batch",
        ),
        (
            "b1m\r",
            "is boosted for 60 s",
            Request::Boost {
                pid,
                duration_ms: 60_000,
            },
            "boost",
        ),
        (
            "z\r",
            "is suspended for 30 s",
            Request::Suspend {
                pid,
                timeout_ms: 30_000,
            },
            "suspended, 30 s left",
        ),
        (
            "r\r",
            "is high again",
            Request::Resume { pid },
            "misses P99",
        ),
    ];
    for (keys, notice, request, shown) in steps {
        xtop.press(keys);
        xtop.wait_for(notice, |s| s.contains(notice));
        assert!(agent.requests.lock().expect("requests").contains(&request));
        xtop.wait_for(shown, |s| s.contains(shown));
    }
    xtop.press("3m2\r");
    xtop.wait_for("the mode", |s| s.contains("shared by share"));
    xtop.press("2e");
    xtop.wait_for("the past", |s| s.contains("from the agent"));
    xtop.press("G");
    xtop.wait_for("the rules", |s| s.contains("rule \"serving\""));
    xtop.press("q");
    assert!(xtop.wait().success());
    xtop.assert_restored();
}

#[test]
fn a_refused_change_shows_the_reason() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut xtop = start(&agent, &["--filter", "train"]);
    xtop.press("c1\r");
    xtop.wait_for("reason", |s| {
        s.contains("pid 5100 is root's: run xtop with sudo")
    });
    xtop.press("\x03");
    assert!(xtop.wait().success());
    xtop.assert_restored();
}

#[test]
fn readonly_sends_nothing() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut xtop = start(&agent, &["--readonly"]);
    assert!(!xtop.text().contains("c class"));
    xtop.press("c4\r");
    xtop.wait_for("refusal", |s| s.contains("read-only"));
    xtop.press("qq");
    assert!(xtop.wait().success());
    let requests = agent.requests.lock().expect("requests");
    assert!(requests.iter().all(|r| matches!(r, Request::Watch { .. })));
}

#[test]
fn screens_diagnosis_and_events() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut xtop = start(&agent, &["-d", "0.2", "--filter", "serve"]);
    xtop.press("\r");
    xtop.wait_for("histogram", |s| {
        s.contains("BURSTS") && s.contains("HISTORY")
    });
    xtop.press("d5");
    xtop.wait_for("the finding among the events", |s| {
        s.contains("finding     4242  symbol-version-bypass")
    });
    xtop.press("2G");
    xtop.wait_for("fix", |s| s.contains("use a shim that exports hip_99.0"));
    xtop.press("3");
    xtop.wait_for("timeline", |s| s.contains("highest class with work"));
    let diagnose = Request::Diagnose {
        pid: 4242,
        duration_ms: 2_000,
    };
    assert!(agent.requests.lock().expect("requests").contains(&diagnose));
    xtop.press("q");
    assert!(xtop.wait().success());
    xtop.assert_restored();
}

#[test]
fn a_recording_plays_on_the_same_screen() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("recording");
    let file = path.to_str().expect("text");
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut xtop = start(&agent, &["-d", "0.1", "--record", file]);
    let lines = || std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    xtop.wait_for("twenty snapshots", |_| lines() > 20);
    xtop.press("q");
    assert!(xtop.wait().success());

    let arguments = [
        OsStr::new("--fresh"),
        OsStr::new("--replay"),
        path.as_os_str(),
    ];
    let mut replay = Pty::start(XTOP, &arguments, (100, 24));
    replay.wait_for("replay", |s| {
        s.contains("REPLAY 0:0") && s.contains("  977")
    });
    replay.press(" ");
    replay.wait_for("hold", |s| s.contains("held") || s.contains("ended"));
    replay.press("[");
    replay.wait_for("the start", |s| {
        s.contains("REPLAY 0:00 of 0:0") && s.contains("held")
    });
    replay.press(")))) ");
    replay.wait_for("the end, faster", |s| s.contains("x16 ended"));
    replay.press("c");
    replay.wait_for("refusal", |s| s.contains("this is a recording"));
    replay.press("q");
    assert!(replay.wait().success());
    replay.assert_restored();
}

#[test]
fn own_keys_are_in_force_and_in_the_footer() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("xtop.toml");
    let text = "theme = 'high-contrast'\n[keys]\nquit = ['Q']\n[colours]\nbad = 'red'\n";
    std::fs::write(&path, text).expect("writes");
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut xtop = start(&agent, &["--config", path.to_str().expect("text")]);
    assert!(xtop.text().contains("Q quit"));
    xtop.press("qQ");
    assert!(xtop.wait().success());
}

#[test]
fn a_click_on_a_title_sorts() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut xtop = start(&agent, &[]);
    // SGR mouse report: left button on column 5, line 4.
    xtop.press("\x1b[<0;5;4M\x1b[<0;5;4m");
    xtop.wait_for("order by pid", |s| s.contains("PID▲"));
}

#[test]
fn signals_give_the_terminal_back() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let agent = FakeAgent::start(Behaviour::Steady);
        let mut xtop = start(&agent, &[]);
        xtop.signal(signal);
        assert_eq!(xtop.wait().code(), Some(code));
        xtop.assert_restored();
    }
}

#[test]
fn an_agent_that_hangs_up_is_found_again() {
    for behaviour in [Behaviour::HangsUp, Behaviour::Garbage] {
        let agent = FakeAgent::start(behaviour);
        let xtop = start(&agent, &[]);
        xtop.wait_for("loss", |s| s.contains("disconnected, retry in"));
        wait_for(&agent, |requests| requests.len() >= 3);
    }
}

#[test]
fn without_an_agent_it_waits_and_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("api.sock");
    let arguments = [
        OsStr::new("--fresh"),
        OsStr::new("--socket"),
        socket.as_os_str(),
    ];
    let mut xtop = Pty::start(XTOP, &arguments, (100, 24));
    xtop.wait_for("next step", |s| s.contains("start it with `"));
    xtop.press("q");
    assert!(xtop.wait().success());
    xtop.assert_restored();
}

#[test]
fn a_panic_gives_the_terminal_back_and_shows_its_message() {
    let this = std::env::current_exe().expect("this program");
    let deps = this.parent().expect("cargo's folder of programs");
    let program = deps.with_file_name("examples").join("panics");
    let mut pty = Pty::start(program, &[], (100, 24));
    assert!(!pty.wait().success());
    pty.wait_for("message", |s| s.contains("planted"));
    pty.assert_restored();
}
