//! Programs and surroundings that no shim expects: each case here once hurt,
//! or would hurt, a program that runs well without the shim.

use crate::support;

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use support::agent::{Agent, Client, Manner};
use support::dialogue::Dialogue;
use support::scripted::ScriptedProgram;
use support::simulated::Simulated;
use support::{Guard, Preload, eventually, program, release_shim, shared_library, shim, stdout_of};
use xsched_common::gate::GateMode;
use xsched_common::page::Edges;

fn accident(what: &str, dir: &Path) -> Command {
    let mut command = program("accidents", Preload::Shim, dir);
    command.arg(what);
    command
}

fn joined(agent: &Agent, command: &mut Command) -> (Dialogue, std::sync::Arc<Client>) {
    let mut dialogue = Dialogue::begin(command);
    assert_eq!(dialogue.line(), "joined");
    (dialogue, agent.client(0))
}

#[test]
fn an_interposer_before_the_shim_is_not_led_in_circles() {
    let dir = tempfile::tempdir().expect("a directory");
    let interposer = dir.path().join("libinterposer.so");
    shared_library("interposer", &interposer, &[]);
    for order in [[&*interposer, &*shim()], [&*shim(), &*interposer]] {
        let preload = order.map(|path| path.to_str().expect("UTF-8")).join(":");
        let mut command = accident("lookup", dir.path());
        command.arg("libamdhip64.so.5").env("LD_PRELOAD", &preload);
        assert_eq!(stdout_of(&mut command), "1 1\n", "{preload}");
    }
}

/// Such a program looks the real one up when it is first called: whoever
/// calls it amid a look-up comes back to where he was.
#[test]
fn a_program_may_have_a_dl_iterate_phdr_of_its_own() {
    let agent = Agent::start();
    for (disabled, joined) in [("0", 1), ("1", 0)] {
        let before = agent.joined();
        let mut command = program("phdr", Preload::Shim, agent.dir());
        command.env("XSCHED_DISABLE", disabled);
        assert_eq!(
            stdout_of(&mut command),
            "1 0 0 1 20\n",
            "disabled: {disabled}"
        );
        assert_eq!(agent.joined() - before, joined);
    }
}

#[test]
fn a_closed_standard_error_kills_nobody() {
    let agent = Agent::start();
    let (reader, writer) = support::pipe(0);
    drop(reader);
    let mut command = accident("launch", agent.dir());
    command.env("XSCHED_VERBOSE", "1").stderr(writer);
    let child = command.stdout(Stdio::piped()).spawn().expect("starts");
    let _guard = Guard::watch(&child);
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(output.stdout, b"0\n");
}

