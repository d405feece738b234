//! Clients and users that mean harm, or are merely broken: a real agent goes
//! on, quietly, and nobody else notices.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use xsched_common::api::{Request, Response};
use xsched_common::handshake::{Hello, HelloResult, Reply};
use xsched_common::units::Class;
use xsched_testkit::{Agent, FakeClient, connect, cpu_ticks, set_class, wait_for};

#[test]
fn noise_on_the_joining_socket_harms_nobody() {
    let agent = Agent::start();
    let client = FakeClient::join(&agent.run_dir);
    for noise in [&b""[..], b"x", &[0xff; 24], &[0; 4096]] {
        let socket = connect(&agent.run_dir);
        let _ = rustix::net::send(&socket, noise, SendFlags::NOSIGNAL);
    }
    let silent: Vec<_> = (0..200).map(|_| connect(&agent.run_dir)).collect();
    let beat = client.control().heartbeat.load(Relaxed);
    wait_for("the heart beats on", || {
        client.control().heartbeat.load(Relaxed) > beat + 2
    });
    drop(silent);
    wait_for("others can join", || {
        let socket = connect(&agent.run_dir);
        // Until the silent ones have gone the agent may hang up at once.
        let _ = rustix::net::send(&socket, &Hello::new(1).encode(), SendFlags::NOSIGNAL);
        let mut bytes = [0; 64];
        match rustix::net::recv(socket.as_fd(), &mut bytes[..], RecvFlags::empty()) {
            Ok((len, _)) if len > 0 => Reply::decode(&bytes[..len])
                .is_ok_and(|reply| reply.verdict == HelloResult::Accepted),
            _ => false,
        }
    });
}

fn assert_quiet(agent: &Agent) {
    let before = cpu_ticks(agent.child.id());
    std::thread::sleep(Duration::from_millis(500));
    let ticks = cpu_ticks(agent.child.id()) - before;
    assert!(ticks < 10, "{ticks} ticks of 10 ms within 500 ms");
}

#[test]
fn a_bell_that_outlives_its_client_wakes_nobody() {
    let agent = Agent::start();
    let client = FakeClient::join(&agent.run_dir);
    rustix::net::shutdown(&client.socket, rustix::net::Shutdown::Both).expect("hangs up");
    std::thread::sleep(Duration::from_millis(200));
    rustix::io::write(&client.bell, &1u64.to_ne_bytes()).expect("rings");
    assert_quiet(&agent);
}

#[test]
fn an_agent_without_descriptors_waits_quietly_and_recovers() {
    let mut agent = Agent::start();
    let run_dir = agent.run_dir.clone();
    let dir = std::mem::replace(&mut agent.dir, tempfile::tempdir().expect("a directory"));
    drop(agent);
    let agent = Agent::start_with_descriptors(dir, 40);
    let clients: Vec<_> = (0..40).map(|_| connect(&run_dir)).collect();
    std::thread::sleep(Duration::from_millis(200));
    assert_quiet(&agent);
    drop(clients);
    // Until the others' descriptors are closed it may be refused.
    wait_for("it takes clients again", || {
        FakeClient::try_join(&run_dir).is_ok()
    });
}

/// A terminal stopped with Ctrl-S, or `| head`.
#[test]
fn nobody_has_to_read_the_log() {
    let mut agent = Agent::start_unread();
    let client = FakeClient::join(&agent.run_dir);
    // Two lines each: more than a pipe holds.
    for _ in 0..600 {
        FakeClient::join(&agent.run_dir);
    }
    let beat = || client.control().heartbeat.load(Relaxed);
    let from = beat();
    wait_for("the heart beats on", || beat() > from + 4);
    drop(agent.child.stderr.take());
    FakeClient::join(&agent.run_dir);
    let from = beat();
    wait_for("the heart beats on", || beat() > from + 4);
}

