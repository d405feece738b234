//! The play: who runs when, with which load.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::report::{Batch, Events, Latency, Report, Service};
use super::stage::{BATCH_KERNEL, Ground, Shim, Stage};
use crate::build::Built;
use crate::child::Guarded;
use crate::platform::Platform;
use crate::progress::note;
use crate::stats;

const REPETITIONS: usize = 3;
/// How long the service is measured each time.
const MEASURE: Duration = Duration::from_millis(3500);
const WARM_UP: Duration = Duration::from_millis(300);
/// How long the batch program runs alone.
const BATCH_ALONE: Duration = Duration::from_secs(1);
/// One request: kernels back to back, then one synchronise.
const REQUEST_KERNELS: u64 = 20;
const KERNEL: Duration = Duration::from_micros(500);
const PERIOD: Duration = Duration::from_millis(30);

/// What one run of service and batch brought.
#[derive(Default)]
pub struct Run {
    /// Of the service's requests.
    pub latency: Latency,
    /// Kernels of the batch program.
    pub batch_per_s: f64,
    /// The part of the time that the service's kernels take.
    pub busy: f64,
}

/// Plays everything and returns the figures.
pub fn play(built: &Built, ground: Ground) -> anyhow::Result<Report> {
    let stage = Stage::on(built, "demo", ground)?;
    note("starting the agent");
    let agent = stage.start_agent(&[])?;
    let (mut alone, mut native, mut scheduled) = (Vec::new(), Vec::new(), Vec::new());
    let mut batch_alone = Vec::new();
    for repetition in 1..=REPETITIONS {
        note(&format!(
            "{repetition} of {REPETITIONS}: batch alone, service alone, both natively, both scheduled"
        ));
        batch_alone.push(stage.batch_alone()?);
        alone.push(stage.service(Shim::Without, Beside::Nobody)?);
        native.push(stage.service(Shim::Without, Beside::Batch)?);
        scheduled.push(stage.service(Shim::With, Beside::Batch)?);
    }
    let broken = match ground {
        Ground::Simulated(Platform::Hip) => Some("versioned"),
        Ground::Simulated(Platform::Cuda) => Some("deepbound"),
        // The program asks for a version node that only hipsim lets pass.
        Ground::Real(_) => None,
    };
    let diagnosis = match broken {
        None => None,
        Some(program) => {
            note("diagnosing a process whose launches escape");
            Some(stage.diagnose(program)?)
        }
    };
    let snapshot = stage.snapshot()?;
    agent.stop()?;

    let bpf = &snapshot["agent"]["bpf"];
    let ebpf = bpf["available"].as_bool().unwrap_or(false);
    let scheduled_per_s = median_of(scheduled.iter().map(|r| r.batch_per_s));
    let alone_per_s = median_of(batch_alone.into_iter());
    let leftover = alone_per_s * (1.0 - median_of(scheduled.iter().map(|r| r.busy)));
    Ok(Report {
        service: Service {
            alone: latency(&alone),
            native: latency(&native),
            scheduled: latency(&scheduled),
        },
        batch: Batch {
            alone_per_s,
            native_per_s: median_of(native.iter().map(|r| r.batch_per_s)),
            scheduled_per_s,
            leftover_kept: scheduled_per_s / leftover,
        },
        ebpf,
        events: Events {
            captured: bpf["events"].as_u64().unwrap_or(0),
            dropped: snapshot["agent"]["drops"]["total"].as_u64().unwrap_or(0),
        },
        diagnosis,
        device: match ground {
            Ground::Simulated(platform) => platform.samples().to_owned(),
            Ground::Real(version) => format!("hsasim, {version}"),
        },
        left_out: (!ebpf).then(|| {
            format!(
                "eBPF ({}): processes without the shim are not observed and the diagnosis is static",
                bpf["reason"].as_str().unwrap_or("unknown reason")
            )
        }),
        load: format!(
            "service: {REQUEST_KERNELS} kernels of {} us every {} ms; batch: kernels of {} us without end; medians of {REPETITIONS} runs",
            KERNEL.as_micros(),
            PERIOD.as_millis(),
            BATCH_KERNEL.as_micros()
        ),
    })
}

/// Who runs beside the service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nobody.
    Nobody,
    /// The batch program, of class low where it has the shim.
    Batch,
}

impl Stage<'_> {
    /// Kernels per second of the batch program without the shim and alone.
    pub fn batch_alone(&self) -> anyhow::Result<f64> {
        let batch = self.batch(Shim::Without)?;
        std::thread::sleep(BATCH_ALONE);
        per_s(&batch.stop()?)
    }

    /// Runs the service, of class high where it has the shim.
    pub fn service(&self, shim: Shim, beside: Beside) -> anyhow::Result<Run> {
        let batch = match beside {
            Beside::Nobody => None,
            Beside::Batch => Some(self.batch(shim)?),
        };
        let mut command = self.sample(&self.program("service"), shim, "high");
        command
            .args(["--json", "--kernels", &REQUEST_KERNELS.to_string()])
            .args(["--kernel-time", &format!("{}us", KERNEL.as_micros())])
            .args(["--period", &format!("{}ms", PERIOD.as_millis())])
            .args(["--warmup", &format!("{}ms", WARM_UP.as_millis())])
            .args(["--duration", &format!("{}ms", MEASURE.as_millis())]);
        let text = Guarded::start(&mut command, "the service")?.finish(MEASURE * 4)?;
        let service: Value = serde_json::from_str(text.trim()).context("the service's report")?;
        let number = |key: &str| {
            service[key]
                .as_u64()
                .with_context(|| format!("the service's {key}"))
        };
        let latency = Latency {
            p50_ns: number("p50_ns")?,
            p99_ns: number("p99_ns")?,
            max_ns: number("max_ns")?,
            requests: number("requests")?,
        };
        let device = KERNEL.as_secs_f64() * (REQUEST_KERNELS * latency.requests) as f64;
        Ok(Run {
            latency,
            batch_per_s: batch.map_or(Ok(0.0), |batch| per_s(&batch.stop()?))?,
            busy: device / MEASURE.as_secs_f64(),
        })
    }

    fn diagnose(&self, program: &str) -> anyhow::Result<Vec<Value>> {
        let mut command = self.sample(&self.program(program), Shim::With, "normal");
        let broken = Guarded::start(&mut command, "the broken program")?;
        std::thread::sleep(Duration::from_millis(500));
        let output = self
            .agent()
            .args([
                "diagnose",
                "--json",
                "--duration",
                "2",
                "--pid",
                &broken.pid().to_string(),
            ])
            .output()
            .context("xsched-agent diagnose")?;
        let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "xsched-agent diagnose: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )
        })?;
        Ok(report["findings"].as_array().cloned().unwrap_or_default())
    }
}

fn per_s(report: &str) -> anyhow::Result<f64> {
    let report: Value =
        serde_json::from_str(report.trim()).context("the batch program's report")?;
    report["per_s"]
        .as_f64()
        .context("the batch program's per_s")
}

fn latency(runs: &[Run]) -> Latency {
    let pick = |field: fn(&Latency) -> u64| {
        median_of(runs.iter().map(|r| field(&r.latency) as f64)) as u64
    };
    Latency {
        p50_ns: pick(|l| l.p50_ns),
        p99_ns: pick(|l| l.p99_ns),
        max_ns: pick(|l| l.max_ns),
        requests: runs.iter().map(|r| r.latency.requests).sum(),
    }
}

fn median_of(values: impl Iterator<Item = f64>) -> f64 {
    stats::median(&values.collect::<Vec<_>>())
}
