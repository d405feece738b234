//! The priorities of hardware queues, as an agent asks for them.

use crate::support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use support::agent::{Agent, Client};
use support::dialogue::Dialogue;
use support::{bin, cc, shared_library, source};
use xsched_common::page::QueuePriority;

/// How the program destroys its queues.
#[derive(Clone, Copy)]
enum Destroys {
    ByName,
    ByPointer,
}

/// The programs, compiled once.
fn compiled(destroys: Destroys) -> &'static Path {
    static COMPILED: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let programs = COMPILED.get_or_init(|| {
        let hsa = bin().join("libhsa-runtime64.so.1");
        let soname = "-Wl,-soname,libhsa-runtime64.so.1";
        shared_library("fake_hsa", &hsa, &[soname.as_ref()]);
        let runtime = bin().join("libamdhip64.so.5");
        let variants = [
            ("queues", "-DBY_NAME"),
            ("queues-by-pointer", "-DBY_POINTER"),
        ];
        variants.map(|(name, variant)| {
            let program = bin().join(name);
            cc(&[
                variant.as_ref(),
                source("queues.c").as_os_str(),
                runtime.as_os_str(),
                hsa.as_os_str(),
                "-o".as_ref(),
                program.as_os_str(),
            ]);
            program
        })
    });
    &programs[destroys as usize]
}

/// A program with queues of the fake library.
struct Program(Dialogue);

impl Program {
    fn start(agent: &Agent) -> Program {
        Program::that(agent, Destroys::ByName)
    }

    fn that(agent: &Agent, destroys: Destroys) -> Program {
        let mut command = Command::new(compiled(destroys));
        command
            .env("LD_LIBRARY_PATH", bin())
            .env("XSCHED_RUN_DIR", agent.dir())
            .env("LD_PRELOAD", support::shim());
        Program(Dialogue::begin(&mut command))
    }

    /// Says a line; what it answers.
    fn answer(&mut self, line: &str) -> String {
        self.0.say(line);
        self.0.line().trim().to_owned()
    }

    /// Says a line; each queue with its priority and how often that was set.
    fn run(&mut self, line: &str) -> String {
        let answer = self.answer(line);
        let queues = answer.strip_prefix("0");
        queues
            .unwrap_or_else(|| panic!("{line}: {answer}"))
            .trim()
            .to_owned()
    }
}

fn ask(client: &Client, priority: QueuePriority) {
    let word = &client.page().queue_priority;
    word.store(priority as u32, std::sync::atomic::Ordering::Relaxed);
}

#[test]
fn queues_follow_the_agent_and_what_the_program_chooses_stays() {
    let agent = Agent::start();
    let mut program = Program::start(&agent);
    assert_eq!(program.run("create 0"), "0:1/0");
    program.run("create 1");
    assert_eq!(program.run("choose 1 2"), "0:1/0 1:2/1");
    program.run("refused 7");
    assert_eq!(program.run("launch 20"), "0:1/0 1:2/1", "off by default");
    let process = agent.client(0);
    ask(&process, QueuePriority::Low);
    assert_eq!(program.run("launch 20"), "0:0/1 1:2/1");
    assert_eq!(
        program.run("create 2"),
        "0:0/1 1:2/1 2:0/1",
        "a later one, too"
    );
    assert_eq!(
        program.run("choose 2 2"),
        "0:0/1 1:2/1 2:2/2",
        "it chooses that"
    );
    ask(&process, QueuePriority::High);
    assert_eq!(program.run("launch 20"), "0:2/2 1:2/1 2:2/2");
    assert_eq!(program.run("launch 200"), "0:2/2 1:2/1 2:2/2", "once each");
    program.run("create 3");
    program.run("destroy 3");
    // Its child has none of them.
    program.run("fork 40");
    ask(&process, QueuePriority::Normal);
    assert_eq!(program.run("launch 20"), "0:1/3 1:2/1 2:2/2 3:2/1");
    ask(&process, QueuePriority::High);
    program.run("launch 20");
    agent.kill();
    support::eventually("the usual ones without an agent", || {
        std::thread::sleep(Duration::from_millis(20));
        // Under an open gate the lease is looked at every few thousand launches.
        program.run("launch 2000").starts_with("0:1/5 1:2/1 2:2/2")
    });
    program.0.say("quit");
}

/// The agent changes its mind between a queue's end and the next one, which may
/// have the same address.
#[test]
fn no_destroyed_queue_is_touched() {
    let agent = Agent::start();
    let mut program = Program::start(&agent);
    program.run("launch 1");
    let process = agent.client(0);
    for round in 0..50 {
        let (before, after) = match round % 2 {
            0 => (QueuePriority::High, QueuePriority::Low),
            _ => (QueuePriority::Low, QueuePriority::High),
        };
        ask(&process, before);
        program.run("create 0");
        program.run("launch 20");
        let destroyed = program.run("destroy 0");
        ask(&process, after);
        let sets = program.run("launch 20");
        assert_eq!(sets, destroyed, "round {round}");
    }
    program.0.say("quit");
}

/// What is destroyed without our knowing is not touched, as it may be gone.
#[test]
fn queues_that_end_by_a_pointer_are_left_alone() {
    let agent = Agent::start();
    let mut program = Program::that(&agent, Destroys::ByPointer);
    program.run("launch 1");
    ask(&agent.client(0), QueuePriority::High);
    assert_eq!(program.run("create 0"), "0:1/0");
    assert_eq!(program.run("launch 20"), "0:1/0");
    program.run("destroy 0");
    program.0.say("quit");
}

/// Nobody has asked a fork's child for anything.
#[test]
fn a_child_makes_its_queues_as_usual() {
    let agent = Agent::start();
    let mut program = Program::start(&agent);
    program.run("launch 1");
    ask(&agent.client(0), QueuePriority::High);
    program.run("create 0");
    assert_eq!(program.run("launch 20"), "0:2/1");
    let answer = program.answer("fork-create 1");
    assert_eq!(answer, "1 0:2/1", "the usual priority is 1");
    program.0.say("quit");
}
