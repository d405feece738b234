//! How long programs wait at their gates for an agent that was killed.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::{Talking, ask, set_class};
use crate::bench::report::Metric;
use crate::bench::workbench::{Shim, Workbench, cc, null_runtime};
use crate::build;

/// Agents killed, each under the eyes of so many programs.
const KILLS: usize = 20;
const PROGRAMS: usize = 3;

/// Takes most of a minute at a closed gate.
const LAUNCHES: &str = "worker 2000";

pub fn measure(bench: &Workbench<'_>) -> anyhow::Result<Vec<Metric>> {
    let programs = build::root().join("xsched-shim/tests/programs");
    let runtime = null_runtime(&bench.dir.join("failopen"), &[])?;
    let puppet = bench.dir.join("puppet");
    let source = programs.join("puppet.c");
    cc(&[
        source.as_os_str(),
        runtime.as_os_str(),
        OsStr::new("-pthread"),
        OsStr::new("-ldl"),
        OsStr::new("-o"),
        puppet.as_os_str(),
    ])?;
    let mut waits = Vec::new();
    for kill in 0..KILLS {
        waits.extend(kill_an_agent(bench, &puppet, kill)?);
    }
    let worst = waits.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Metric::at_most("failopen_max_ms", "ms", worst, 300.0).spread(crate::stats::spread(&waits)),
    ])
}

/// From the kill to each program's last launch, ms.
fn kill_an_agent(bench: &Workbench<'_>, puppet: &Path, kill: usize) -> anyhow::Result<Vec<f64>> {
    let run_dir = bench.run_dir();
    let agent = bench.start_agent(&["--no-bpf"])?;
    let mut programs = Vec::new();
    for _ in 0..PROGRAMS {
        let mut command = bench.command(puppet, "failopen", Shim::With);
        let mut program = Talking::start(&mut command)?;
        program.say("launch 1 0")?;
        program.hear()?;
        set_class(&run_dir, program.pid(), "low")?;
        programs.push(program);
    }
    // A service that is at work: every ring is a burst of it.
    let mut low = Talking::puppet(bench, &["held"])?;
    let page = low.hear()?;
    set_class(&run_dir, low.pid(), "low")?;
    let mut high = Talking::puppet(bench, &["work", &page])?;
    high.hear()?;
    set_class(&run_dir, high.pid(), "high")?;
    high.say("go")?;
    high.hear()?;
    for program in &mut programs {
        program.say(LAUNCHES)?;
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    let waits = |pid: u32| -> anyhow::Result<bool> {
        let snapshot = ask(&run_dir, r#"{"op":"list"}"#)?;
        let rows = snapshot["processes"].as_array().context("no processes")?;
        Ok(rows
            .iter()
            .any(|row| row["pid"] == pid && row["gate"]["state"] == "closed"))
    };
    for program in &programs {
        while !waits(program.pid())? {
            ensure!(Instant::now() < deadline, "a program does not wait");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // Spread over the time between two heartbeats and two trickles.
    std::thread::sleep(Duration::from_millis((kill * 37 % 150) as u64));
    let died = Instant::now();
    drop(agent);
    programs
        .iter_mut()
        .map(|program| {
            program.hear()?;
            Ok(died.elapsed().as_secs_f64() * 1_000.0)
        })
        .collect()
}
