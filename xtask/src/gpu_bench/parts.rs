//! What is measured beside the grid.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use xsched_common::units::Class;

use super::Plan;
use super::cells::prepare;
use super::mps::{self, Mps};
use super::raw::{Batch, Count, LeftOut, Load, Observed, Overhead, Raw, Semantics, Share};
use super::stage::{Stage, Under, Worker};
use crate::conformance::agent::{Agent, Manner, Pace};
use crate::stats::median;

const BATCH: &str = Batch::Resnet50.name();

/// What requests and iterations take alone, with the shim and without, in turns.
pub fn overhead(stage: &Stage, plan: &Plan, raw: &mut Raw) -> anyhow::Result<()> {
    let mut native = stage.worker("a program", Under::Nothing)?;
    let mut shim = stage.worker("a program under the shim", Under::Shim(Class::Normal))?;
    let loads = [Load::Service.name(), Load::Decode.name(), BATCH];
    prepare(&mut native, &loads)?;
    prepare(&mut shim, &loads)?;
    for repetition in 1..=plan.repetitions {
        for load in [Load::Service, Load::Decode] {
            plan.progress.step(&format!("alone {load:?}"));
            // In short turns: the host has its moods.
            let (mut bare, mut gated) = (Vec::new(), Vec::new());
            for _ in 0..3 {
                bare.extend(native.serve(load.name(), plan.cell_s / 3.0)?);
                gated.extend(shim.serve(load.name(), plan.cell_s / 3.0)?);
            }
            let (native_ms, shim_ms) = (median(&bare), median(&gated));
            raw.overhead.push(Overhead {
                repetition,
                what: load.name().to_owned(),
                native_ms,
                shim_ms,
            });
        }
        plan.progress.step("alone batch");
        let per_s = [&mut native, &mut shim].map(|worker| rate(worker, plan.cell_s));
        let [native, shim] = per_s;
        raw.overhead.push(Overhead {
            repetition,
            what: BATCH.to_owned(),
            native_ms: 1e3 / native?,
            shim_ms: 1e3 / shim?,
        });
    }
    Ok(())
}

/// Iterations per second of a batch that is alone.
fn rate(worker: &mut Worker, seconds: f64) -> anyhow::Result<f64> {
    worker.work(BATCH)?;
    std::thread::sleep(Duration::from_millis(300));
    let before = worker.progress()?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let rate = worker.progress()?.rate_since(before);
    worker.stop()?;
    Ok(rate)
}

/// Two batches of one class by weight, and without any scheduling.
pub fn shares(stage: &Stage, plan: &Plan, raw: &mut Raw) -> anyhow::Result<()> {
    let mut workers = [
        stage.worker("a batch", Under::Shim(Class::Normal))?,
        stage.worker("another batch", Under::Shim(Class::Normal))?,
    ];
    for worker in &mut workers {
        prepare(worker, &[BATCH])?;
    }
    for repetition in 1..=plan.repetitions.min(2) {
        plan.progress.step("two batches natively");
        stage.tell(&["mode", "off"])?;
        let alone_per_s = rate(&mut workers[0], plan.cell_s)?;
        let native_per_s = Some(rates(&mut workers, plan)?);
        stage.tell(&["mode", "share"])?;
        for weights in [[10, 90], [50, 50]] {
            plan.progress.step(&format!("shares {weights:?}"));
            for (worker, weight) in workers.iter_mut().zip(weights) {
                let (pid, weight) = (worker.pid().to_string(), weight.to_string());
                stage.tell(&["set", "--pid", &pid, "--weight", &weight])?;
            }
            raw.shares.push(Share {
                repetition,
                weights,
                per_s: rates(&mut workers, plan)?,
                alone_per_s,
                native_per_s,
            });
        }
    }
    stage.tell(&["mode", "priority"]).map(drop)
}

