//! Agents that die or stand still while clients wait at the gate.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xsched_common::gate::GateMode;
use xsched_common::platform::Platform;
use xsched_common::units::Class;
use xsched_testkit::fake_peer::FakePeer;
use xsched_testkit::{Agent, FakeClient, set_class, wait_for};

use crate::shim::scripted::ScriptedProgram;
use crate::{assert_prompt, times};

/// When the waiters of a dead agent run free: within the lease of 250 ms and
/// a heartbeat of 50, and as much as half of them may be late by on a machine
/// whose processors others have. `cargo xtask bench sched` holds them to 300.
const FREE: Duration = Duration::from_millis(400);

/// Launches that take most of a minute at a closed gate (trickle) and a few
/// milliseconds at an open one.
const LAUNCHES: &str = "worker 2000";

/// One that has not come through after so long is held.
const HELD: Duration = Duration::from_millis(60);

/// Programs under the real shim that wait at their gates, and what holds
/// them there.
struct Scene {
    scripted_programs: Vec<ScriptedProgram>,
    fake_peer: FakePeer,
    /// A client of this process, to look at.
    probe: FakeClient,
}

impl Scene {
    fn new(platform: Platform, agent: &Agent, scripted_programs: usize) -> Scene {
        let start = |_| {
            let mut scripted = ScriptedProgram::start_on(platform, &agent.run_dir.0);
            scripted.run("launch 1 0");
            scripted.run("sync");
            set_class(agent, scripted.pid(), Class::Low);
            scripted
        };
        Scene {
            scripted_programs: (0..scripted_programs).map(start).collect(),
            fake_peer: hold(agent),
            probe: probe(agent),
        }
    }

    /// Sends every scripted program to its gate and waits until it is held there. A
    /// row alone does not say so: it may be that of a connection which the
    /// agent has not yet seen end.
    fn wait_at_the_gate(&mut self, agent: &Agent) {
        for scripted in &mut self.scripted_programs {
            let pid = scripted.pid();
            let mut held = false;
            wait_for("a scripted waits at its gate", || {
                if !held {
                    scripted.begin(LAUNCHES);
                }
                held = scripted.answers_within(HELD).is_none();
                held && agent.row(pid)["gate"]["state"] == "closed"
            });
        }
    }

    /// From `since` until each scripted program has come through.
    fn run_free(&mut self, since: Instant) -> Vec<Duration> {
        self.scripted_programs
            .iter_mut()
            .map(|scripted| {
                assert_eq!(scripted.end().error, 0);
                since.elapsed()
            })
            .collect()
    }

    /// Launches now and then until all have joined `agent`.
    fn rejoin(&mut self, agent: &Agent) {
        for scripted in &mut self.scripted_programs {
            let pid = scripted.pid();
            wait_for("a scripted has joined again", || {
                scripted.run("launch 1 0");
                scripted.run("sync");
                agent.row(pid)["shim"] == "joined"
            });
        }
    }
}

/// A client of a high class that works without end.
fn hold(agent: &Agent) -> FakePeer {
    let mut fake_peer = FakePeer::start(&agent.run_dir);
    set_class(agent, fake_peer.child.id(), Class::High);
    fake_peer.tell("active");
    fake_peer
}

fn probe(agent: &Agent) -> FakeClient {
    let probe = FakeClient::join(&agent.run_dir);
    set_class(agent, std::process::id(), Class::Low);
    probe
}

fn random_pause(most: Duration) {
    use std::hash::{BuildHasher as _, RandomState};
    let part = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    std::thread::sleep(most.mul_f64(part));
}

/// kill -9 at random moments: everybody runs free, and joins the next agent.
fn waiters_of_a_killed_agent_run_free_and_join_the_next(platform: Platform) {
    let _machine = crate::alone();
    let mut agent = Agent::start_without_min_share();
    let mut scene = Scene::new(platform, &agent, 3);
    let mut took = Vec::new();
    for _ in 0..times(4, 100) {
        scene.wait_at_the_gate(&agent);
        random_pause(Duration::from_millis(150));
        let died = Instant::now();
        let dir = agent.kill();
        took.extend(scene.run_free(died));
        agent = Agent::start_in_without_min_share(dir);
        scene.rejoin(&agent);
        // Nobody gives them their classes again.
        for scripted in &scene.scripted_programs {
            wait_for("its class is as it was", || {
                agent.row(scripted.pid())["class"] == "low"
            });
        }
        scene.fake_peer = hold(&agent);
        scene.probe = probe(&agent);
    }
    assert_prompt("free after the agent was killed", took, FREE);
    for scripted in scene.scripted_programs {
        scripted.quit();
    }
}

/// A stopped agent is as good as dead, and one that goes on finds its
/// clients gone, takes them back, and holds them as before.
fn waiters_of_a_stopped_agent_run_free_and_come_back(platform: Platform) {
    let _machine = crate::alone();
    let agent = Agent::start_without_min_share();
    let mut scene = Scene::new(platform, &agent, 2);
    let pid = Pid::from_raw(agent.child.id().cast_signed()).expect("a pid");
    let mut took = Vec::new();
    for _ in 0..times(2, 20) {
        scene.wait_at_the_gate(&agent);
        random_pause(Duration::from_millis(150));
        let stopped = Instant::now();
        kill_process(pid, Signal::STOP).expect("stops");
        took.extend(scene.run_free(stopped));
        kill_process(pid, Signal::CONT).expect("goes on");
        scene.rejoin(&agent);
        // The classes are the agent's, not the connection's.
        for scripted in &scene.scripted_programs {
            wait_for("its class is as it was", || {
                agent.row(scripted.pid())["class"] == "low"
            });
        }
        scene
            .probe
            .wait_for_mode("held again", |mode| mode == GateMode::Closed);
    }
    assert_prompt("free after the agent was stopped", took, FREE);
    for scripted in scene.scripted_programs {
        scripted.quit();
    }
}

/// A short stop is no death: the lease is longer.
fn a_hiccup_of_the_agent_costs_nobody_its_place(platform: Platform) {
    let _machine = crate::alone();
    let agent = Agent::start();
    let scene = Scene::new(platform, &agent, 1);
    let pid = Pid::from_raw(agent.child.id().cast_signed()).expect("a pid");
    let joined = || agent.row(scene.scripted_programs[0].pid());
    wait_for("it is shown", || joined()["shim"] == "joined");
    let before = joined();
    for _ in 0..3 {
        kill_process(pid, Signal::STOP).expect("stops");
        std::thread::sleep(Duration::from_millis(80));
        kill_process(pid, Signal::CONT).expect("goes on");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(joined()["guards"]["lease"], before["guards"]["lease"]);
    assert_eq!(joined()["shim"], "joined");
}

on_each_platform! {
    waiters_of_a_killed_agent_run_free_and_join_the_next
    waiters_of_a_stopped_agent_run_free_and_come_back
    a_hiccup_of_the_agent_costs_nobody_its_place
}
