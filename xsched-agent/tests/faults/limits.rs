//! Memory, descriptors and disk that run out.

use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use xsched_common::gate::GateMode;
use xsched_common::handshake::{Hello, HelloResult};
use xsched_common::run_dir::RunDir;
use xsched_testkit::{Agent, FakeClient, connect, wait_for};

use crate::{is_root, say_hello};

fn limit(agent: &Agent, resource: Resource, to: u64) -> Rlimit {
    let pid = Pid::from_raw(agent.child.id().cast_signed()).expect("a pid");
    let new = Rlimit {
        current: Some(to),
        // The agent has inherited ours.
        maximum: rustix::process::getrlimit(resource).maximum,
    };
    prlimit(Some(pid), resource, new).expect("a limit")
}

fn address_space(agent: &Agent) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", agent.child.id()));
    let statm = statm.expect("it runs");
    let pages: u64 = statm
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    pages * 4096
}

/// No memory for another client's pages: it is refused, the others go on,
/// and the next is taken when there is some.
#[test]
fn an_agent_without_memory_refuses_and_goes_on() {
    let _machine = crate::in_company();
    if !is_root() {
        return;
    }
    let agent = Agent::start_with_heap();
    let client = FakeClient::join(&agent.run_dir);
    // Threads that are still starting would need memory, too.
    wait_for("it is at work", || {
        let snapshot = agent.ask_raw(r#"{"op":"list"}"#);
        snapshot["processes"][0]["shim"] == "joined"
    });
    let before = limit(&agent, Resource::As, address_space(&agent));
    let refused =
        (0..6).filter(|_| say_hello(&agent.run_dir, &Hello::new(1)) != Some(HelloResult::Accepted));
    assert!(refused.count() >= 4, "there was no memory");
    let beats = || {
        client
            .control()
            .heartbeat
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let from = beats();
    wait_for("the heart beats on", || beats() > from + 4);
    assert_eq!(client.mode(), GateMode::Open);
    let pid = Pid::from_raw(agent.child.id().cast_signed());
    prlimit(pid, Resource::As, before).expect("the limit goes");
    wait_for("it takes clients again", || {
        say_hello(&agent.run_dir, &Hello::new(1)) == Some(HelloResult::Accepted)
    });
}

/// Clients that come while there are no descriptors: something of each of them
/// would be more than what the agent may open meanwhile for its own work.
const ATTEMPTS: u64 = 8;
const OWN: u64 = 4;

/// Descriptors that run out while clients join: half a client is none.
#[test]
fn an_agent_at_its_last_descriptor_keeps_no_half_client() {
    let _machine = crate::in_company();
    let agent = Agent::start();
    let client = FakeClient::join(&agent.run_dir);
    let fds = format!("/proc/{}/fd", agent.child.id());
    let count = || std::fs::read_dir(&fds).expect("it runs").count() as u64;
    let before = count();
    for more in 0..ATTEMPTS {
        // The numbers go up to the limit: gaps below it count, too.
        let old = limit(&agent, Resource::Nofile, count() + more);
        // Waits in the backlog until there are descriptors.
        let waiting = connect(&agent.run_dir);
        let hello = Hello::new(1).encode();
        match rustix::net::send(&waiting, &hello, rustix::net::SendFlags::NOSIGNAL) {
            // Accepted with the last descriptor, there was none left to know
            // it by: turned away before it spoke.
            Ok(_) | Err(rustix::io::Errno::PIPE) => {}
            Err(error) => panic!("sends: {error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(120));
        let pid = Pid::from_raw(agent.child.id().cast_signed());
        prlimit(pid, Resource::Nofile, old).expect("the limit goes");
    }
    wait_for("nothing is left of them", || count() <= before + OWN);
    assert_eq!(
        say_hello(&agent.run_dir, &Hello::new(1)),
        Some(HelloResult::Accepted)
    );
    assert_eq!(client.mode(), GateMode::Open);
}

/// Starts an agent whose directory is a file system of its own.
fn on_a_tmpfs(options: &str, fill: &str) -> (std::process::Child, RunDir, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let run = dir.path().join("run");
    std::fs::create_dir(&run).expect("a directory");
    let script = format!(
        "mount -t tmpfs -o {options} none \"$XSCHED_RUN_DIR\" && {fill} && exec \"$0\" --no-bpf"
    );
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .arg(env!("CARGO_BIN_EXE_xsched-agent"))
        .env("XSCHED_RUN_DIR", &run)
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // The mount is the agent's own: its view of the directory leads there.
    let seen = format!("/proc/{}/root{}", child.id(), run.display());
    (child, RunDir(seen.into()), dir)
}

#[test]
fn a_full_run_directory_is_no_reason_to_refuse() {
    let _machine = crate::in_company();
    if !is_root() {
        return;
    }
    let fill = "(dd if=/dev/zero of=\"$XSCHED_RUN_DIR/fill\" bs=4k 2>/dev/null || true)";
    let (mut agent, run_dir, _dir) = on_a_tmpfs("size=16k,mode=755", fill);
    wait_for("it serves", || {
        UnixStream::connect(run_dir.api_socket()).is_ok()
    });
    assert_eq!(
        say_hello(&run_dir, &Hello::new(1)),
        Some(HelloResult::Accepted)
    );
    agent.kill().expect("kills");
    agent.wait().expect("ends");
}

#[test]
fn a_run_directory_without_room_for_a_socket_is_said_so() {
    let _machine = crate::in_company();
    if !is_root() {
        return;
    }
    // The root directory and the lock take an inode each.
    let (agent, _, _dir) = on_a_tmpfs("size=1m,nr_inodes=2,mode=755", "true");
    let out = agent.wait_with_output().expect("ends");
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        said.contains("No space left on device") && said.lines().count() == 1,
        "{said}"
    );
}
