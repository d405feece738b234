//! Agents that die and processes that fork.

use crate::support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use support::agent::{Agent, Manner};
use support::eventually;
use support::scripted::ScriptedProgram;
use xsched_common::gate::{GateMode, Guard};

const MS: Duration = Duration::from_millis(1);

#[test]
fn waiters_run_free_when_the_agent_dies_and_find_the_next_one() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let client = agent.client(0);
    client.set(0, GateMode::Closed);
    // Workers wait 100 ms per launch; four threads, one of them first.
    scripted.begin("threads 4 200");
    eventually("waiting", || client.device(0).waiting.load(Relaxed) >= 3);
    let died = Instant::now();
    let dir = agent.kill();
    let answer = scripted.end();
    let free_after = died.elapsed();
    assert_eq!(answer.error, 0);
    assert!(free_after < 600 * MS, "{free_after:?}");
    assert!(client.status().guards[Guard::Lease as usize].load(Relaxed) >= 1);
    assert!(scripted.run("launch 100 0") < 40 * MS);
    assert_eq!(scripted.stat("launches"), 1 + 800 + 100);

    let next = Agent::start_in(dir, Manner::Normal);
    eventually("joining the next agent", || {
        scripted.run("launch 1 0");
        std::thread::sleep(20 * MS);
        next.joined() == 1
    });
    next.client(0).set(0, GateMode::Closed);
    assert!(scripted.run("launch 1 0") >= 14 * MS);
    scripted.quit();
}

#[test]
fn a_process_under_an_open_gate_finds_a_restarted_agent() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    scripted.run("sync");
    let client = agent.client(0);
    let next = Agent::start_in(agent.kill(), Manner::Normal);
    eventually("joining the next agent", || {
        scripted.run("launch 1 0");
        scripted.run("sync");
        std::thread::sleep(20 * MS);
        next.joined() == 1
    });
    assert!(client.hung_up());
}

#[test]
fn an_idle_process_keeps_its_agent() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    for _ in 0..3 {
        scripted.run("launch 1 0");
        scripted.run("sync");
        std::thread::sleep(400 * MS);
    }
    assert_eq!(agent.joined(), 1);
}

#[test]
fn a_forks_child_starts_afresh() {
    // A process joins with its first launch.
    for (first, parents) in [("launch 0 0", 0), ("launch 5 0", 1)] {
        let agent = Agent::start();
        let mut scripted = ScriptedProgram::start(agent.dir());
        scripted.run(first);
        let before = (parents == 1).then(|| agent.client(0).status().launch_totals().total());
        scripted.run("fork 7 0");
        let child = agent.client(parents);
        assert_ne!(child.hello.pid, scripted.pid());
        assert_eq!(child.status().launch_totals().total(), 7);
        eventually("the child's end", || child.hung_up());
        if let Some(before) = before {
            let parent = agent.client(0);
            assert_eq!(parent.status().launch_totals().total(), before);
            assert!(!parent.hung_up());
        }
        scripted.run("launch 3 0");
        scripted.run("sync");
    }
}

#[test]
fn a_childs_copy_does_not_keep_the_parents_connection() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let parent = agent.client(0);
    // The child lives for a second after the parent was killed.
    scripted.begin("fork 0 1000000");
    std::thread::sleep(100 * MS);
    let died = Instant::now();
    drop(scripted);
    eventually("hanging up", || parent.hung_up());
    assert!(died.elapsed() < 700 * MS);
}

#[test]
fn a_fork_at_a_closed_gate_is_free_of_it() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    agent.client(0).set(0, GateMode::Closed);
    assert!(scripted.run("fork 20 0") < 200 * MS);
}

#[test]
fn exec_joins_anew() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 2 0");
    let before = agent.client(0);
    scripted.begin("exec");
    eventually("hanging up", || before.hung_up());
    scripted.run("launch 3 0");
    let after = agent.client(1);
    assert_eq!(after.hello.pid, scripted.pid());
    assert_eq!(after.status().launch_totals().total(), 3);
}

#[test]
fn a_program_that_closes_our_descriptors_goes_on() {
    use xsched_common::page::Edges;
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    scripted.run("sync");
    let client = agent.client(0);
    client.want(0, Edges::ACTIVE.with(Edges::IDLE));
    client.rings();
    scripted.run("closefds");
    for _ in 0..3 {
        scripted.run("launch 1 0");
        scripted.run("sync");
    }
    assert_eq!(client.rings(), 0);
    assert!(client.hung_up());
    scripted.quit();
}

#[test]
fn constructors_and_handlers_at_exit_launch_as_natively() {
    use support::{Preload, bin, program, shared_library, stdout_of};
    let nowhere = tempfile::tempdir().expect("a directory");
    let library = nowhere.path().join("libconstructor.so");
    let runtime = bin().join("libamdhip64.so.5");
    shared_library(
        "constructor",
        &library,
        &[runtime.as_os_str(), "-pthread".as_ref()],
    );
    let launches = |preload, dir: &std::path::Path| {
        stdout_of(program("constructor", preload, dir).arg(&library))
    };
    // 11 in each constructor, 5 at exit.
    let native = launches(Preload::Nothing, nowhere.path());
    assert_eq!(native.trim(), "27");
    assert_eq!(launches(Preload::Shim, nowhere.path()), native);
    let agent = Agent::start();
    assert_eq!(launches(Preload::Shim, agent.dir()), native);
    let totals = agent.client(0).status().launch_totals();
    assert!((1..=27).contains(&totals.total()), "{totals:?}");
}

#[test]
fn launches_count_while_many_threads_join() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("threads 32 50");
    scripted.run("sync");
    assert_eq!(agent.joined(), 1);
    assert_eq!(scripted.stat("launches"), 32 * 50);
    let client = agent.client(0);
    assert_eq!(client.device(0).in_flight.load(Relaxed), 0);
    scripted.quit();
}
