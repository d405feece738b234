//! The observer on this kernel: loading, counting, letting go.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use xsched_observe::{LinkKind, Observer, Plan, ProbeSet, probe_support};

use super::{Expected, Outcome};
use crate::child::Guarded;
use crate::demo::stage::{Shim, Stage};

/// Launches whose count must be exact.
const LAUNCHES: u64 = 600;

/// Waits longer in the guest than a slow machine needs.
const DEADLINE: Duration = Duration::from_secs(20);

/// The programs load and a probe fires; or they do not, and why is said.
pub fn object(_: &Stage<'_>, expected: Expected) -> Outcome {
    match (probe_support(), expected.probes) {
        (Ok(()), true) => Ok("the programs load, a probe attaches and fires".to_owned()),
        (Err(e), false) => {
            let said = e.to_string();
            ensure!(
                said.contains("Linux 5.15") && !said.contains('\n') && said.len() < 200,
                "not in one clear sentence: {said}"
            );
            Ok(format!("refused: {said}"))
        }
        (Ok(()), false) => bail!("probes work, though this kernel has no attach cookies"),
        (Err(e), true) => Err(e.into()),
    }
}

/// Every launch of a program without the shim is counted, once.
pub fn counts(stage: &Stage<'_>, links: LinkKind) -> Outcome {
    // Maps the runtime, so that it carries probes before the other begins.
    let first = idle_program(stage)?;
    let mut observer = observer(links)?;
    let mut program = stage.sample(&stage.built("hipsim-batch"), Shim::Without, "normal");
    program.args(["--kernels", &LAUNCHES.to_string(), "--ahead", "64"]);
    let program = Guarded::start(&mut program, "the program")?;
    let pid = program.pid();
    program.finish(DEADLINE)?;
    let sample = observer.sample()?;
    let counted: u64 = sample
        .calls
        .iter()
        .filter(|call| call.process.pid == pid && call.entry().symbol == "hipModuleLaunchKernel")
        .map(|call| call.count)
        .sum();
    ensure!(
        counted == LAUNCHES && sample.drops.calls() == 0,
        "{counted} of {LAUNCHES} launches counted, {} dropped",
        sample.drops.calls()
    );
    drop(first);
    Ok(format!("{counted} of {LAUNCHES} launches counted"))
}

/// Whoever lets go of probes does not wait for the kernel.
pub fn detach(stage: &Stage<'_>, expected: Expected) -> Outcome {
    let program = idle_program(stage)?;
    let observer = observer(LinkKind::Best)?;
    ensure!(
        observer.can_pause() == expected.quick,
        "links in one piece: {}, expected {}",
        observer.can_pause(),
        expected.quick
    );
    let start = Instant::now();
    drop(observer);
    let let_go = start.elapsed();
    // Perf uprobes go one by one in a thread that nobody waits for.
    ensure!(
        let_go < Duration::from_secs(1),
        "letting go took {let_go:?}"
    );
    let start = Instant::now();
    program.stop().context("the program that was probed")?;
    Ok(format!(
        "let go in {:.1} ms, the program ended {:.1} ms later",
        let_go.as_secs_f64() * 1e3,
        start.elapsed().as_secs_f64() * 1e3
    ))
}

/// A recording has every kind of event that this kernel allows.
pub fn record(stage: &Stage<'_>, expected: Expected) -> Outcome {
    let program = idle_program(stage)?;
    let start = Instant::now();
    let out = stage
        .agent()
        .args(["record", "--json", "--duration", "0.5"])
        .args(["--pid", &program.pid().to_string(), "-o"])
        .arg(stage.dir().join("trace"))
        .output()?;
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    if !expected.probes {
        ensure!(
            out.status.code() == Some(2) && said.contains("Linux 5.15"),
            "{}: {said}",
            out.status
        );
        return Ok(format!("refused: {said}"));
    }
    let summary: Value = serde_json::from_slice(&out.stdout).with_context(|| said.clone())?;
    let recorded = summary["recorded"].as_u64().unwrap_or(0);
    ensure!(
        out.status.success() && recorded > 0,
        "{}: {summary} {said}",
        out.status
    );
    let lengths = !summary["waits"].is_null();
    ensure!(
        lengths == expected.returns,
        "lengths of waits known: {lengths}, expected {}: {summary}",
        expected.returns
    );
    Ok(format!(
        "{recorded} calls, lengths of waits {}, ended after {:.1} s",
        if lengths { "known" } else { "unknown" },
        took.as_secs_f64()
    ))
}

/// A library that goes past the shim is found, its calls are counted, and
/// nobody waits for the kernel to take the probes away to hear that.
pub fn diagnose(stage: &Stage<'_>, _: Expected) -> Outcome {
    let mut command = stage.sample(&stage.built("hipsim-versioned"), Shim::With, "normal");
    let broken = Guarded::start(&mut command, "the broken program")?;
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    let mut diagnosis = stage
        .agent()
        .args(["diagnose", "--json", "--duration", "1"])
        .args(["--pid", &broken.pid().to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let output = diagnosis.stdout.take().context("no output")?;
    BufReader::new(output).read_line(&mut line)?;
    let told = start.elapsed();
    diagnosis.wait()?;
    let ended = start.elapsed();
    let report: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
    let finding = report["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|finding| finding["code"] == "symbol-version-bypass")
        .with_context(|| format!("no symbol-version-bypass in {report}"))?;
    let effect = finding["effect"].as_str().unwrap_or_default();
    ensure!(
        effect.contains("100%"),
        "the calls were not counted: {finding}"
    );
    let times = format!(
        "told after {:.1} s, ended after {:.1} s",
        told.as_secs_f64(),
        ended.as_secs_f64()
    );
    ensure!(
        told < Duration::from_secs(4),
        "a second was asked for: {times}"
    );
    Ok(format!("{effect}; {times}"))
}

/// A program that launches all the while, slowly.
fn idle_program(stage: &Stage<'_>) -> anyhow::Result<Guarded> {
    let mut command = stage.sample(&stage.built("hipsim-nullstream"), Shim::Without, "normal");
    command.args(["--period", "5ms"]);
    let program = Guarded::start(&mut command, "the idle program")?;
    std::thread::sleep(Duration::from_millis(300));
    Ok(program)
}

/// One that has set its probes.
fn observer(links: LinkKind) -> anyhow::Result<Observer> {
    let mut observer = Observer::start(Plan {
        links,
        probes: ProbeSet::Work,
        ..Plan::everything()
    })?;
    let start = Instant::now();
    while observer.sample()?.events == 0 {
        let limits: Vec<&str> = observer.limits().collect();
        ensure!(
            start.elapsed() < DEADLINE,
            "no probe has fired: {}",
            limits.join("; ")
        );
        std::thread::sleep(Duration::from_millis(20));
        observer.refresh();
    }
    Ok(observer)
}

/// What a command prints.
pub fn json(command: &mut Command) -> anyhow::Result<Value> {
    let out = command.output()?;
    serde_json::from_slice(&out.stdout).with_context(|| {
        format!(
            "{}: {}",
            out.status,
            String::from_utf8_lossy(&out.stderr).trim()
        )
    })
}
