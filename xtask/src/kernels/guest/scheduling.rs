//! The agent and the gate on this kernel.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Expected, Outcome};
use crate::child::Guarded;
use crate::demo::stage::{Shim, Stage};

/// How long the service is measured each time.
const MEASURE: Duration = Duration::from_millis(1200);

/// A request: long kernels, so that an emulated processor's slow calls do not
/// count.
const REQUEST: [&str; 6] = ["--kernels", "5", "--kernel-time", "2ms", "--period", "40ms"];

/// Waits longer in the guest than a slow machine needs.
const DEADLINE: Duration = Duration::from_secs(20);

/// The agent runs, and says of a program without the shim what it can.
pub fn agent_sees(stage: &Stage<'_>, expected: Expected) -> Outcome {
    let agent = stage.start_agent(&[])?;
    let program = stage.batch(Shim::Without)?;
    let bpf = until("the agent's first look", || {
        let snapshot = stage.snapshot()?;
        let bpf = snapshot["agent"]["bpf"].clone();
        let row = row(&snapshot, program.pid());
        let launches = row.and_then(|row| row["launches"].as_u64()).unwrap_or(0);
        let done = match expected.probes {
            true => launches > 0,
            false => bpf["reason"].is_string(),
        };
        Ok(done.then_some(bpf))
    })?;
    ensure!(
        bpf["available"] == expected.probes,
        "probes available: {bpf}"
    );
    program.stop()?;
    let start = Instant::now();
    agent.stop()?;
    let ended = format!("ended {:.1} s after SIGTERM", start.elapsed().as_secs_f64());
    if expected.probes {
        return Ok(format!("sees a program without the shim; {ended}"));
    }
    let reason = bpf["reason"].as_str().unwrap_or_default();
    ensure!(
        reason.contains("Linux 5.15"),
        "the reason is unclear: {reason}"
    );
    Ok(format!("runs without probes and says why; {ended}"))
}

/// A service beside batch work: nearer to alone than to native.
pub fn gate(stage: &Stage<'_>, _: Expected) -> Outcome {
    let agent = stage.start_agent(&[])?;
    let alone = service(stage, Shim::Without)?;
    let batch = stage.batch(Shim::Without)?;
    let native = service(stage, Shim::Without)?;
    let free = kernels(&batch.stop()?)?;
    let batch = stage.batch(Shim::With)?;
    let scheduled = service(stage, Shim::With)?;
    let gated = kernels(&batch.stop()?)?;
    agent.stop()?;
    let ms = |ns: u64| ns as f64 / 1e6;
    let said = format!(
        "P50 alone {:.1} ms, native {:.1} ms, scheduled {:.1} ms; the batch's kernels: {free} native, {gated} \
         scheduled",
        ms(alone),
        ms(native),
        ms(scheduled)
    );
    ensure!(
        native * 10 > alone * 13,
        "the batch is no burden, so nothing can be shown: {said}"
    );
    ensure!(
        scheduled < alone.midpoint(native),
        "the gate is lost: {said}"
    );
    ensure!(gated * 5 > free, "the batch starves: {said}");
    Ok(said)
}

/// A killed agent holds nobody.
pub fn fail_open(stage: &Stage<'_>, _: Expected) -> Outcome {
    const AFTERWARDS: Duration = Duration::from_millis(1500);
    let agent = stage.start_agent(&[])?;
    let mut command = stage.sample(&stage.built("hipsim-nullstream"), Shim::With, "low");
    command.args(["--period", "1ms"]);
    let held = Guarded::start(&mut command, "the held program")?;
    until("the program has joined", || {
        let snapshot = stage.snapshot()?;
        let row = row(&snapshot, held.pid());
        Ok(row.filter(|row| row["shim"] == "joined").map(|_| ()))
    })?;
    let suspended = stage
        .agent()
        .args(["suspend", "--timeout", "60s", "--pid"])
        .arg(held.pid().to_string())
        .output()?;
    ensure!(
        suspended.status.success(),
        "suspend: {}",
        String::from_utf8_lossy(&suspended.stderr).trim()
    );
    let before = until("the program waits at its gate", || {
        let snapshot = stage.snapshot()?;
        let row = row(&snapshot, held.pid());
        let held = row.filter(|row| row["gate"]["waiting"] == 1);
        Ok(held.and_then(|row| row["launches"].as_u64()))
    })?;
    // SIGKILL.
    drop(agent);
    std::thread::sleep(AFTERWARDS);
    let launches = kernels(&held.stop()?)?.saturating_sub(before);
    // A closed gate lets one pass every 16 ms at most.
    let trickle = AFTERWARDS.as_millis() / 16;
    ensure!(
        u128::from(launches) > 4 * trickle,
        "{launches} launches in the {AFTERWARDS:?} after the agent was killed: it is still held"
    );
    Ok(format!(
        "{launches} launches in the {AFTERWARDS:?} after the agent was killed"
    ))
}

/// The median of its requests, ns.
fn service(stage: &Stage<'_>, shim: Shim) -> anyhow::Result<u64> {
    let mut command = stage.sample(&stage.built("hipsim-service"), shim, "high");
    command
        .args(["--json", "--warmup", "300ms"])
        .args(["--duration", &format!("{}ms", MEASURE.as_millis())])
        .args(REQUEST);
    let text = Guarded::start(&mut command, "the service")?.finish(MEASURE + DEADLINE)?;
    let report: Value = serde_json::from_str(text.trim()).context("the service's report")?;
    report["p50_ns"].as_u64().context("the service's p50_ns")
}

fn kernels(report: &str) -> anyhow::Result<u64> {
    let report: Value = serde_json::from_str(report.trim()).context("the batch's report")?;
    report["kernels"].as_u64().context("the batch's kernels")
}

fn row(snapshot: &Value, pid: u32) -> Option<&Value> {
    let rows = snapshot["processes"].as_array()?;
    rows.iter().find(|row| row["pid"] == pid)
}

/// Asks again until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
