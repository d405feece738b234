//! An agent with 1,000 joined processes.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{doorbell, scripted};
use crate::agent;
use crate::bench::report::Metric;
use crate::bench::workbench::Workbench;

const CLIENTS: usize = 1_000;
/// For what joining costs once, and for the agent's window to pass.
const SETTLE: Duration = Duration::from_secs(7);
/// How long the idle agent is watched.
const IDLE: Duration = Duration::from_secs(10);

/// What so many joined processes cost the agent.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// One round that decides something, us.
    pub round_us: f64,
    /// The agent's processor time while they are idle, in percent of a core.
    pub idle_pct: f64,
    /// Its memory for all of them.
    pub kib: f64,
}

/// Joins so many, and watches them idle for so long.
pub fn costs(
    bench: &Workbench<'_>,
    clients: usize,
    settle: Duration,
    idle: Duration,
) -> anyhow::Result<Costs> {
    let agent = bench.start_agent(&["--no-bpf"])?;
    // What the agent needs for itself, the first clients included.
    drop(doorbell::times(bench, 20)?);
    std::thread::sleep(Duration::from_secs(1));
    let before = resident_kib(agent.pid())?;
    let mut crowd = scripted(bench, &["crowd", &clients.to_string()])?;
    crowd.line()?;
    std::thread::sleep(settle);
    let kib = resident_kib(agent.pid())? - before;

    let (start, from) = (Instant::now(), cpu_seconds(agent.pid())?);
    std::thread::sleep(idle);
    let idle_pct = (cpu_seconds(agent.pid())? - from) / start.elapsed().as_secs_f64() * 100.0;

    // Rings fill the window with rounds that decide something.
    doorbell::times(bench, 1_000)?;
    let control = agent::snapshot(&bench.run_dir())?.agent.control;
    let round = control.round_p50_ns.context("no rounds")?.0 as f64;
    crowd.ask("leave")?;
    Ok(Costs {
        round_us: round / 1_000.0,
        idle_pct,
        kib,
    })
}

pub fn measure(bench: &Workbench<'_>) -> anyhow::Result<Vec<Metric>> {
    let Costs {
        round_us,
        idle_pct,
        kib,
    } = costs(bench, CLIENTS, SETTLE, IDLE)?;
    Ok(vec![
        Metric::at_most("clients1000_loop_us", "us", round_us, 120.0),
        Metric::at_most("clients1000_idle_cpu_pct", "%", idle_pct, 1.0),
        Metric::at_most("client_kib", "KiB", kib / CLIENTS as f64, 64.0),
    ])
}

fn resident_kib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    kib.context("no VmRSS")?.parse().context("VmRSS")
}

/// Time on a processor, by the scheduler's own count: ticks are too coarse.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut total = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let ns = stat.split_whitespace().next().context("schedstat")?;
        total += ns.parse::<f64>()?;
    }
    Ok(total / 1e9)
}