/// Iterations per second of batches beside each other.
fn rates(workers: &mut [Worker; 2], plan: &Plan) -> anyhow::Result<[f64; 2]> {
    for worker in &mut *workers {
        worker.work(BATCH)?;
    }
    std::thread::sleep(Duration::from_millis(700));
    let mut before = Vec::new();
    for worker in &mut *workers {
        before.push(worker.progress()?);
    }
    std::thread::sleep(Duration::from_secs_f64(plan.cell_s * 2.0));
    let mut per_s = [0.0; 2];
    for ((worker, before), per_s) in workers.iter_mut().zip(before).zip(&mut per_s) {
        *per_s = worker.progress()?.rate_since(before);
    }
    for worker in workers {
        worker.stop()?;
    }
    Ok(per_s)
}

/// What a program of [`semantics`] runs under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    None,
    Random,
    RandomUnderMps,
}

/// What programs compute natively, twice, and under gates that open, are
/// capped and close at random, the last as a client of MPS too where it is.
pub fn semantics(stage: &Stage, raw: &mut Raw) -> anyhow::Result<()> {
    let folder = stage.folder("random")?;
    let manner = Manner::Stressed {
        seed: 15,
        pace: Pace::Usual,
    };
    let agent = Agent::start(&folder, manner)?;
    let program = stage.tools.file("semantics.py");
    let mps = Mps::start(stage);
    let start = |gate: Gate| {
        let mut command = stage.command("python3");
        command.arg(&program).stdout(Stdio::piped());
        if gate != Gate::None {
            command
                .env("XSCHED_RUN_DIR", &folder)
                .env("LD_PRELOAD", stage.tools.file(super::stage::SHIM));
        }
        if gate == Gate::RandomUnderMps {
            command.env(mps::PIPES_AT, stage.folder(mps::PIPES)?);
        }
        command.spawn().context("cannot start python3")
    };
    // Together: they take a minute each, and neighbours change no result.
    let mut children = vec![start(Gate::None)?, start(Gate::None)?, start(Gate::Random)?];
    match &mps {
        Ok(_) => children.push(start(Gate::RandomUnderMps)?),
        Err(why) => left_out(raw, "what programs compute under MPS", format!("{why:#}")),
    }
    let mut digests = Vec::new();
    for child in children {
        let output = child.wait_with_output()?;
        anyhow::ensure!(
            output.status.success(),
            "a program failed: {}",
            output.status
        );
        digests.push(serde_json::from_slice(&output.stdout)?);
    }
    let seen = agent.stop()?;
    let mut digests = digests.into_iter();
    let mut next = || digests.next().context("three programs ran");
    raw.semantics = Some(Semantics {
        native: [next()?, next()?],
        stressed: next()?,
        stressed_mps: next().ok(),
        waits: seen.waits,
    });
    Ok(())
}

