//! The control thread among clients that mean harm: whether one of them makes
//! it wait, whether one makes it slow, and whether one keeps others out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use xsched_common::units::Class;

use crate::agent;
use crate::bench::report::Metric;
use crate::bench::sched::control::{doorbell, set_class};
use crate::bench::workbench::Workbench;
use crate::build::Built;
use crate::dialogue::Dialogue;
use crate::stats::quantile;

/// How long each attack on the thread goes on, seconds.
const ATTACK: u64 = 8;

/// Threads that wait on one word.
const WAITERS: usize = 8_000;

/// Joins of another user and of root beside a flood.
const JOINS: usize = 40;

const FLOODS: u32 = 64_001;
const JOINS_BESIDE: u32 = 64_002;

/// Measures.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "only root can act as several users: run this with sudo"
    );
    let bench = Workbench::new(built)?;
    let mut metrics = vec![standstill(&bench)?, waiters(&bench)?];
    metrics.extend(flood(&bench)?);
    Ok(metrics)
}

fn attacker(bench: &Workbench<'_>, arguments: &[&str]) -> anyhow::Result<Dialogue> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("attacker")
        .args(arguments)
        .env("XSCHED_RUN_DIR", bench.run_dir());
    Dialogue::start(&mut command, "an attacker")
}

/// The longest time that the control thread was seen asleep anywhere but where
/// it waits for events; what is below a millisecond is none.
fn standstill(bench: &Workbench<'_>) -> anyhow::Result<Metric> {
    let agent = bench.start_agent(&["--no-bpf"])?;
    let thread = control_thread(agent.pid())?;
    let mut worst = (0.0, "", String::new());
    for attack in ["bells", "linger", "holes"] {
        let _attacker = attacker(bench, &[attack, &ATTACK.to_string()])?;
        let end = Instant::now() + Duration::from_secs(ATTACK);
        let mut since: Option<Instant> = None;
        while Instant::now() < end {
            match sleeps_elsewhere(&thread)? {
                Some(place) => {
                    let since = since.get_or_insert_with(Instant::now);
                    let ms = since.elapsed().as_secs_f64() * 1e3;
                    if ms > worst.0 {
                        worst = (ms, attack, place);
                    }
                }
                None => since = None,
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    let (longest, attack, place) = worst;
    let value = if longest > 1.0 { longest } else { 0.0 };
    let detail = match attack {
        "" => "never seen asleep elsewhere".to_owned(),
        attack => format!("longest wait {longest:.2} ms, in {place} during {attack}"),
    };
    Ok(Metric::at_most("bell_block_ms", "ms", value, 0.0).detail(detail))
}

fn control_thread(pid: u32) -> anyhow::Result<PathBuf> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == "control" {
            return Ok(task);
        }
    }
    anyhow::bail!("the agent has no thread named control")
}

/// Where the thread sleeps, if not for an event.
fn sleeps_elsewhere(task: &Path) -> anyhow::Result<Option<String>> {
    let stat = std::fs::read_to_string(task.join("stat"))?;
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    if !matches!(state, Some('S' | 'D')) {
        return Ok(None);
    }
    // "0" while it runs.
    let place = std::fs::read_to_string(task.join("wchan"))?;
    let for_events = ["ep_poll", "epoll_wait"]
        .iter()
        .any(|name| place.contains(name));
    Ok((place != "0" && !for_events).then_some(place))
}

/// Rounds beside a client with thousands of threads on its own word, which
/// opens whenever a service rests.
fn waiters(bench: &Workbench<'_>) -> anyhow::Result<Metric> {
    let alone = round_p99_beside(bench, 1)?;
    let p99 = round_p99_beside(bench, WAITERS)?;
    Ok(Metric::at_most("waiters8000_round_p99_us", "us", p99, 300.0).beside(alone))
}

/// Microseconds.
fn round_p99_beside(bench: &Workbench<'_>, waiters: usize) -> anyhow::Result<f64> {
    let _agent = bench.start_agent(&["--no-bpf"])?;
    let mut crowd = attacker(bench, &["sleepers", &waiters.to_string()])?;
    ensure!(crowd.line()? == "waiting", "the waiters do not wait");
    set_class(&bench.run_dir(), crowd.pid(), Class::Low)?;
    doorbell::times(bench, 1_000)?;
    let control = agent::snapshot(&bench.run_dir())?.agent.control;
    Ok(control.round_p99_ns.context("no rounds")?.0 as f64 / 1e3)
}

/// Edges of a service's activity that are timed.
const RINGS: usize = 500;

/// Joins in vain while one user's two processes connect without end, and how
/// late a service's edges are heard meanwhile: beside two processes that only
/// use the processor, and beside these.
fn flood(bench: &Workbench<'_>) -> anyhow::Result<Vec<Metric>> {
    let agent = bench.start_agent(&["--no-bpf"])?;
    let uid = FLOODS.to_string();
    let both = |what: [&str; 3]| -> anyhow::Result<_> {
        let two = [attacker(bench, &what)?, attacker(bench, &what)?];
        std::thread::sleep(Duration::from_millis(500));
        Ok(two)
    };
    let busy = both(["spin", &uid, "600"])?;
    let beside_busy = quantile(&doorbell::times(bench, RINGS)?, 0.99);
    drop(busy);
    let floods = both(["flood", &uid, "600"])?;
    let beside_floods = quantile(&doorbell::times(bench, RINGS)?, 0.99);
    let count = JOINS.to_string();
    let mut failed = Vec::new();
    for uid in [JOINS_BESIDE, 0] {
        let mut joins = attacker(bench, &["joins", &uid.to_string(), &count])?;
        failed.push(joins.line()?.parse::<f64>()?);
    }
    drop((floods, agent));
    let detail = format!(
        "of another user {} of {JOINS}, of root {}",
        failed[0], failed[1]
    );
    Ok(vec![
        Metric::at_most("join_flood_failed", "", failed.iter().sum(), 0.0).detail(detail),
        Metric::at_most(
            "join_flood_doorbell_p99_ms",
            "ms",
            beside_floods / 1e3,
            10.0,
        )
        .beside(beside_busy / 1e3)
        .detail("baseline: beside two processes that only use the processor".to_owned()),
    ])
}