#[test]
fn a_standard_error_that_nobody_reads_holds_nobody_up() {
    let agent = Agent::start();
    let (reader, writer) = support::pipe(0);
    // Full to the last byte.
    set_flags(&writer, libc::O_NONBLOCK);
    let mut full = std::fs::File::from(writer.try_clone().expect("dup"));
    while full.write(&[b'x'; 4096]).is_ok() {}
    while full.write(b"x").is_ok() {}
    set_flags(&writer, 0);
    let begun = Instant::now();
    let mut command = accident("launch", agent.dir());
    command.env("XSCHED_VERBOSE", "1").stderr(writer);
    let child = command.stdout(Stdio::piped()).spawn().expect("starts");
    let _guard = Guard::watch(&child);
    let output = child.wait_with_output().expect("ends");
    drop(reader);
    assert_eq!(output.stdout, b"0\n");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_program_without_memory_goes_on() {
    let agent = Agent::start();
    assert_eq!(stdout_of(&mut accident("memory", agent.dir())), "0 5\n");
    assert_eq!(agent.joined(), 0, "joining takes memory");
}

/// One that calls setenv in one thread and launches in others, which is as
/// it may be natively, must not find the shim reading its environment.
#[test]
fn the_environment_is_read_before_main_and_no_more() {
    let agent = Agent::start_with(Manner::OtherAbi);
    let mut command = accident("environment", agent.dir());
    assert_eq!(stdout_of(&mut command), "1 10\n");
    assert_eq!(agent.accepted(), 2, "it has tried again");
}

#[test]
fn a_sandboxed_program_keeps_its_errno() {
    let agent = Agent::start();
    assert_eq!(
        stdout_of(&mut accident("sandbox", agent.dir())),
        "0 5 4242\n"
    );
}

#[test]
fn a_file_in_standard_errors_place_stays_as_it_is() {
    let agent = Agent::start();
    let mut talkative = accident("launch", agent.dir());
    let said = support::run(talkative.env("XSCHED_VERBOSE", "1")).stderr;
    assert!(String::from_utf8_lossy(&said).contains("joined the agent"));
    let before = agent.joined();
    // Until one has something to say: on a busy machine the agent's answer may
    // come later than the shim waits for it.
    for _ in 0..5 {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = accident("stderr", agent.dir());
        command
            .arg(dir.path().join("data"))
            .env("XSCHED_VERBOSE", "1");
        assert_eq!(stdout_of(&mut command), "2 0 0\n");
        if agent.joined() > before {
            return;
        }
    }
    panic!("none of five has joined");
}

/// The system calls that README lists as "working", by number.
fn working_calls() -> Vec<(&'static str, i64)> {
    let numbers = [
        ("futex", libc::SYS_futex),
        ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
        ("sched_yield", libc::SYS_sched_yield),
        ("sigaltstack", libc::SYS_sigaltstack),
        ("fstat", libc::SYS_fstat),
        ("write", libc::SYS_write),
        ("close", libc::SYS_close),
        ("mmap", libc::SYS_mmap),
        ("munmap", libc::SYS_munmap),
        ("readlink", libc::SYS_readlink),
        ("clock_gettime", libc::SYS_clock_gettime),
        ("prctl", libc::SYS_prctl),
        ("membarrier", libc::SYS_membarrier),
    ];
    let listed: Vec<&str> = include_str!("../README.md")
        .lines()
        .filter(|line| line.contains("` | working | "))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(listed, numbers.map(|(name, _)| name), "README");
    numbers.to_vec()
}

/// A program that allows itself only what it needs, and the calls that we
/// say we make, is not killed at a closed gate; without `futex` it would be.
#[test]
fn a_filter_that_allows_what_the_readme_lists_kills_nobody() {
    let calls = working_calls();
    for left_out in [None, Some("futex")] {
        let agent = Agent::start();
        let mut command = accident("filter", agent.dir());
        let allowed = calls.iter().filter(|(name, _)| Some(*name) != left_out);
        command.args(allowed.map(|(_, number)| number.to_string()));
        let (mut program, client) = joined(&agent, &mut command);
        client.want(0, Edges::ACTIVE.with(Edges::IDLE));
        client.set(0, GateMode::Closed);
        program.go_on();
        if left_out.is_some() {
            program.dies_by(libc::SIGSYS);
            continue;
        }
        let [error, waited] = program.numbers()[..] else {
            panic!("two numbers");
        };
        assert_eq!(error, 0);
        assert!(waited >= 14, "went past a closed gate in {waited} ms");
        assert!(client.rings() > 0, "it has told the agent");
        program.go_on();
        program.end();
    }
}

/// A launch that is tried again after 30 ms is through when one that waits
/// would be: its thread does not queue behind itself or begin anew.
#[test]
fn a_jump_out_of_the_gate_holds_nobody_up() {
    let agent = Agent::start();
    let (mut program, client) = joined(&agent, &mut accident("jump", agent.dir()));
    client.set(0, GateMode::Closed);
    program.go_on();
    let [first, jumps] = program.numbers()[..] else {
        panic!("two numbers");
    };
    let second = program.number();
    let guards = client.status().guards.each_ref().map(|n| n.load(Relaxed));
    assert!(
        (80..800).contains(&first) && (80..800).contains(&second),
        "{first} ms after {jumps} jumps, {second} ms, {guards:?}"
    );
    assert!(jumps >= 1);
    assert_eq!(client.device(0).waiting.load(Relaxed), 0);
    program.go_on();
    program.end();
}

/// The thread has left its wait long ago: what it launches from deeper in its
/// stack is not a handler's amid that wait, and is gated.
#[test]
fn after_a_jump_out_of_the_gate_a_thread_is_gated_as_before() {
    let agent = Agent::start();
    let (mut program, client) = joined(&agent, &mut accident("deeper", agent.dir()));
    client.set(0, GateMode::Closed);
    program.go_on();
    let [jumps, took] = program.numbers()[..] else {
        panic!("two numbers");
    };
    assert_eq!(jumps, 1);
    // The first goes on with a wait that is over, the others come anew.
    assert!(took >= 3 * 90, "four launches passed in {took} ms");
    assert_eq!(client.device(0).waiting.load(Relaxed), 0);
    program.go_on();
    program.end();
}

/// The thread is unwound through the wait, which gives its place up.
#[test]
fn a_thread_may_end_at_the_gate() {
    let agent = Agent::start();
    let (mut program, client) = joined(&agent, &mut accident("end", agent.dir()));
    client.set(0, GateMode::Closed);
    program.go_on();
    let [result, waited] = program.numbers()[..] else {
        panic!("two numbers");
    };
    assert_eq!(result, 7, "what it ended with");
    assert!((14..500).contains(&waited), "{waited} ms behind nobody");
    assert_eq!(client.device(0).waiting.load(Relaxed), 0);
    program.go_on();
    program.end();
}

/// Threads that are ended by a signal handler, `rounds` of them, at a cap: the
/// program goes on, and what they held is free.
fn threads_end(what: &str, rounds: u64, shim: &Path) {
    let agent = Agent::start();
    let mut command = accident(what, agent.dir());
    command.env("LD_PRELOAD", shim);
    let (mut program, client) = joined(&agent, command.arg(rounds.to_string()));
    client.set(0, GateMode::Capped(2));
    program.go_on();
    let [error, ended, launched, captured] = program.numbers()[..] else {
        panic!("four numbers");
    };
    assert_eq!((error, ended), (0, rounds));
    // Without fences each of the 50 would wait 20 ms for a stall.
    assert!(launched < 400, "fences are held: {launched} ms");
    assert!(captured < 40, "no capture begins: {captured} ms");
    assert_eq!(client.device(0).waiting.load(Relaxed), 0);
    program.go_on();
    program.end();
}

#[test]
fn threads_may_end_wherever_they_are_in_the_shim() {
    threads_end("anywhere", 600, &shim());
}

/// By a handler of a signal that cannot be held back, or cancelled there.
#[test]
fn threads_may_end_in_the_runtime_that_the_shim_calls() {
    threads_end("queries", 100, &shim());
}

/// What ends them unwinds through our frames and runs their destructors: the
/// optimised build has other frames, and more functions that cannot unwind.
#[test]
fn threads_may_end_in_the_release_build() {
    threads_end("anywhere", 300, release_shim());
    threads_end("queries", 50, release_shim());
}

#[test]
fn exit_frees_who_waits() {
    let agent = Agent::start();
    let mut waits: Vec<_> = (0..5)
        .map(|n| {
            let mut program = Dialogue::begin(&mut accident("exit", agent.dir()));
            assert_eq!(program.line(), "joined");
            agent.client(n).set(0, GateMode::Closed);
            program.go_on();
            let waited = program.number();
            program.end();
            waited
        })
        .collect();
    waits.sort_unstable();
    assert!(waits[2] < 60, "the trickle would be 80 ms away: {waits:?}");
}

#[test]
fn a_fork_s_child_names_itself_whoever_held_the_linker_s_lock() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(stdout_of(&mut accident("child", dir.path())), "0\n");
}

