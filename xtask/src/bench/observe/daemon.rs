//! The daemon beside programs: what it costs them and itself, and how fast it
//! goes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::super::report::Metric;
use super::super::workbench::{Shim, Workbench, null_runtime};
use super::launcher::launcher;
use super::progress;
use crate::agent;
use crate::dialogue::Dialogue;
use crate::stats::{median, spread};

/// Pairs of the same work without and with the agent.
const PAIRS: usize = 10;
/// One launch per so much work: 10,000 a second.
const WORK_NS: f64 = 100_000.0;
/// Launches timed; before them as many as the agent needs to settle.
const LAUNCHES: u64 = 50_000;
const SETTLING: u64 = 15_000;

/// What a piece of work took, ns.
#[derive(Clone, Copy)]
struct Took {
    /// Of the processor: what probes cost is in it, what other processes took
    /// of this machine is not.
    processor: f64,
    /// By the clock.
    clock: f64,
}

impl Took {
    fn ask(program: &mut Dialogue, work: u64, launches: u64) -> anyhow::Result<Took> {
        let answer = program.ask(&format!("work {work} {launches}"))?;
        let numbers = answer
            .split(' ')
            .map(str::parse)
            .collect::<Result<Vec<f64>, _>>();
        let [processor, clock] = numbers.unwrap_or_default()[..] else {
            bail!("the launcher answered {answer:?}");
        };
        Ok(Took { processor, clock })
    }
}

/// A program that launches 10,000 kernels a second, without the shim: the
/// agent must probe it.
pub fn steady(bench: &Workbench<'_>) -> anyhow::Result<Metric> {
    let (mut costs, mut by_clock) = (Vec::new(), Vec::new());
    let mut program = launcher(bench, "push", Shim::Without, &[])?;
    let rounds = 20_000_000;
    let each: Result<Vec<f64>, _> = (0..5)
        .map(|_| program.number(&format!("spin {rounds}")))
        .collect();
    let work = (WORK_NS / median(&each?)) as u64;
    let mut bare = Vec::new();
    for pair in 1..=PAIRS {
        let mut run = || {
            Took::ask(&mut program, work, SETTLING)?;
            Took::ask(&mut program, work, LAUNCHES)
        };
        // Whoever is first: the machine may get slower or faster meanwhile.
        let (without, with) = if pair % 2 == 0 {
            let without = run()?;
            let _agent = bench.start_agent(&[])?;
            (without, run()?)
        } else {
            let agent = bench.start_agent(&[])?;
            let with = run()?;
            drop(agent);
            (run()?, with)
        };
        costs.push(100.0 * (with.processor / without.processor - 1.0));
        by_clock.push(100.0 * (with.clock / without.clock - 1.0));
        bare.push(without.clock);
        progress(&format!(
            "steady state, pair {pair} of {PAIRS}: {:.2} s without, {:.2} s with the agent",
            without.processor / 1e9,
            with.processor / 1e9
        ));
    }
    let rate = LAUNCHES as f64 * 1e9 / median(&bare);
    Ok(
        Metric::at_most("steady_overhead_pct", "%", median(&costs), 1.0)
            .spread(spread(&costs))
            .detail(format!(
                "processor time; {:.2} by the clock; {rate:.0} launches/s, no shim, {PAIRS} pairs",
                median(&by_clock)
            )),
    )
}

/// Programs that share 100,000 launches a second.
const PROGRAMS: usize = 4;
const CALLS_PER_MS: usize = 100 / PROGRAMS;
/// The agent's duty cycle is 5 s.
const BEFORE: Duration = Duration::from_secs(8);
const WATCHED: Duration = Duration::from_secs(20);

/// The agent's own processor time.
pub fn agents_time(bench: &Workbench<'_>) -> anyhow::Result<Metric> {
    let agent = bench.start_agent(&[])?;
    let mut programs = Vec::new();
    for _ in 0..PROGRAMS {
        let mut program = launcher(bench, "endbr64", Shim::Without, &[])?;
        program.ask(&format!("paced {CALLS_PER_MS} 60000"))?;
        programs.push(program);
    }
    progress("the agent's processor time at 100,000 launches/s");
    std::thread::sleep(BEFORE);
    let (time, started) = (processor_time(agent.pid())?, Instant::now());
    std::thread::sleep(WATCHED);
    let used = processor_time(agent.pid())? - time;
    let percent = 100.0 * used.as_secs_f64() / started.elapsed().as_secs_f64();
    Ok(
        Metric::at_most("agent_cpu_pct_100k", "%", percent, 3.0).detail(format!(
            "{PROGRAMS} programs, {:.0} s",
            WATCHED.as_secs_f64()
        )),
    )
}

/// User and system time of a process (proc_pid_stat(5)).
fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat
        .rsplit_once(')')
        .context("the name is in parentheses")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // Fields 14 and 15; the first one here is field 3.
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Probes that must at least be in place.
const PROBES: u32 = 100;

/// From SIGTERM to the agent's end.
pub fn stop(bench: &Workbench<'_>) -> anyhow::Result<Metric> {
    let agent = bench.start_agent(&[])?;
    // Copies of the runtime are images of their own.
    let mut programs = Vec::new();
    let mut probes = 0;
    while probes < PROBES {
        let name = format!("copy{}", programs.len());
        null_runtime(&bench.dir.join(&name), &[])?;
        programs.push(launcher(bench, &name, Shim::Without, &[])?);
        let deadline = Instant::now() + Duration::from_secs(10);
        let before = probes;
        while probes == before {
            ensure!(Instant::now() < deadline, "the agent does not probe {name}");
            std::thread::sleep(Duration::from_millis(50));
            probes = agent::snapshot(&bench.run_dir())?.agent.bpf.probes;
        }
    }
    progress(&format!("stopping the agent with {probes} probes"));
    let started = Instant::now();
    agent.stop()?;
    let took = started.elapsed().as_secs_f64();
    Ok(Metric::at_most("stop_100_probes_s", "s", took, 2.0)
        .detail(format!("{probes} probes on {} images", programs.len())))
}
