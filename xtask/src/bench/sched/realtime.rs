//! The same scenarios in real time: hipsim, the real shim, the real agent.
//! This machine is noisy, so each figure is a median over repetitions of the
//! P90 over alone, and its bound is the model's figure and a quarter.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::bench::report::Metric;
use crate::bench::workbench::{Shim, Workbench};
use crate::build::Built;
use crate::child::Guarded;
use crate::stats::{median, spread};

const REPETITIONS: usize = 3;
const MEASURE: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_millis(500);
/// How far a figure may lie above the model's.
const ROOM: f64 = 1.25;

/// A scenario and the model's metric that it is measured for.
struct Scenario {
    name: &'static str,
    of: &'static str,
    low: &'static str,
    syncs: &'static str,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "prio_p99_t60us_rt",
        of: "prio_p99_t60us",
        low: "60us",
        syncs: "1",
    },
    Scenario {
        name: "prio_p99_t500us_rt",
        of: "prio_p99_t500us",
        low: "500us",
        syncs: "1",
    },
    Scenario {
        name: "prio_p99_t5ms_rt",
        of: "prio_p99_t5ms",
        low: "5ms",
        syncs: "1",
    },
    Scenario {
        name: "syncs50_p99_rt",
        of: "syncs50_p99",
        low: "60us",
        syncs: "50",
    },
];

/// All of them; `modelled` has the figures that they are held against.
pub fn measure(built: &Built, modelled: &[Metric]) -> anyhow::Result<Vec<Metric>> {
    let bench = Workbench::new(built)?;
    hipsim::install::install(&built.file("libhipsim.so"), &bench.dir.join("hip"))?;
    let _agent = bench.start_agent(&["--no-bpf"])?;
    let stage = Stage { bench: &bench };
    let mut metrics = Vec::new();
    let mut leftovers = Vec::new();
    for (index, scenario) in SCENARIOS.iter().enumerate() {
        eprintln!(
            "{} of {}: {} in real time, {REPETITIONS} times alone, native, scheduled ...",
            index + 1,
            SCENARIOS.len() + 1,
            scenario.of
        );
        let model = modelled
            .iter()
            .find(|metric| metric.name == scenario.of)
            .map(|metric| metric.value)
            .context("the model has no such figure")?;
        let mut runs = [const { Vec::new() }; 2];
        let mut kept = Vec::new();
        for _ in 0..REPETITIONS {
            let batch_alone = stage.batch_alone(scenario, Shim::Without)?;
            let alone = stage.run(scenario, Cast::Alone)?;
            for (ratios, cast) in runs.iter_mut().zip([Cast::Native, Cast::Scheduled]) {
                let run = stage.run(scenario, cast)?;
                ratios.push(run.p90 / alone.p90);
                if cast == Cast::Scheduled && scenario.syncs == "1" {
                    kept.push(run.batch_per_s / (batch_alone * (1.0 - run.busy)) * 100.0);
                }
            }
        }
        let [native, ours] = &runs;
        metrics.push(
            Metric::at_most(scenario.name, "x", median(ours), model * ROOM)
                .beside(median(native))
                .spread(spread(ours)),
        );
        if !kept.is_empty() {
            leftovers.push(median(&kept));
        }
    }
    let least = leftovers.iter().copied().fold(f64::INFINITY, f64::min);
    metrics.push(
        Metric::at_least("low_leftover_pct_rt", "%", least, 97.0 / ROOM).detail(
            leftovers
                .iter()
                .zip(&SCENARIOS)
                .map(|(kept, scenario)| format!("{kept:.1}% at T = {}", scenario.low))
                .collect::<Vec<_>>()
                .join(", "),
        ),
    );
    metrics.push(stage.low_alone()?);
    Ok(metrics)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cast {
    Alone,
    Native,
    Scheduled,
}

struct Run {
    p90: f64,
    batch_per_s: f64,
    /// The service's share of the device.
    busy: f64,
}

struct Stage<'b> {
    bench: &'b Workbench<'b>,
}

const KERNELS: u32 = 50;
const KERNEL: Duration = Duration::from_micros(500);
const PERIOD: Duration = Duration::from_millis(100);

impl Stage<'_> {
    fn sample(&self, name: &str, shim: Shim, class: &str) -> Command {
        let file = self.bench.built.file(name);
        let agent = self.bench.built.file("xsched-agent");
        let mut command = match shim {
            Shim::Without => self.bench.command(&file, "hip", Shim::Without),
            Shim::With => {
                let mut command = self.bench.command(&agent, "hip", Shim::Without);
                command.args(["run", "--class", class, "--"]).arg(&file);
                command
            }
        };
        command.stderr(Stdio::null());
        command
    }

    fn batch(&self, scenario: &Scenario, shim: Shim) -> anyhow::Result<Guarded> {
        let mut command = self.sample("hipsim-batch", shim, "low");
        command.args(["--kernel-time", scenario.low]);
        Guarded::start(&mut command, "the batch program")
    }

    fn batch_alone(&self, scenario: &Scenario, shim: Shim) -> anyhow::Result<f64> {
        let batch = self.batch(scenario, shim)?;
        std::thread::sleep(Duration::from_secs(1));
        number(&batch.stop()?, "per_s")
    }

    fn run(&self, scenario: &Scenario, cast: Cast) -> anyhow::Result<Run> {
        let shim = match cast {
            Cast::Scheduled => Shim::With,
            Cast::Alone | Cast::Native => Shim::Without,
        };
        let batch = match cast {
            Cast::Alone => None,
            Cast::Native | Cast::Scheduled => Some(self.batch(scenario, shim)?),
        };
        let mut command = self.sample("hipsim-service", shim, "high");
        command
            .args(["--json", "--syncs", scenario.syncs])
            .args(["--kernels", &KERNELS.to_string()])
            .args(["--kernel-time", &format!("{}us", KERNEL.as_micros())])
            .args(["--period", &format!("{}ms", PERIOD.as_millis())])
            .args(["--warmup", &format!("{}ms", WARM_UP.as_millis())])
            .args(["--duration", &format!("{}ms", MEASURE.as_millis())]);
        let text = Guarded::start(&mut command, "the service")?.finish(MEASURE * 5)?;
        let requests = number(&text, "requests")?;
        Ok(Run {
            p90: number(&text, "p90_ns")?,
            batch_per_s: batch.map_or(Ok(0.0), |batch| number(&batch.stop()?, "per_s"))?,
            busy: KERNEL.as_secs_f64() * f64::from(KERNELS) * requests / MEASURE.as_secs_f64(),
        })
    }

    /// The batch program by itself, with the shim over without.
    fn low_alone(&self) -> anyhow::Result<Metric> {
        eprintln!(
            "{0} of {0}: the batch program alone, with and without the shim ...",
            SCENARIOS.len() + 1
        );
        let (mut native, mut shimmed) = (Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            native.push(self.batch_alone(&SCENARIOS[0], Shim::Without)?);
            shimmed.push(self.batch_alone(&SCENARIOS[0], Shim::With)?);
        }
        let kept = median(&shimmed) / median(&native) * 100.0;
        Ok(Metric::at_least("low_alone_pct_rt", "%", kept, 99.0 / ROOM)
            .spread(spread(&shimmed) / median(&native) * 100.0))
    }
}

fn number(json: &str, key: &str) -> anyhow::Result<f64> {
    let report: Value = serde_json::from_str(json.trim()).context("a program's report")?;
    report[key]
        .as_f64()
        .with_context(|| format!("a program's report has no {key}: {json}"))
}