#[test]
fn a_full_queue_is_not_waited_for() {
    let agent = Agent::start();
    let device = Simulated::install();
    let mut command = device.command(device.compile("crowd"), agent.dir());
    let mut program = Dialogue::begin(&mut command);
    assert_eq!(program.line(), "full");
    agent.client(0).set(0, GateMode::Capped(1));
    program.go_on();
    assert_eq!(program.line(), "launched");
    agent.client(0).set(0, GateMode::Open);
    assert_eq!(program.line(), "0");
    program.end();
}

#[test]
fn contexts_change_the_device() {
    let agent = Agent::start();
    let device = Simulated::install();
    let mut command = device.command(device.compile("contexts"), agent.dir());
    let mut program = Dialogue::begin(command.env("HIPSIM_DEVICES", "2"));
    assert_eq!(program.line(), "0");
    let client = agent.client(0);
    let admitted = |device: usize| client.device(device).admitted.load(Relaxed);
    assert_eq!((admitted(0), admitted(1)), (301, 20));
    program.go_on();
    program.end();
}

#[test]
fn an_agent_that_is_stopped_costs_less_and_less() {
    let agent = Agent::start_with(Manner::Mute);
    let mut scripted = ScriptedProgram::start(agent.dir());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(5_500) {
        scripted.run("launch 1 0");
        std::thread::sleep(Duration::from_millis(20));
    }
    // At 0, 1, 3 and 7 s instead of once per second.
    assert!((2..=3).contains(&agent.accepted()), "{}", agent.accepted());
    scripted.quit();
}

#[test]
fn a_program_that_was_jumped_out_of_joining_joins_later() {
    let agent = Agent::start_with(Manner::Mute);
    let dir = agent.dir().to_owned();
    let mut program = Dialogue::begin(&mut accident("joining", &dir));
    assert_eq!(program.number(), 1, "jumped");
    let agent = Agent::start_in(agent.kill(), Manner::Normal);
    program.go_on();
    agent.client(0);
    program.end();
}

/// Modes, edges, batches, lists, its own heartbeat: nothing in the page is
/// more than a delay.
#[test]
fn garbage_in_the_control_page_is_survived() {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let client = agent.client(0);
    scripted.run("kernel_us 20");
    scripted.begin("threads 4 150");
    let mut seed = 7u64;
    let mut answer = None;
    while answer.is_none() {
        client.scribble(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 32) as u32
        });
        answer = scripted.answers_within(Duration::from_millis(1));
    }
    client.scribble(|| 0);
    client.set(0, GateMode::Open);
    scripted.run("sync");
    assert!(scripted.run("launch 1000 0") < Duration::from_secs(1));
    assert_eq!(scripted.stat("launches"), 1 + 4 * 150 + 1000);
    assert_eq!(client.device(0).waiting.load(Relaxed), 0);
    scripted.quit();
}

#[test]
fn a_doorbell_that_could_block_or_kill_is_refused() {
    let agent = Agent::start_with(Manner::PipeForDoorbell);
    let mut scripted = ScriptedProgram::start(agent.dir());
    eventually("an attempt", || {
        scripted.run("launch 5 0");
        agent.accepted() > 0
    });
    agent.client(0).set(0, GateMode::Closed);
    assert!(scripted.run("launch 5 0") < Duration::from_millis(15));
    assert_eq!(agent.client(0).status().launch_totals().total(), 0);
    scripted.quit();
}

fn set_flags(fd: &OwnedFd, flags: i32) {
    // SAFETY: no memory is passed.
    let set = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) };
    assert_eq!(set, 0);
}
