//! Clients that die at any moment: the others go on.

use std::time::{Duration, Instant};

use xsched_common::gate::GateMode;
use xsched_common::platform::Platform;
use xsched_common::units::Class;
use xsched_testkit::fake_peer::FakePeer;
use xsched_testkit::{Agent, FakeClient, set_class, wait_for};

use crate::shim::scripted::ScriptedProgram;
use crate::{assert_prompt, times};

/// When a dead client holds nobody back any more, at the latest.
const RESUMED: Duration = Duration::from_millis(50);

/// Kills a high client in the middle of what `orders` make it do, again and
/// again; how long a low one's gate stayed closed after that.
fn killed_while(orders: &[&str], quick: usize) -> Vec<Duration> {
    let agent = Agent::start();
    let low = FakeClient::join(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    (0..times(quick, 100))
        .map(|_| {
            let mut high = FakePeer::start(&agent.run_dir);
            set_class(&agent, high.child.id(), Class::High);
            high.tell("active");
            low.wait_for_mode("held", |mode| mode == GateMode::Closed);
            for order in orders {
                high.tell(order);
            }
            let died = Instant::now();
            high.kill();
            low.wait_for_mode("free", |mode| mode == GateMode::Open);
            died.elapsed()
        })
        .collect()
}

#[test]
fn a_client_killed_while_active_frees_the_others() {
    let _machine = crate::alone();
    assert_prompt(
        "free after an active client died",
        killed_while(&[], 10),
        RESUMED,
    );
}

#[test]
fn a_client_killed_while_it_writes_its_page_frees_the_others() {
    let _machine = crate::alone();
    let took = killed_while(&["flip"], 10);
    assert_prompt("free after a client died in its page", took, RESUMED);
}

/// Two programs wait; one is killed at the gate. The other notices nothing,
/// and goes when the holder does.
fn a_client_killed_at_the_gate_costs_the_others_nothing(platform: Platform) {
    let _machine = crate::alone();
    let agent = Agent::start_without_min_share();
    let low = |agent: &Agent| {
        let mut scripted = ScriptedProgram::start_on(platform, &agent.run_dir.0);
        scripted.run("launch 1 0");
        scripted.run("sync");
        set_class(agent, scripted.pid(), Class::Low);
        scripted
    };
    let mut survivor = low(&agent);
    let mut took = Vec::new();
    for _ in 0..times(4, 100) {
        let mut high = FakePeer::start(&agent.run_dir);
        set_class(&agent, high.child.id(), Class::High);
        high.tell("active");
        let mut victim = low(&agent);
        victim.begin("worker 2000");
        survivor.begin("worker 2000");
        let waits = |pid: u32| agent.row(pid)["gate"]["state"] == "closed";
        wait_for("both wait", || waits(victim.pid()) && waits(survivor.pid()));
        drop(victim);
        assert!(
            survivor.answers_within(Duration::from_millis(30)).is_none(),
            "the survivor is still held"
        );
        let idle = Instant::now();
        high.tell("idle");
        assert_eq!(survivor.end().error, 0);
        took.push(idle.elapsed());
        high.kill();
    }
    // 2,000 launches at a cap beside the opened gate: some milliseconds.
    assert_prompt("a survivor's launches", took, RESUMED * 4);
    survivor.quit();
}

/// A client that says it has work and never does anything more does not hold
/// the others for ever.
#[test]
fn a_client_that_is_always_active_is_not_believed_for_ever() {
    let _machine = crate::alone();
    let agent = Agent::start();
    let low = FakeClient::join(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    let mut liar = FakePeer::start(&agent.run_dir);
    set_class(&agent, liar.child.id(), Class::High);
    liar.tell("claim");
    low.wait_for_mode("held", |mode| mode == GateMode::Closed);
    let start = Instant::now();
    // What counts is that it no longer holds anybody, whatever the cap.
    low.wait_for_mode("let through", |mode| mode != GateMode::Closed);
    std::thread::sleep(Duration::from_millis(1500));
    assert_ne!(low.mode(), GateMode::Closed, "for good");
    println!("not believed after {:.1?}", start.elapsed());
    liar.tell("idle");
    liar.tell("active");
    low.wait_for_mode("held by real work", |mode| mode == GateMode::Closed);
}

/// Children that join, launch, and are gone.
fn a_bomb_of_forks_leaves_nothing_behind(platform: Platform) {
    let _machine = crate::alone();
    let agent = Agent::start();
    let before = agent.descriptors();
    let scripted_programs: Vec<ScriptedProgram> = (0..4)
        .map(|_| ScriptedProgram::start_on(platform, &agent.run_dir.0))
        .collect();
    let rounds = times(15, 250);
    std::thread::scope(|scope| {
        for mut scripted in scripted_programs {
            scope.spawn(move || {
                for _ in 0..rounds {
                    assert_eq!(scripted.ask("fork 3 0").error, 0);
                }
                scripted.quit();
            });
        }
    });
    wait_for("every descriptor is returned", || {
        agent.descriptors() <= before + 2
    });
    let client = FakeClient::join(&agent.run_dir);
    assert_eq!(client.mode(), GateMode::Open);
}

on_each_platform! {
    a_client_killed_at_the_gate_costs_the_others_nothing
    a_bomb_of_forks_leaves_nothing_behind
}
