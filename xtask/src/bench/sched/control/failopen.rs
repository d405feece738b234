//! How long programs wait at their gates for an agent that was killed.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use xsched_common::api::{GateRow, GateState};
use xsched_common::units::Class;

use super::{scripted, set_class};
use crate::agent;
use crate::bench::report::Metric;
use crate::bench::workbench::{Shim, Workbench, cc, null_runtime};
use crate::build;
use crate::dialogue::Dialogue;

/// Agents killed, each under the eyes of so many programs.
const KILLS: usize = 20;
const PROGRAMS: usize = 3;

/// Takes most of a minute at a closed gate.
const LAUNCHES: &str = "worker 2000";

pub fn measure(bench: &Workbench<'_>) -> anyhow::Result<Vec<Metric>> {
    let programs = build::root().join("xsched-shim/tests/programs");
    let runtime = null_runtime(&bench.dir.join("failopen"), &[])?;
    let scripted = bench.dir.join("scripted");
    let source = programs.join("scripted.c");
    cc(&[
        source.as_os_str(),
        runtime.as_os_str(),
        OsStr::new("-pthread"),
        OsStr::new("-ldl"),
        OsStr::new("-o"),
        scripted.as_os_str(),
    ])?;
    let mut waits = Vec::new();
    for kill in 0..KILLS {
        waits.extend(kill_an_agent(bench, &scripted, kill)?);
    }
    let worst = waits.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Metric::at_most("failopen_max_ms", "ms", worst, 300.0).spread(crate::stats::spread(&waits)),
    ])
}

/// From the kill to each program's last launch, ms.
fn kill_an_agent(bench: &Workbench<'_>, program: &Path, kill: usize) -> anyhow::Result<Vec<f64>> {
    let run_dir = bench.run_dir();
    let agent = bench.start_agent(&["--no-bpf"])?;
    let mut programs = Vec::new();
    for _ in 0..PROGRAMS {
        let mut command = bench.command(program, "failopen", Shim::With);
        let mut program = Dialogue::start(&mut command, "a program")?;
        program.ask("launch 1 0")?;
        set_class(&run_dir, program.pid(), Class::Low)?;
        programs.push(program);
    }
    // A service that is at work: every ring is a burst of it.
    let mut low = scripted(bench, &["held"])?;
    let page = low.line()?;
    set_class(&run_dir, low.pid(), Class::Low)?;
    let mut high = scripted(bench, &["work", &page])?;
    high.line()?;
    set_class(&run_dir, high.pid(), Class::High)?;
    high.ask("go")?;
    for program in &mut programs {
        program.tell(LAUNCHES)?;
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    let waits = |pid: u32| -> anyhow::Result<bool> {
        let rows = agent::snapshot(&run_dir)?.processes;
        let closed =
            |gate: Option<GateRow>| gate.is_some_and(|gate| gate.state == GateState::Closed);
        Ok(rows
            .into_iter()
            .any(|row| row.pid == pid && closed(row.gate)))
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
            program.line()?;
            Ok(died.elapsed().as_secs_f64() * 1_000.0)
        })
        .collect()
}
