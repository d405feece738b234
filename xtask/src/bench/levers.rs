//! `bench levers`: what the priorities of AMD's hardware queues bring in the model, on AMD's own runtime over the simulated
//! HSA library. No gate is shut: both programs have the shim and a class, the batch program floods the device.

use crate::build::Built;
use crate::demo::scenario::{Beside, Run};
use crate::demo::stage::{Ground, Shim, Stage};
use crate::real_runtime::Version;
use crate::stats::{median, spread};

use super::report::Metric;

const REPETITIONS: usize = 3;

/// All metrics on this runtime. This process goes to where it is.
pub fn measure(built: &Built, version: Version) -> anyhow::Result<Vec<Metric>> {
    let stage = Stage::on(built, "levers", Ground::Real(version))?;
    let (mut alone, mut batch_alone) = (Vec::new(), Vec::new());
    let [mut off, mut by_class] = [const { Vec::new() }; 2];
    for repetition in 1..=REPETITIONS {
        eprintln!(
            "{repetition} of {REPETITIONS}: each alone, both without priorities, both with ..."
        );
        batch_alone.push(stage.batch_alone()?);
        alone.push(p99(&stage.service(Shim::Without, Beside::Nobody)?));
        off.push(beside(&stage, "off")?);
        by_class.push(beside(&stage, "by-class")?);
    }
    let alone = median(&alone);
    let ratios = |runs: &[Run]| -> Vec<f64> { runs.iter().map(|run| p99(run) / alone).collect() };
    let (without, with) = (ratios(&off), ratios(&by_class));
    let kept: Vec<f64> = by_class
        .iter()
        .map(|run| run.batch_per_s / (median(&batch_alone) * (1.0 - run.busy)) * 100.0)
        .collect();
    Ok(vec![
        Metric::at_most("queue_priority_p99", "x", median(&with), 1.10)
            .beside(median(&without))
            .spread(spread(&with))
            .detail(format!("P99 alone {:.2} ms", alone / 1e6)),
        Metric::at_least("queue_priority_batch_pct", "%", median(&kept), 95.0)
            .spread(spread(&kept)),
    ])
}

fn p99(run: &Run) -> f64 {
    run.latency.p99_ns as f64
}

/// Both programs, with gates that are never shut.
fn beside(stage: &Stage<'_>, queue_priority: &str) -> anyhow::Result<Run> {
    let config = stage.dir().join("xsched.toml");
    let text = format!(
        "[sharing]\nmode = \"off\"\n[platform.amd]\nqueue_priority = \"{queue_priority}\"\n"
    );
    std::fs::write(&config, text)?;
    let options = ["--no-bpf".as_ref(), "--config".as_ref(), config.as_os_str()];
    let agent = stage.start_agent(&options)?;
    let run = stage.service(Shim::With, Beside::Batch)?;
    agent.stop()?;
    Ok(run)
}
