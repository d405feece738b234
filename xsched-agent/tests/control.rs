//! The control plane: a real agent, and clients that join it as shims do.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags};
use xsched_common::api::{Request, Response, ShimState};
use xsched_common::gate::GateMode;
use xsched_common::handshake::{Hello, HelloResult, Reply};
use xsched_common::units::{Class, Nanos};
use xsched_testkit::fake_peer::FakePeer;
use xsched_testkit::{Agent, FakeClient, agent_command, connect, set_class, wait_for};

/// Not a test of its own: the process that [`FakePeer`] starts.
#[test]
fn rival_process() {
    if std::env::var_os("RIVAL").is_some_and(|fake_peer| fake_peer == "forever") {
        // Until the agent is gone: nobody else ends an orphan.
        let client = FakeClient::join(&xsched_common::run_dir::RunDir::for_agent(0));
        let beat = || client.control().heartbeat.load(Relaxed);
        loop {
            let last = beat();
            std::thread::sleep(Duration::from_secs(1));
            if beat() == last {
                return;
            }
        }
    }
    xsched_testkit::fake_peer::obey();
}

#[test]
fn strict_priority_closes_caps_and_opens() {
    let agent = Agent::start();
    let low = FakeClient::join(&agent.run_dir);
    assert_eq!(low.reply.verdict, HelloResult::Accepted);
    set_class(&agent, std::process::id(), Class::Low);
    low.status().devices[0]
        .kernel_ns
        .store(Nanos::from_micros(50).0, Relaxed);
    low.become_active();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(low.mode(), GateMode::Open, "nobody else is there");

    let mut high = FakePeer::start(&agent.run_dir);
    set_class(&agent, high.child.id(), Class::High);
    low.wait_for_mode("capped while the higher class is idle", |m| {
        m == GateMode::Capped(7)
    });
    high.tell("active");
    low.wait_for_mode("closed while it is active", |m| m == GateMode::Closed);
    high.tell("idle");
    low.wait_for_mode("capped after its linger", |m| m == GateMode::Capped(7));
    high.tell("active");
    low.wait_for_mode("closed again", |m| m == GateMode::Closed);
    set_class(&agent, high.child.id(), Class::Low);
    low.wait_for_mode("open among equals", |m| m == GateMode::Open);
    set_class(&agent, high.child.id(), Class::Realtime);
    low.wait_for_mode("closed below realtime", |m| m == GateMode::Closed);
    drop(high);
    low.wait_for_mode("open when the rival is killed", |m| m == GateMode::Open);
}

/// A program hands over its whole first queue before anything can be decided
/// about it.
#[test]
fn a_newcomer_beside_a_higher_class_starts_capped() {
    let agent = Agent::start();
    let alone = FakeClient::join_silently(&agent.run_dir);
    assert_eq!(alone.mode(), GateMode::Open);
    let mut high = FakePeer::start(&agent.run_dir);
    set_class(&agent, high.child.id(), Class::High);
    // The keeper may hear of the change before it hears of the joining.
    let class = (Class::High as u32).to_string();
    wait_for("control has settled it", || high.tell("class") == class);
    // It has said nothing of its devices, so nothing is decided about it.
    let newcomer = FakeClient::join_silently(&agent.run_dir);
    assert_eq!(newcomer.mode(), GateMode::Capped(4));
    assert_eq!(alone.mode(), GateMode::Open);
    drop(high);
    newcomer.introduce();
    newcomer.become_active();
    newcomer.wait_for_mode("open without a rival", |m| m == GateMode::Open);
}

#[test]
fn the_heart_beats_and_stops_with_the_agent() {
    let agent = Agent::start();
    let client = FakeClient::join(&agent.run_dir);
    let beat = || client.control().heartbeat.load(Relaxed);
    let (start, from) = (Instant::now(), beat());
    wait_for("10 heartbeats", || beat() >= from + 10);
    assert!(
        start.elapsed() >= Duration::from_millis(400),
        "no faster than every 50 ms"
    );
    let dir = agent.kill();
    let last = beat();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(beat(), last);
    // A new agent serves the same directory, whatever the old one left there.
    let agent = Agent::start_in(dir);
    let again = FakeClient::join(&agent.run_dir);
    assert_ne!(again.reply.epoch, client.reply.epoch);
}

