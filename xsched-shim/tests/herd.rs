//! Many threads at one gate: one of them looks, the others sleep, and each gets
//! its turn.

use crate::support;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use support::agent::{Agent, Client};
use support::dialogue::Dialogue;
use support::eventually;
use support::simulated::Simulated;
use xsched_common::gate::{GateMode, Guard};

/// What a herd says at its end.
struct Herd {
    launches: u64,
    worst: Duration,
    unfinished: Duration,
    never: u64,
    cores: f64,
}

struct Run {
    agent: Agent,
    _device: Simulated,
    program: Dialogue,
    client: Arc<Client>,
}

/// A herd that has joined and not begun.
fn herd(threads: u32, time: Duration) -> Run {
    let agent = Agent::start();
    let device = Simulated::install();
    let mut command = device.command(device.compile("herd"), agent.dir());
    let time = time.as_millis().to_string();
    command.args([&threads.to_string(), &time, "20"]);
    let mut program = Dialogue::begin(&mut command);
    assert_eq!(program.line(), "joined");
    let client = agent.client(0);
    Run {
        agent,
        _device: device,
        program,
        client,
    }
}

impl Run {
    fn at(mut self, gate: GateMode) -> Run {
        self.client.set(0, gate);
        self.program.go_on();
        self
    }

    fn waiting(&self) -> u32 {
        self.client.device(0).waiting.load(Relaxed)
    }

    fn all_wait(&self, threads: u32) {
        eventually("all wait", || self.waiting() == threads);
    }

    fn passed_by(&self, guard: Guard) -> u64 {
        self.client.status().guards[guard as usize].load(Relaxed)
    }

    fn said(&mut self) -> Herd {
        let [launches, worst, unfinished, never, cpu, elapsed] = self.program.numbers()[..] else {
            panic!("six numbers");
        };
        Herd {
            launches,
            worst: Duration::from_micros(worst),
            unfinished: Duration::from_micros(unfinished),
            never,
            cores: cpu as f64 / elapsed as f64,
        }
    }
}

/// One per 100 ms, whoever waits; the first to come is the first to go.
#[test]
fn at_a_closed_gate_each_gets_its_turn() {
    let _alone = crate::alone();
    let mut run = herd(20, Duration::from_secs(5)).at(GateMode::Closed);
    run.all_wait(20);
    let herd = run.said();
    assert_eq!(herd.never, 0);
    assert!((30..=55).contains(&herd.launches), "{}", herd.launches);
    let bound = Duration::from_millis(100 * 20) * 3 / 2;
    let longest = herd.worst.max(herd.unfinished);
    assert!(longest < bound, "{longest:?}");
    // A machine that does not run the program for 20 ms looks like a stall.
    let stalls = run.passed_by(Guard::Stall);
    assert!(stalls <= 3, "{stalls}");
    assert_eq!(run.passed_by(Guard::Trickle) + stalls, herd.launches);
    run.program.end();
}

/// 256 threads took 1.3 cores when each of them looked every millisecond.
#[test]
fn waiting_costs_next_to_nothing() {
    let _alone = crate::alone();
    for threads in [64, 256, 1_000, 4_000] {
        let run = herd(threads, Duration::from_secs(20)).at(GateMode::Closed);
        run.all_wait(threads);
        let (begun, before) = (Instant::now(), processor_time(run.program.pid()));
        std::thread::sleep(Duration::from_secs(3));
        let used = processor_time(run.program.pid()) - before;
        let cores = used.as_secs_f64() / begun.elapsed().as_secs_f64();
        println!("{threads} threads: {cores:.4} cores");
        // Unoptimised and among others; `cargo xtask bench faults` has the bound.
        assert!(cores < 0.1, "{threads} threads: {cores:.3} cores");
    }
}

/// What all threads of a process have had.
fn processor_time(pid: u32) -> Duration {
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: output arguments.
    let read = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    assert!(read, "process {pid} has a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The agent wakes one thread; that one wakes the next.
#[test]
fn a_gate_that_opens_lets_all_of_them_go() {
    let _alone = crate::alone();
    for threads in [64, 1_000, 4_000] {
        let run = herd(threads, Duration::from_secs(20)).at(GateMode::Closed);
        run.all_wait(threads);
        let before = run.client.status().waits.load(Relaxed);
        let begun = Instant::now();
        run.client.open_for_one(0);
        eventually("all have gone", || {
            run.client.status().waits.load(Relaxed) - before >= u64::from(threads)
        });
        // 20 us each on a machine that does nothing else.
        let took = begun.elapsed();
        println!("{threads} threads have gone in {took:?}");
        let most = Duration::from_millis(300) + Duration::from_micros(250) * threads;
        assert!(took < most, "{threads} threads: {took:?}");
    }
}

/// They run free, also the last of them.
#[test]
fn an_agent_that_is_gone_frees_all_of_them() {
    let _alone = crate::alone();
    for threads in [64, 1_000, 4_000] {
        let run = herd(threads, Duration::from_secs(20)).at(GateMode::Closed);
        run.all_wait(threads);
        let died = Instant::now();
        let client = run.client.clone();
        let before = client.status().waits.load(Relaxed);
        let _dir = run.agent.kill();
        eventually("all run free", || {
            client.status().waits.load(Relaxed) - before >= u64::from(threads)
        });
        let took = died.elapsed();
        println!("{threads} threads run free in {took:?}");
        let most = Duration::from_millis(300) + Duration::from_micros(250) * threads;
        assert!(took < most, "{threads} threads: {took:?}");
        eventually("none waits", || client.device(0).waiting.load(Relaxed) == 0);
    }
}

/// A cap holds the device busy whoever waits: 20 us kernels.
#[test]
fn a_cap_keeps_the_device_busy() {
    let _alone = crate::alone();
    let time = Duration::from_secs(2);
    let mut native = herd(64, time).at(GateMode::Open);
    let native_launches = native.said().launches;
    let mut capped = herd(64, time).at(GateMode::Capped(26));
    let herd = capped.said();
    println!(
        "{} launches of {native_launches}, {:.2} cores",
        herd.launches, herd.cores
    );
    assert_eq!(herd.never, 0);
    assert!(
        herd.launches * 2 > native_launches,
        "{} of {native_launches}, {:.2} cores",
        herd.launches,
        herd.cores
    );
    let stalls = capped.client.status().guards[Guard::Stall as usize].load(Relaxed);
    assert!(stalls <= 2, "{stalls} stalls");
}
