//! Agents and clients that a control group freezes, as container runtimes and
//! checkpointing do.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use xsched_common::gate::GateMode;
use xsched_testkit::{Agent, wait_for};

use crate::is_root;
use crate::standstill::held;

/// A control group that freezes who is in it; everybody leaves it thawed.
struct Freezer {
    group: PathBuf,
    /// The file, what it takes to freeze, and what to thaw.
    states: [&'static str; 3],
}

impl Freezer {
    /// Of either version of control groups. `None`, said loudly, where none
    /// can be made.
    fn new(name: &str) -> Option<Freezer> {
        let name = format!("xsched-test-{name}-{}", std::process::id());
        let kinds = [
            (
                "/sys/fs/cgroup/freezer",
                ["freezer.state", "FROZEN", "THAWED"],
            ),
            ("/sys/fs/cgroup", ["cgroup.freeze", "1", "0"]),
            ("/sys/fs/cgroup/unified", ["cgroup.freeze", "1", "0"]),
        ];
        for (root, states) in kinds {
            let group = PathBuf::from(root).join(&name);
            if std::fs::create_dir(&group).is_ok() {
                let freezer = Freezer { group, states };
                if freezer.group.join(states[0]).exists() {
                    return Some(freezer);
                }
            }
        }
        eprintln!("LEFT OUT: no control group with a freezer can be made here");
        None
    }

    fn take(&self, pid: u32) {
        std::fs::write(self.group.join("cgroup.procs"), pid.to_string()).expect("takes it");
    }

    fn freeze(&self) {
        let [file, frozen, _] = self.states;
        std::fs::write(self.group.join(file), frozen).expect("freezes");
    }

    fn thaw(&self) {
        let [file, _, thawed] = self.states;
        std::fs::write(self.group.join(file), thawed).expect("thaws");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let [file, _, thawed] = self.states;
        let _ = std::fs::write(self.group.join(file), thawed);
        let parent = self
            .group
            .parent()
            .map(|parent| parent.join("cgroup.procs"));
        let procs = std::fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            let _ = parent.as_ref().map(|parent| std::fs::write(parent, pid));
        }
        let _ = std::fs::remove_dir(&self.group);
    }
}

/// Longer than the watchdog's patience with a thread that hangs: a frozen
/// agent does not.
#[test]
fn a_frozen_agent_goes_on_when_it_is_thawed() {
    let _machine = crate::alone();
    let Some(freezer) = is_root().then(|| Freezer::new("agent")).flatten() else {
        return;
    };
    let mut agent = Agent::start();
    let (low, _high) = held(&agent);
    freezer.take(agent.child.id());
    freezer.freeze();
    let beat = || low.control().heartbeat.load(Relaxed);
    wait_for("its heart stands still", || {
        let before = beat();
        std::thread::sleep(Duration::from_millis(300));
        beat() == before
    });
    std::thread::sleep(Duration::from_secs(3));
    freezer.thaw();
    let before = beat();
    wait_for("its heart beats", || beat() > before + 30);
    assert_eq!(low.mode(), GateMode::Closed);
    assert!(agent.child.try_wait().expect("waits").is_none(), "it lives");
}

#[test]
fn a_frozen_client_holds_nobody_for_ever() {
    let _machine = crate::alone();
    let Some(freezer) = is_root().then(|| Freezer::new("client")).flatten() else {
        return;
    };
    let agent = Agent::start();
    let (low, high) = held(&agent);
    freezer.take(high.child.id());
    freezer.freeze();
    low.wait_for_mode("let through", |mode| mode != GateMode::Closed);
    freezer.thaw();
    low.wait_for_mode("closed: it is at work again", |mode| {
        mode == GateMode::Closed
    });
}
