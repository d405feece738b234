//! Class groups of one process, seen from an agent.

use crate::support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use support::agent::{Agent, Manner};
use support::eventually;
use support::scripted::ScriptedProgram;
use xsched_common::gate::GateMode;
use xsched_common::handshake::{Origin, Part, Wish};
use xsched_common::page::{Ceilings, HintPolicy};
use xsched_common::units::Class;

const MS: Duration = Duration::from_millis(1);

fn wish(class: Class) -> Part {
    Part::Group(Wish {
        class,
        origin: Origin::Hint,
    })
}

/// The process of these tests is of class low: that is what a page says that
/// nobody has written to.
#[test]
fn a_group_joins_for_itself_and_has_a_gate_of_its_own() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let process = agent.client(0);
    assert_eq!(process.hello.part, Part::Process);
    scripted.run("class 1");
    scripted.run("launch 1 0");
    let group = agent.client(1);
    assert_eq!(group.hello.part, wish(Class::Normal));
    assert_eq!(
        group.status().device_count.load(Relaxed),
        process.status().device_count.load(Relaxed)
    );
    assert_eq!(group.device(0).pci(), process.device(0).pci());

    group.set(0, GateMode::Closed);
    let held = scripted.run("launch 1 0");
    assert!(held >= 14 * MS, "its gate is closed: {held:?}");
    scripted.run("class -1");
    let free = scripted.run("launch 1 0");
    assert!(free < 10 * MS, "the process's is open: {free:?}");
    process.set(0, GateMode::Closed);
    group.set(0, GateMode::Open);
    scripted.run("class 1");
    let free = scripted.run("launch 1 0");
    assert!(free < 10 * MS, "and the reverse: {free:?}");
    // Launches are the process's, waits the group's.
    assert_eq!(process.status().launch_totals().total(), 5);
    assert_eq!(group.status().launch_totals().total(), 0);
    assert_eq!(
        (
            process.status().waits.load(Relaxed),
            group.status().waits.load(Relaxed)
        ),
        (0, 1)
    );
    scripted.quit();
}

#[test]
fn a_stream_has_its_class_whoever_launches_on_it() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    scripted.run("create 1");
    scripted.run("streamclass 1 2");
    scripted.run("launch 1 1");
    let group = agent.client(1);
    assert_eq!(group.hello.part, wish(Class::High));
    group.set(0, GateMode::Closed);
    assert!(scripted.run("launch 1 1") >= 14 * MS);
    assert!(scripted.run("launch 1 0") < 10 * MS);
    scripted.run("destroy 1");
    scripted.run("create 1");
    assert!(
        scripted.run("launch 1 1") < 10 * MS,
        "it ended with the stream"
    );
    scripted.quit();
}

#[test]
fn an_agent_from_before_groups_is_not_asked_for_one() {
    let agent = Agent::start_with(Manner::BeforeGroups);
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("class 1");
    scripted.run("launch 5 0");
    scripted.run("sync");
    std::thread::sleep(100 * MS);
    scripted.run("launch 5 0");
    assert_eq!(agent.joined(), 1);
    assert_eq!(agent.client(0).status().launch_totals().total(), 10);
    scripted.quit();
}

#[test]
fn groups_leave_and_join_with_their_process() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    scripted.run("class 1");
    scripted.run("launch 1 0");
    let group = agent.client(1);
    group.set(0, GateMode::Closed);
    scripted.begin("threads 1 1");
    let dir = agent.kill();
    assert_eq!(
        scripted.end().error,
        0,
        "nobody waits for an agent that is gone"
    );
    scripted.begin("launch 50 0");
    scripted.end();
    let next = Agent::start_in(dir, Manner::Normal);
    eventually("both join the next agent", || {
        scripted.run("launch 1 0");
        std::thread::sleep(20 * MS);
        next.joined() == 2
    });
    let parts = [next.client(0).hello.part, next.client(1).hello.part];
    assert_eq!(parts, [Part::Process, wish(Class::Normal)]);
    scripted.quit();
}

#[test]
fn a_fork_s_child_is_in_no_group_of_its_parent() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    scripted.run("class 1");
    eventually("the group joins", || {
        scripted.run("launch 1 0");
        agent.joined() == 2
    });
    let before = agent.client(0).status().launch_totals().total();
    scripted.run("fork 3");
    let parts: Vec<Part> = (2..4).map(|n| agent.client(n).hello.part).collect();
    assert_eq!(
        parts,
        [Part::Process, wish(Class::Normal)],
        "its hint is its own"
    );
    assert_eq!(agent.client(0).status().launch_totals().total(), before);
    scripted.quit();
}

