//! Programs on one simulated device, under one agent.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::bench::workbench::{Shim, Workbench};
use crate::child::Guarded;

/// Latencies are measured for so long.
pub const MEASURE: Duration = Duration::from_millis(2_000);
/// After so long, in which caps and gaps are learnt.
pub const WARM_UP: Duration = Duration::from_millis(400);
/// A program has joined after so long, well before the warm-up ends.
pub const JOINED: Duration = Duration::from_millis(150);
/// A batch program has its rate when it ran for so long.
const BATCH: Duration = Duration::from_millis(1_000);

/// How programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under<'t> {
    /// As the runtime treats them.
    Native,
    /// By `xsched-agent run` with these options.
    Shim(&'t [&'t str]),
}

pub const HIGH: Under<'static> = Under::Shim(&["--class", "high"]);
pub const LOW: Under<'static> = Under::Shim(&["--class", "low"]);

/// What the agent is told about sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The defaults.
    Default,
    /// No linger.
    NoLinger,
    /// No minimum share, so that nothing but K T stands before a burst.
    NoMinimum,
    /// By weight.
    Weights,
    /// Threads that are named train-... are low.
    Trainers,
}

impl Sharing {
    fn text(self) -> &'static str {
        match self {
            Sharing::Default => "",
            Sharing::NoLinger => "[sharing]\nlinger = \"0us\"\n",
            Sharing::NoMinimum => "[sharing]\nmin_share_percent = 0\n",
            Sharing::Weights => "[sharing]\nmode = \"share\"\n",
            Sharing::Trainers => {
                "[[rule]]\nname = \"trainers\"\nmatch = { exe = \"hipsim-replay\" }\n\n\
                 [[rule.thread]]\nmatch = { thread = \"train-*\" }\nclass = \"low\"\n"
            }
        }
    }
}

/// A service's requests.
#[derive(Clone, Copy, Debug)]
pub struct Requests {
    /// Kernels of 500 us per request.
    pub kernels: u32,
    /// Synchronisations per request.
    pub syncs: u32,
    /// Between requests.
    pub period: Duration,
    /// `fixed` or `jittered`.
    pub gaps: &'static str,
    /// Not measured at first.
    pub warm_up: Duration,
}

const KERNEL: Duration = Duration::from_micros(500);

/// As the model's.
pub const REQUESTS: Requests = Requests {
    kernels: 50,
    syncs: 1,
    period: Duration::from_millis(100),
    gaps: "jittered",
    warm_up: WARM_UP,
};

/// What a service measured.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// ns.
    pub p50: f64,
    /// ns.
    pub p90: f64,
    /// Its share of the device.
    pub busy: f64,
}

/// What threads of one process did.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    /// Of the favoured one, ns.
    pub p50: f64,
    /// As above.
    pub p99: f64,
    /// Of all.
    pub kernels: f64,
}

/// What a batch program did.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub kernels: f64,
    pub per_s: f64,
}

pub struct Stage<'b> {
    bench: &'b Workbench<'b>,
    config: PathBuf,
    _agent: Guarded,
}

