//! Agents that die or stand still while clients wait at the gate.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xsched_common::gate::GateMode;
use xsched_common::units::Class;
use xsched_testkit::rival::Rival;
use xsched_testkit::{Agent, FakeClient, set_class, wait_for};

use crate::shim::puppet::Puppet;
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
    puppets: Vec<Puppet>,
    rival: Rival,
    /// A client of this process, to look at.
    probe: FakeClient,
}

impl Scene {
    fn new(agent: &Agent, puppets: usize) -> Scene {
        let start = |_| {
            let mut puppet = Puppet::start(&agent.run_dir.0);
            puppet.run("launch 1 0");
            puppet.run("sync");
            set_class(agent, puppet.pid(), Class::Low);
            puppet
        };
        Scene {
            puppets: (0..puppets).map(start).collect(),
            rival: hold(agent),
            probe: probe(agent),
        }
    }

    /// Sends every puppet to its gate and waits until it is held there. A
    /// row alone does not say so: it may be that of a connection which the
    /// agent has not yet seen end.
    fn wait_at_the_gate(&mut self, agent: &Agent) {
        for puppet in &mut self.puppets {
            let pid = puppet.pid();
            let mut held = false;
            wait_for("a puppet waits at its gate", || {
                if !held {
                    puppet.begin(LAUNCHES);
                }
                held = puppet.answers_within(HELD).is_none();
                held && agent.row(pid)["gate"]["state"] == "closed"
            });
        }
    }

    /// From `since` until each puppet has come through.
    fn run_free(&mut self, since: Instant) -> Vec<Duration> {
        self.puppets
            .iter_mut()
            .map(|puppet| {
                assert_eq!(puppet.end().error, 0);
                since.elapsed()
            })
            .collect()
    }

    /// Launches now and then until all have joined `agent`.
    fn rejoin(&mut self, agent: &Agent) {
        for puppet in &mut self.puppets {
            let pid = puppet.pid();
            wait_for("a puppet has joined again", || {
                puppet.run("launch 1 0");
                puppet.run("sync");
                agent.row(pid)["shim"] == "joined"
            });
        }
    }
}

/// A client of a high class that works without end.
fn hold(agent: &Agent) -> Rival {
    let mut rival = Rival::start(&agent.run_dir);
    set_class(agent, rival.child.id(), Class::High);
    rival.tell("active");
    rival
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
#[test]
fn waiters_of_a_killed_agent_run_free_and_join_the_next() {
    let _machine = crate::alone();
    let mut agent = Agent::start_without_min_share();
    let mut scene = Scene::new(&agent, 3);
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
        for puppet in &scene.puppets {
            wait_for("its class is as it was", || {
                agent.row(puppet.pid())["class"] == "low"
            });
        }
        scene.rival = hold(&agent);
        scene.probe = probe(&agent);
    }
    assert_prompt("free after the agent was killed", took, FREE);
    for puppet in scene.puppets {
        puppet.quit();
    }
}

/// A stopped agent is as good as dead, and one that goes on finds its
/// clients gone, takes them back, and holds them as before.
#[test]
fn waiters_of_a_stopped_agent_run_free_and_come_back() {
    let _machine = crate::alone();
    let agent = Agent::start_without_min_share();
    let mut scene = Scene::new(&agent, 2);
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
        for puppet in &scene.puppets {
            wait_for("its class is as it was", || {
                agent.row(puppet.pid())["class"] == "low"
            });
        }
        scene
            .probe
            .wait_for_mode("held again", |mode| mode == GateMode::Closed);
    }
    assert_prompt("free after the agent was stopped", took, FREE);
    for puppet in scene.puppets {
        puppet.quit();
    }
}

/// A short stop is no death: the lease is longer.
#[test]
fn a_hiccup_of_the_agent_costs_nobody_its_place() {
    let _machine = crate::alone();
    let agent = Agent::start();
    let scene = Scene::new(&agent, 1);
    let pid = Pid::from_raw(agent.child.id().cast_signed()).expect("a pid");
    let joined = || agent.row(scene.puppets[0].pid());
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
