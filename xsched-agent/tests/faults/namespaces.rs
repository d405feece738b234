//! Clients in containers, and clients whose clocks are not the agent's.

use std::process::Command;
use std::time::{Duration, Instant};

use xsched_common::gate::GateMode;
use xsched_common::platform::Platform;
use xsched_common::run_dir::RunDir;
use xsched_common::units::Class;
use xsched_testkit::fake_peer::{self, FakePeer};
use xsched_testkit::{Agent, FakeClient, set_class, wait_for};

use crate::is_root;
use crate::shim::scripted::ScriptedProgram;
use crate::shim::{Preload, program_on};

/// `unshare` around a command, with its environment.
fn unshared(arguments: &[&str], script: &str, inner: &Command) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(arguments)
        .args(["--fork", "--kill-child", "sh", "-ec", script])
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The agent's directory bind-mounted into another mount and pid namespace,
/// as a container has it.
#[test]
fn a_client_in_a_container_is_known_by_its_number_outside() {
    let _machine = crate::in_company();
    if !is_root() {
        return;
    }
    let agent = Agent::start();
    let inside = tempfile::tempdir().expect("a directory");
    let inner = fake_peer::command(&RunDir(inside.path().to_owned()));
    let script = format!(
        "mount --bind \"{}\" \"$XSCHED_RUN_DIR\"; mount -t tmpfs none \"{}\"; exec \"$0\" \"$@\"",
        agent.run_dir.0.display(),
        agent.run_dir.0.display()
    );
    let arguments = ["--mount", "--pid", "--mount-proc"];
    let mut contained = FakePeer::spawn(&mut unshared(&arguments, &script, &inner));
    assert_eq!(contained.own_pid, 1, "it is alone in there");
    let row = || agent.rows().first().cloned().unwrap_or_default();
    wait_for("its row", || row()["shim"] == "joined");
    let pid = u32::try_from(row()["pid"].as_u64().expect("a number")).expect("a pid");
    let seen = std::fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
    assert_eq!(seen, std::env::current_exe().expect("I run"));
    assert_eq!(row()["parent"], contained.child.id(), "{}", row());

    // It is scheduled as everybody, by classes given outside.
    let low = FakeClient::join(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    set_class(&agent, contained.child.id(), Class::High);
    contained.tell("active");
    low.wait_for_mode("held", |mode| mode == GateMode::Closed);
    contained.kill();
    low.wait_for_mode("free when the container ends", |mode| {
        mode == GateMode::Open
    });
}

/// A program whose monotonic clock is a day ahead: the gate holds it, and it
/// runs free when the agent dies, as any other.
fn a_shifted_clock_changes_nothing(platform: Platform) {
    let _machine = crate::alone();
    if !is_root() {
        return;
    }
    let agent = Agent::start_without_min_share();
    let inner = program_on(platform, "scripted", Preload::Shim, &agent.run_dir.0);
    let arguments = ["--time", "--monotonic", "86400", "--boottime", "86400"];
    let mut command = unshared(&arguments, "exec \"$0\" \"$@\"", &inner);
    let mut scripted = ScriptedProgram::spawn(&mut command);
    scripted.run("launch 1 0");
    scripted.run("sync");
    set_class(&agent, scripted.pid(), Class::Low);
    let mut high = FakePeer::start(&agent.run_dir);
    set_class(&agent, high.child.id(), Class::High);
    high.tell("active");
    let low = FakeClient::join(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    low.wait_for_mode("held", |mode| mode == GateMode::Closed);
    scripted.begin("worker 2000");
    assert!(
        scripted
            .answers_within(Duration::from_millis(600))
            .is_none(),
        "it is held"
    );
    high.tell("idle");
    assert_eq!(scripted.end().error, 0);
    high.tell("active");
    low.wait_for_mode("held", |mode| mode == GateMode::Closed);
    scripted.begin("worker 2000");
    assert!(
        scripted
            .answers_within(Duration::from_millis(100))
            .is_none(),
        "it is held"
    );
    let died = Instant::now();
    drop(agent);
    assert_eq!(scripted.end().error, 0);
    let took = died.elapsed();
    assert!(took < Duration::from_millis(1000), "{took:?}");
}

/// Paths of sockets, memfds and futexes belong to neither.
#[test]
fn a_client_in_other_network_and_ipc_namespaces_is_one_like_any_other() {
    let _machine = crate::in_company();
    if !is_root() {
        return;
    }
    let agent = Agent::start();
    let inner = fake_peer::command(&agent.run_dir);
    let arguments = ["--net", "--ipc", "--uts"];
    let mut apart = FakePeer::spawn(&mut unshared(&arguments, "exec \"$0\" \"$@\"", &inner));
    let low = FakeClient::join(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    set_class(&agent, apart.own_pid, Class::High);
    apart.tell("active");
    low.wait_for_mode("closed", |mode| mode == GateMode::Closed);
    apart.tell("idle");
    low.wait_for_mode("let through", |mode| mode != GateMode::Closed);
}

on_each_platform! {
    a_shifted_clock_changes_nothing
}