/// What a thread of another user brings.
fn as_nobody<T: Send>(agent: &Agent, act: impl FnOnce() -> T + Send) -> T {
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(agent.dir.path(), open).expect("opens the directory");
    std::thread::scope(|scope| {
        let actor = scope.spawn(|| {
            // SAFETY: no preconditions; changes this thread alone, as the C
            // library's function would not.
            let rc = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            assert_eq!(rc, 0);
            act()
        });
        actor.join().expect("acts")
    })
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("LEFT OUT: only root can act as another user");
    }
    root
}

/// Somebody keeps connections open and says nothing.
#[test]
fn connections_of_one_user_leave_places_for_others() {
    if !is_root() {
        return;
    }
    let agent = Agent::start();
    let silent = as_nobody(&agent, || {
        let connect = || UnixStream::connect(agent.run_dir.api_socket()).expect("connects");
        (0..300).map(|_| connect()).collect::<Vec<_>>()
    });
    let list = || agent.ask_raw(r#"{"op":"list"}"#);
    assert_eq!(list()["type"], "snapshot");
    assert_eq!(as_nobody(&agent, list)["code"], "busy");
    drop(silent);
    wait_for("a place is free", || {
        as_nobody(&agent, list)["type"] == "snapshot"
    });
}

/// Invariant: a class comes from the agent's table. A process that does not
/// use HIP is in no snapshot and has a class all the same.
#[test]
fn only_root_raises_a_class_whatever_the_snapshot_says() {
    use std::os::unix::process::CommandExt as _;
    if !is_root() {
        return;
    }
    let agent = Agent::start();
    let mut process = std::process::Command::new("sleep")
        .arg("60")
        .uid(65534)
        .spawn()
        .expect("starts");
    let pid = process.id();
    let ask = |class: &str| {
        let line = format!(r#"{{"op":"set","pid":{pid},"class":"{class}"}}"#);
        as_nobody(&agent, || agent.ask_raw(&line))
    };
    assert_eq!(ask("high")["code"], "not_permitted");
    assert_eq!(ask("low")["type"], "settled");
    assert_eq!(
        ask("normal")["type"],
        "settled",
        "what it would have anyway"
    );
    assert_eq!(ask("low")["class"], "low");
    set_class(&agent, pid, Class::Realtime);
    assert_eq!(ask("high")["type"], "settled");
    let foreign = format!(
        r#"{{"op":"set","pid":{},"class":"low"}}"#,
        std::process::id()
    );
    assert_eq!(
        as_nobody(&agent, || agent.ask_raw(&foreign))["code"],
        "not_permitted"
    );
    process.kill().expect("kill");
    process.wait().expect("wait");
}

#[test]
fn a_client_that_lies_in_its_page_harms_only_itself() {
    let agent = Agent::start();
    let liar = FakeClient::join(&agent.run_dir);
    let status = liar.status();
    status.device_count.store(u32::MAX, Relaxed);
    for device in &status.devices {
        device.kernel_ns.store(u64::MAX, Relaxed);
        device.gap_ns.store(u64::MAX, Relaxed);
        device.admitted.store(u64::MAX, Relaxed);
        device.set_active();
    }
    for (caller, name) in status
        .callers
        .iter()
        .zip([&b"\x1b[31m\xff\xfe"[..], b"another"])
    {
        assert!(caller.claim(name));
        for counts in &caller.launches {
            counts[0].store(u64::MAX, Relaxed);
            counts[1].store(u64::MAX, Relaxed);
        }
    }
    liar.become_active();
    let beat = liar.control().heartbeat.load(Relaxed);
    wait_for("the heart beats on", || {
        liar.control().heartbeat.load(Relaxed) > beat + 20
    });
    let time = || match agent.ask(&Request::List) {
        Response::Snapshot(snapshot) => snapshot.time_unix_ns,
        other => panic!("{other:?}"),
    };
    let before = time();
    wait_for("the model lives on", || time() > before);
}