#[test]
fn a_stopping_agent_opens_every_gate() {
    let mut agent = Agent::start();
    let low = FakeClient::join(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    let mut high = FakePeer::start(&agent.run_dir);
    set_class(&agent, high.child.id(), Class::High);
    high.tell("active");
    low.wait_for_mode("closed", |m| m == GateMode::Closed);
    let pid = rustix::process::Pid::from_raw(agent.child.id() as i32).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
    assert!(agent.child.wait().expect("ends").success());
    assert_eq!(low.mode(), GateMode::Open);
    assert!(!agent.run_dir.api_socket().exists() && !agent.run_dir.join_socket().exists());
}

#[test]
fn a_shim_of_another_abi_is_told_so() {
    let agent = Agent::start();
    let socket = connect(&agent.run_dir);
    let mut hello = Hello::new(1);
    hello.abi.major += 1;
    rustix::net::send(&socket, &hello.encode(), SendFlags::NOSIGNAL).expect("sends");
    let mut bytes = [0; 64];
    let (len, _) =
        rustix::net::recv(&socket, &mut bytes[..], RecvFlags::empty()).expect("receives");
    let reply = Reply::decode(&bytes[..len]).expect("a reply");
    assert_eq!(
        (reply.verdict, reply.abi),
        (HelloResult::AbiMismatch, xsched_common::ABI)
    );
}

#[test]
fn a_class_outlives_the_ancestor_that_had_it() {
    let agent = Agent::start();
    let mut parent = std::process::Command::new("sh")
        .args(["-c", "\"$0\" --exact rival_process --nocapture & read line"])
        .arg(std::env::current_exe().expect("I run"))
        .env("XSCHED_RUN_DIR", &agent.run_dir.0)
        .env("RIVAL", "forever")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    set_class(&agent, parent.id(), Class::High);
    let class = || match agent.ask(&Request::List) {
        Response::Snapshot(snapshot) => snapshot.processes.first().map(|row| row.class),
        other => panic!("{other:?}"),
    };
    wait_for("the child has joined", || class() == Some(Class::High));
    drop(parent.stdin.take());
    parent.wait().expect("ends");
    set_class(&agent, std::process::id(), Class::Low);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(class(), Some(Class::High));
}

#[test]
fn the_api_answers_lists_and_refuses() {
    let agent = Agent::start();
    let client = FakeClient::join(&agent.run_dir);
    client.status().callers[0].claim(b"libtorch_hip.so");
    let me = std::process::id();
    wait_for("my row", || match agent.ask(&Request::List) {
        Response::Snapshot(snapshot) => snapshot.processes.iter().any(|row| {
            row.pid == me && row.shim == ShimState::Joined && row.bypass_ratio.is_none()
        }),
        other => panic!("{other:?}"),
    });
    for (line, code) in [
        ("nonsense", "malformed"),
        (r#"{"op":"fly"}"#, "malformed"),
        (
            r#"{"op":"set","pid":4194305,"class":"low"}"#,
            "no_such_process",
        ),
        (r#"{"op":"set","pid":1,"class":"urgent"}"#, "malformed"),
        (r#"{"op":"diagnose","pid":4194305}"#, "no_such_process"),
        (r#"{"op":"diagnose","pid":"1"}"#, "malformed"),
    ] {
        let answer = agent.ask_raw(line);
        assert_eq!(answer["type"], "error", "{line}: {answer}");
        assert_eq!(answer["code"], code, "{line}: {answer}");
    }
    match agent.ask(&Request::Diagnose {
        pid: me,
        duration_ms: 0,
    }) {
        Response::Error(failure) => assert_eq!(failure.code, "not_diagnosable", "no HIP here"),
        other => panic!("{other:?}"),
    }
    let endless = "x".repeat(100_000);
    assert_eq!(agent.ask_raw(&endless)["code"], "malformed");
}

#[test]
fn the_command_line_speaks_plainly() {
    let agent = Agent::start();
    let out = agent.cli(&["ps"]);
    assert!(out.status.success());
    assert!(String::from_utf8_lossy(&out.stdout).contains("no process uses HIP or CUDA"));
    let out = agent.cli(&["set", "--pid", "4194305", "--class", "low"]);
    assert_eq!(out.status.code(), Some(2));
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        error.contains("does not exist") && error.lines().count() == 1,
        "{error}"
    );

    let second = agent_command()
        .arg("--no-bpf")
        .env("XSCHED_RUN_DIR", &agent.run_dir.0)
        .output()
        .expect("runs");
    assert_eq!(second.status.code(), Some(2));
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    let expected = format!("another agent (pid {}) already serves", agent.child.id());
    assert!(
        error.contains(&expected) && error.lines().count() == 1,
        "{error}"
    );

    let nobody = agent_command()
        .arg("ps")
        .env("XSCHED_RUN_DIR", "/nonexistent")
        .output()
        .expect("runs");
    assert_eq!(nobody.status.code(), Some(2));
    let error = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(
        error.contains("no agent at /nonexistent/api.sock: start it"),
        "{error}"
    );
}

#[test]
fn clients_are_told_what_passes() {
    let agent = Agent::start_with(&["--passthrough", "librocfft,libMIOpen.so"]);
    let client = FakeClient::join(&agent.run_dir);
    let list = &client.control().passthrough;
    assert!(list.passes(b"librocfft.so.0") && list.passes(b"libMIOpen.so.1"));
    assert!(!list.passes(b"librocblas.so.4"));

    let dir = tempfile::tempdir().expect("a temporary directory");
    let refused = agent_command()
        .args(["--no-bpf", "--passthrough", "librocfft,,x"])
        .env("XSCHED_RUN_DIR", dir.path())
        .output()
        .expect("runs");
    assert_eq!(
        refused.status.code(),
        Some(2),
        "an empty name would pass everything"
    );
}