impl<'b> Stage<'b> {
    pub fn new(bench: &'b Workbench<'b>) -> anyhow::Result<Stage<'b>> {
        let config = bench.dir.join("xsched.toml");
        std::fs::write(&config, "")?;
        let file = config.to_string_lossy();
        let agent = bench.start_agent(&["--no-bpf", "--config", &file])?;
        Ok(Stage {
            bench,
            config,
            _agent: agent,
        })
    }

    /// From now on.
    pub fn share(&self, sharing: Sharing) -> anyhow::Result<()> {
        std::fs::write(&self.config, sharing.text())?;
        let agent = self.bench.built.file("xsched-agent");
        let mut command = self.bench.command(&agent, "hip", Shim::Without);
        let out = command.args(["config", "reload"]).output()?;
        ensure!(
            out.status.success(),
            "the agent does not take {sharing:?}: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
        Ok(())
    }

    /// A sample program, to be started.
    pub fn program(&self, name: &str, under: Under<'_>) -> Command {
        let file = self.bench.built.file(name);
        let mut command = match under {
            Under::Native => self.bench.command(&file, "hip", Shim::Without),
            Under::Shim(terms) => {
                let agent = self.bench.built.file("xsched-agent");
                let mut command = self.bench.command(&agent, "hip", Shim::Without);
                command.arg("run").args(terms).arg("--").arg(&file);
                command
            }
        };
        command.stderr(Stdio::null());
        command
    }

    /// A saturating program, until it is stopped.
    pub fn batch(&self, kernel: &str, under: Under<'_>) -> anyhow::Result<Guarded> {
        let mut command = self.program("hipsim-batch", under);
        command.args(["--kernel-time", kernel]);
        Guarded::start(&mut command, "the batch program")
    }

    /// A saturating program by itself.
    pub fn batch_alone(&self, kernel: &str, under: Under<'_>) -> anyhow::Result<Work> {
        let batch = self.batch(kernel, under)?;
        std::thread::sleep(BATCH);
        work(batch)
    }

    /// So many kernels: the time that they took, in seconds.
    pub fn job(&self, kernel: &str, kernels: u32, under: Under<'_>) -> anyhow::Result<f64> {
        let mut command = self.program("hipsim-batch", under);
        command.args(["--kernel-time", kernel, "--kernels", &kernels.to_string()]);
        let job = Guarded::start(&mut command, "the job")?;
        let done = work_of(&job.finish(Duration::from_secs(30))?)?;
        Ok(done.kernels / done.per_s)
    }

    /// Threads of one process, the first favoured, the others below it by this.
    pub fn threads(
        &self,
        threads: u32,
        arguments: &[&str],
        under: Under<'_>,
    ) -> anyhow::Result<Threads> {
        let mut command = self.program("hipsim-threads", under);
        command
            .args(["--threads", &threads.to_string()])
            .args(["--period", "50ms", "--own-kernels", "50"])
            .args(["--warmup", &format!("{}ms", WARM_UP.as_millis())])
            .args(["--duration", &format!("{}ms", MEASURE.as_millis())])
            .args(arguments);
        let program = Guarded::start(&mut command, "the threads")?;
        let text = program.finish(MEASURE * 10)?;
        Ok(Threads {
            p50: number(&text, "p50_ns")?,
            p99: number(&text, "p99_ns")?,
            kernels: number(&text, "own_kernels")? + number(&text, "other_kernels")?,
        })
    }

    /// The directory and the built programs.
    pub fn bench(&self) -> &'b Workbench<'b> {
        self.bench
    }

    /// One that never waits in a HIP call and learns of its requests' ends in
    /// this way; `ends` is the file for their times.
    pub fn asynchronous(
        &self,
        way: &str,
        requests: Requests,
        time: Duration,
        under: Under<'_>,
        ends: Option<&Path>,
    ) -> anyhow::Result<Service> {
        let mut command = self.program("hipsim-async", under);
        command
            .args(["--way", way])
            .args(["--kernels", &requests.kernels.to_string()])
            .args(["--kernel-time", &format!("{}us", KERNEL.as_micros())])
            .args(["--period", &format!("{}ms", requests.period.as_millis())])
            .args(["--warmup", &format!("{}ms", requests.warm_up.as_millis())])
            .args(["--duration", &format!("{}ms", time.as_millis())]);
        if let Some(ends) = ends {
            command.arg("--ends").arg(ends);
        }
        Ok(Service {
            program: Guarded::start(&mut command, "the asynchronous service")?,
            kernels: requests.kernels,
            time,
        })
    }

    /// A service that measures itself for `time`.
    pub fn service(
        &self,
        requests: Requests,
        time: Duration,
        under: Under<'_>,
    ) -> anyhow::Result<Service> {
        let mut command = self.program("hipsim-service", under);
        command
            .args(["--json", "--syncs", &requests.syncs.to_string()])
            .args(["--kernels", &requests.kernels.to_string()])
            .args(["--kernel-time", &format!("{}us", KERNEL.as_micros())])
            .args(["--period", &format!("{}ms", requests.period.as_millis())])
            .args(["--gaps", requests.gaps])
            .args(["--warmup", &format!("{}ms", requests.warm_up.as_millis())])
            .args(["--duration", &format!("{}ms", time.as_millis())]);
        Ok(Service {
            program: Guarded::start(&mut command, "the service")?,
            kernels: requests.kernels,
            time,
        })
    }
}

/// A service that runs.
pub struct Service {
    program: Guarded,
    kernels: u32,
    time: Duration,
}

impl Service {
    pub fn finish(self) -> anyhow::Result<Latency> {
        let text = self.program.finish(self.time * 10)?;
        let requests = number(&text, "requests")?;
        let used = KERNEL.as_secs_f64() * f64::from(self.kernels) * requests;
        Ok(Latency {
            p50: number(&text, "p50_ns")?,
            p90: number(&text, "p90_ns")?,
            busy: used / self.time.as_secs_f64(),
        })
    }
}

/// Stops a batch program.
pub fn work(batch: Guarded) -> anyhow::Result<Work> {
    work_of(&batch.stop()?)
}

fn work_of(report: &str) -> anyhow::Result<Work> {
    Ok(Work {
        kernels: number(report, "kernels")?,
        per_s: number(report, "per_s")?,
    })
}

fn number(json: &str, key: &str) -> anyhow::Result<f64> {
    let report: Value = serde_json::from_str(json.trim()).context("a program's report")?;
    report[key]
        .as_f64()
        .with_context(|| format!("a program's report has no {key}: {json}"))
}