#[test]
fn a_group_that_is_what_its_process_is_has_no_gate_of_its_own() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let process = agent.client(0);
    for (at, class) in [(1, Class::Normal), (2, Class::High)] {
        scripted.run(&format!("class {at}"));
        scripted.run("launch 1 0");
        let group = agent.client(at);
        assert_eq!(group.hello.part, wish(class));
        group.set(0, GateMode::Closed);
        assert!(scripted.run("launch 1 0") >= 14 * MS);
        group.set_class(Class::Low);
        assert!(scripted.run("launch 1 0") < 10 * MS, "refused");
    }
    // Two of one class have the first one's.
    agent.client(1).set_class(Class::High);
    agent.client(2).set_class(Class::High);
    agent.client(2).set(0, GateMode::Open);
    process.set(0, GateMode::Open);
    assert!(scripted.run("launch 1 0") >= 14 * MS);
    scripted.quit();
}

#[test]
fn what_a_higher_group_waits_for_passes_as_far_as_that_one_may() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let process = agent.client(0);
    process.set_class(Class::High);
    scripted.run("kernel_us 3000");
    scripted.run("create 1");
    scripted.run("streamclass 1 1");
    scripted.run("launch 1 1");
    scripted.run("sync");
    let group = agent.client(1);
    let mut behind = |mode| {
        process.set(0, mode);
        group.set(0, GateMode::Closed);
        let took = scripted.run("behind 1 8");
        group.set(0, GateMode::Open);
        process.set(0, GateMode::Open);
        scripted.run("sync");
        took
    };
    let (free, held) = (behind(GateMode::Open), behind(GateMode::Closed));
    assert!(
        free * 2 < held,
        "{free:?}, and {held:?} where both are closed"
    );
    scripted.quit();
}

/// Four wishes of a program whose agent refuses three of them: the fourth, which is
/// a rule's, has a place all the same, and nobody joins twice.
#[test]
fn refused_wishes_make_room_for_others() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let process = agent.client(0);
    let refused = [Class::Normal, Class::High, Class::Realtime];
    for (at, class) in (1..).zip(refused) {
        scripted.run(&format!("class {}", class as u32));
        scripted.run("launch 1 0");
        let group = agent.client(at);
        assert_eq!(group.hello.part, wish(class));
        group.set_class(Class::Low);
    }
    std::thread::sleep(1100 * MS);
    let rules = [("*".parse().expect("a pattern"), Class::High)];
    let ceilings = Ceilings::default();
    process
        .page()
        .threads
        .write(&rules, HintPolicy::Within, ceilings);
    scripted.run("class -1");
    eventually("the rule's group joins", || {
        scripted.run("launch 20 0");
        agent.joined() == 5
    });
    let group = agent.client(4);
    let by_rule = Wish {
        class: Class::High,
        origin: Origin::Rule,
    };
    assert_eq!(group.hello.part, Part::Group(by_rule));
    assert!((1..4).any(|at| agent.client(at).hung_up()), "one made room");
    group.set(0, GateMode::Closed);
    assert!(scripted.run("launch 1 0") >= 14 * MS, "a gate of its own");
    group.set(0, GateMode::Open);
    let end = std::time::Instant::now() + 3000 * MS;
    let mut joined = 0;
    while std::time::Instant::now() < end {
        for class in ["1", "2", "3", "-1"] {
            scripted.run(&format!("class {class}"));
            scripted.run("launch 20 0");
            for at in (1..agent.joined()).filter(|at| *at != 4) {
                agent.client(at).set_class(Class::Low);
            }
        }
        joined = agent.joined();
    }
    // The rules have changed since the first three: one more try of each at most.
    assert!(joined <= 8, "{joined} sessions");
    scripted.quit();
}

/// A thread that asks how it stands and launches nothing takes no place.
#[test]
fn a_hint_without_work_takes_no_place() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let process = agent.client(0);
    for class in ["1", "2", "3"] {
        scripted.run(&format!("asks {class}"));
    }
    let rules = [("*".parse().expect("a pattern"), Class::High)];
    let ceilings = Ceilings::default();
    process
        .page()
        .threads
        .write(&rules, HintPolicy::Within, ceilings);
    eventually("the rule's group joins", || {
        scripted.run("launch 20 0");
        agent.joined() == 2
    });
    let by_rule = Wish {
        class: Class::High,
        origin: Origin::Rule,
    };
    assert_eq!(agent.client(1).hello.part, Part::Group(by_rule));
    scripted.quit();
}

#[test]
fn a_destroyed_stream_has_no_class() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    for round in 0..200 {
        let stream = 1 + round % 2;
        scripted.run(&format!("create {stream}"));
        // An error would be that there is no room.
        scripted.run(&format!("streamclass {stream} 2"));
        scripted.run(&format!("destroy {stream}"));
    }
    scripted.quit();
}
