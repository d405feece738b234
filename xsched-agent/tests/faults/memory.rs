//! An agent whose control group has no memory left, as in a container with a
//! limit that is too small.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use xsched_common::gate::GateMode;
use xsched_testkit::{Agent, FakeClient, wait_for};

use crate::is_root;
use crate::standstill::held;

/// A control group with a limit of memory.
struct Group {
    path: PathBuf,
    usage: &'static str,
    limit: &'static str,
}

impl Group {
    /// Of either version of control groups. `None`, said loudly, where none
    /// can be made.
    fn new() -> Option<Group> {
        let kinds = [
            (
                "/sys/fs/cgroup/memory",
                "memory.usage_in_bytes",
                "memory.limit_in_bytes",
            ),
            ("/sys/fs/cgroup", "memory.current", "memory.max"),
        ];
        for (root, usage, limit) in kinds {
            let name = format!("xsched-test-memory-{}", std::process::id());
            let path = PathBuf::from(root).join(name);
            if std::fs::create_dir(&path).is_err() {
                continue;
            }
            let group = Group { path, usage, limit };
            if group.path.join(limit).exists() {
                return Some(group);
            }
        }
        eprintln!("LEFT OUT: no control group that limits memory can be made here");
        None
    }

    fn take(&self, pid: u32) {
        std::fs::write(self.path.join("cgroup.procs"), pid.to_string()).expect("takes it");
    }

    /// Leaves room for `more` bytes.
    fn leave(&self, more: u64) {
        let usage = std::fs::read_to_string(self.path.join(self.usage)).expect("a group");
        let usage: u64 = usage.trim().parse().expect("bytes");
        std::fs::write(self.path.join(self.limit), (usage + more).to_string()).expect("limits");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::write(self.path.join(self.limit), "-1");
        let _ = std::fs::write(self.path.join(self.limit), "max");
        // A process leaves its group some time after it has been waited for.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The kernel kills it, or it refuses; nothing stands at a closed gate for
/// longer than the lease, and the next agent takes everybody over.
#[test]
fn an_agent_whose_group_has_no_memory_holds_nobody() {
    let _machine = crate::alone();
    let Some(group) = is_root().then(Group::new).flatten() else {
        return;
    };
    let mut agent = Agent::start();
    let (low, _high) = held(&agent);
    group.take(agent.child.id());
    group.leave(64 * 1024);
    // Each takes pages of its own, which are the agent's memory.
    let mut clients = Vec::new();
    let mut ended = None;
    for _ in 0..2_000 {
        clients.push(FakeClient::try_join(&agent.run_dir));
        ended = agent.child.try_wait().expect("waits");
        let refused = clients.iter().filter(|joined| joined.is_err()).count();
        if ended.is_some() || refused > 20 {
            break;
        }
    }
    let beat = || low.control().heartbeat.load(Relaxed);
    let before = beat();
    wait_for("it goes on, or is dead", || {
        ended = ended.or(agent.child.try_wait().expect("waits"));
        ended.is_some() || beat() > before + 4
    });
    let refused = clients.iter().filter(|joined| joined.is_err()).count();
    println!("{refused} of {} clients refused; {ended:?}", clients.len());
    let Some(status) = ended else {
        assert!(refused > 0, "the limit was never met");
        return;
    };
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    // The lease ends on the client's side: see the shim's own tests.
    let next = Agent::start_in(agent.kill());
    let again = FakeClient::join(&next.run_dir);
    assert_eq!(again.mode(), GateMode::Open);
}
