//! An agent that lives and gets too little processor time: its clients keep
//! their places.

use std::process::{Child, Command};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use xsched_testkit::{Agent, FakeClient, wait_for};

use crate::is_root;

/// Busy loops for each processor.
const LOOPS: usize = 4;

/// What a client waits for a heartbeat before it runs free.
const LEASE: Duration = Duration::from_millis(250);

struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Busy {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let each = |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]);
            command.spawn().expect("starts")
        };
        Busy((0..LOOPS * processors).map(each).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The heaviest load that niceness makes: it had clients join and leave over
/// and over.
#[test]
fn clients_of_a_starved_agent_keep_their_places() {
    if !is_root() {
        return;
    }
    let agent = Agent::start();
    let pid = agent.child.id().to_string();
    let client = FakeClient::join(&agent.run_dir);
    wait_for("it has joined", || !agent.rows().is_empty());
    // All threads but the watchdog, which came before the others already.
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    for task in tasks.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.trim() != "watchdog" {
            let tid = task.file_name().into_string().expect("a number");
            let renice = Command::new("renice")
                .args(["-n", "19", "-p", &tid])
                .output();
            assert!(renice.expect("runs").status.success());
        }
    }
    let _busy = Busy::start();
    let heartbeat = || client.control().heartbeat.load(Relaxed);
    let (mut seen, mut at) = (heartbeat(), Instant::now());
    let mut longest = Duration::ZERO;
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        // This thread starves as well: a gap that it slept through is none.
        let before = Instant::now();
        std::thread::sleep(Duration::from_millis(5));
        let slept = before.elapsed();
        let now = heartbeat();
        if now != seen {
            longest = longest.max(at.elapsed().saturating_sub(slept));
            (seen, at) = (now, Instant::now());
        }
    }
    assert!(longest < LEASE, "a heartbeat came after {longest:?}");
}
