//! Diagnosing a process with many libraries: time and memory.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::super::report::Metric;
use super::super::workbench::{Shim, Workbench, cc};
use super::launcher::launcher;
use super::progress;
use crate::stats::{median, spread};

/// Libraries that each import the runtime.
const OBJECTS: usize = 500;
const RUNS: usize = 5;
/// Observation, seconds: not part of the bound.
const OBSERVED: f64 = 1.0;

pub fn measure(bench: &Workbench<'_>) -> anyhow::Result<Vec<Metric>> {
    let directory = bench.dir.join("importers");
    std::fs::create_dir_all(&directory)?;
    let source = directory.join("importer.c");
    std::fs::write(
        &source,
        "#include \"hip.h\"\nint go(void) { dim3 one = {1, 1, 1}; return hipLaunchKernel(0, one, one, 0, 0, 0); }\n",
    )?;
    let first = directory.join("lib0.so");
    let include = format!(
        "-I{}",
        crate::build::root()
            .join("xsched-shim/tests/programs")
            .display()
    );
    cc(&[
        "-shared".as_ref(),
        "-fPIC".as_ref(),
        include.as_ref(),
        source.as_ref(),
        bench.dir.join("push/libamdhip64.so.5").as_ref(),
        "-o".as_ref(),
        first.as_ref(),
    ])?;
    let mut libraries = vec![first.clone()];
    for i in 1..OBJECTS {
        let copy = directory.join(format!("lib{i}.so"));
        std::fs::copy(&first, &copy)?;
        libraries.push(copy);
    }
    let mut program = launcher(bench, "push", Shim::With, &libraries)?;
    program.number("calls 1")?;
    let (mut seconds, mut mebibytes) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        let (took, peak) = diagnose(bench, program.pid())?;
        progress(&format!(
            "diagnosing {OBJECTS} objects, run {run} of {RUNS}: {took:.2} s beside the observation, {peak:.0} MiB"
        ));
        seconds.push(took);
        mebibytes.push(peak);
    }
    let detail = format!("{OBJECTS} libraries that import HIP, {OBSERVED} s of observation");
    Ok(vec![
        Metric::at_most("diagnose_500_s", "s", median(&seconds), 1.0)
            .spread(spread(&seconds))
            .detail(detail.clone()),
        Metric::at_most("diagnose_500_mib", "MiB", median(&mebibytes), 200.0)
            .spread(spread(&mebibytes))
            .detail(detail),
    ])
}

/// Seconds beyond the observation, and the peak of its memory in MiB.
fn diagnose(bench: &Workbench<'_>, pid: u32) -> anyhow::Result<(f64, f64)> {
    let started = Instant::now();
    let mut command = Command::new(bench.built.file("xsched-agent"));
    command
        .args(["diagnose", "--json", "--pid", &pid.to_string()])
        .args(["--duration", &OBSERVED.to_string()])
        .env("XSCHED_RUN_DIR", bench.run_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let child = command.spawn().context("cannot start xsched-agent")?;
    let crate::child::Ended {
        text: output, peak, ..
    } = crate::child::ended(child)?;
    let took = started.elapsed().as_secs_f64() - OBSERVED;
    let report: serde_json::Value =
        serde_json::from_str(&output).with_context(|| format!("diagnose printed {output:?}"))?;
    let bindings = report["bindings"].as_array().map_or(0, Vec::len);
    ensure!(bindings >= OBJECTS, "diagnose found {bindings} bindings");
    Ok((took, peak as f64 / f64::from(1 << 20)))
}