/// The same requests in a program with the shim and one without, counted by
/// the profiler, the shim's page and uprobes. The agent looks at every call.
pub fn counts(stage: &mut Stage, raw: &mut Raw) -> anyhow::Result<()> {
    stage.start_agent(&["--overhead-budget", "100"])?;
    let mut shim = stage.worker("a program under the shim", Under::Shim(Class::Normal))?;
    let mut bare = stage.worker("a program", Under::Nothing)?;
    for load in [Load::Service, Load::Heavy] {
        prepare(&mut shim, &[load.name()])?;
        prepare(&mut bare, &[load.name()])?;
        // Until probes have found the program.
        for _ in 0..20 {
            prepare(&mut bare, &[load.name()])?;
            if stage.row(&bare)?.is_some_and(|row| row.launches > 0) {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        std::thread::sleep(Duration::from_secs(2));
        let launches = |worker: &Worker| -> anyhow::Result<u64> {
            Ok(stage.row(worker)?.map_or(0, |row| row.launches))
        };
        let before = [launches(&shim)?, launches(&bare)?];
        let trace = format!("trace {} 13", load.name());
        let profiler = [shim.ask(&trace)?, bare.ask(&trace)?];
        std::thread::sleep(Duration::from_secs(2));
        let after = [launches(&shim)?, launches(&bare)?];
        raw.counts.push(Count {
            load,
            profiler,
            gate: after[0] - before[0],
            uprobes: after[1] - before[1],
        });
    }
    stage.stop_agent()?;
    stage.start_agent(&[])
}

/// What a batch without the shim does with an agent and without one.
pub fn observed(stage: &mut Stage, plan: &Plan, raw: &mut Raw) -> anyhow::Result<()> {
    let mut batch = stage.worker("a batch", Under::Nothing)?;
    prepare(&mut batch, &[BATCH])?;
    for repetition in 1..=plan.repetitions {
        plan.progress.step("the observer");
        stage.stop_agent()?;
        let without_per_s = rate(&mut batch, plan.cell_s)?;
        stage.start_agent(&[])?;
        batch.work(BATCH)?;
        // Probes are set, and the budget is found.
        std::thread::sleep(Duration::from_secs_f64(plan.cell_s));
        let before = batch.progress()?;
        std::thread::sleep(Duration::from_secs_f64(plan.cell_s));
        let with_per_s = batch.progress()?.rate_since(before);
        batch.stop()?;
        raw.observed.push(Observed {
            repetition,
            without_per_s,
            with_per_s,
        });
    }
    Ok(())
}

/// Whether a batch does something within a second.
pub fn goes_on(batch: &mut Worker) -> anyhow::Result<bool> {
    let before = batch.progress()?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(batch.progress()?.rate_since(before) > 0.0)
}

/// Who is killed under load, and who goes on.
pub fn kills(stage: &mut Stage, raw: &mut Raw) -> anyhow::Result<()> {
    let mut service = stage.worker("a service", Under::Shim(Class::High))?;
    let mut batch = stage.worker("a batch", Under::Shim(Class::Low))?;
    prepare(&mut service, &[Load::Decode.name()])?;
    prepare(&mut batch, &[BATCH])?;
    batch.work(BATCH)?;
    service.tell("serve decode 1")?;
    std::thread::sleep(Duration::from_millis(500));
    drop(service);
    let survived = goes_on(&mut batch)?;
    raw.survived
        .insert("the batch, when the service is killed".to_owned(), survived);
    let mut service = stage.worker("a service", Under::Shim(Class::High))?;
    prepare(&mut service, &[Load::Decode.name()])?;
    service.tell("serve decode 2")?;
    std::thread::sleep(Duration::from_millis(500));
    stage.kill_agent();
    let requests: Vec<f64> = service.answer()?;
    raw.survived.insert(
        "the service, when the agent is killed".to_owned(),
        requests.len() > 2,
    );
    let survived = goes_on(&mut batch)?;
    raw.survived
        .insert("the batch, when the agent is killed".to_owned(), survived);
    // The slices that the dead agent left are taken over.
    stage.start_agent(&[])?;
    let joined = stage.wait_for(&batch, |row| row.gate.is_some())?;
    raw.survived
        .insert("the batch has joined the next agent".to_owned(), joined);
    drop(service);
    if stage.snapshot()?.agent.time_slicing.driver.is_some() {
        let alone = stage.wait_for(&batch, |row| {
            let slices = &row.time_slices;
            let driver_s = |slice: &xsched_common::api::TimeSliceRow| {
                slice.set_by == xsched_common::api::SliceSetter::Driver
            };
            !slices.is_empty() && slices.iter().all(driver_s)
        })?;
        raw.survived.insert(
            "the next agent has given the batch, now alone, its slice back".to_owned(),
            alone,
        );
    }
    batch.stop().map(drop)
}

/// Says that a part was not measured.
pub fn left_out(raw: &mut Raw, what: &str, why: impl Into<String>) {
    raw.left_out.push(LeftOut {
        what: what.to_owned(),
        why: why.into(),
    });
}
