//! A service beside a batch program of a lower class.

use std::time::Duration;

use xsched_common::units::Nanos;
use xsched_policy::{DeviceSettings, cap_for};

use super::stage::{
    HIGH, JOINED, LOW, Latency, MEASURE, REQUESTS, Requests, Sharing, Stage, Under, WARM_UP, work,
};
use super::{Model, REPETITIONS};
use crate::bench::report::Metric;
use crate::bench::sched::by_kernel;
use crate::stats::{median, spread};

/// A scenario, the batch program's T in us, and the synchronisations of a
/// request.
struct Scenario {
    name: &'static str,
    kernel_us: u64,
    syncs: u32,
}

const KERNELS: [Scenario; 3] = [
    Scenario {
        name: "prio_p99_t60us_rt",
        kernel_us: 60,
        syncs: 1,
    },
    Scenario {
        name: "prio_p99_t500us_rt",
        kernel_us: 500,
        syncs: 1,
    },
    Scenario {
        name: "prio_p99_t5ms_rt",
        kernel_us: 5_000,
        syncs: 1,
    },
];

const SYNCS: Scenario = Scenario {
    name: "syncs50_p99_rt",
    kernel_us: 60,
    syncs: 50,
};

pub fn measure(stage: &Stage<'_>, model: &Model<'_>) -> anyhow::Result<Vec<Metric>> {
    let mut metrics = Vec::new();
    let (mut kept, mut over) = (Vec::new(), Vec::new());
    for scenario in &KERNELS {
        eprintln!("{} ...", scenario.name);
        let mut runs = Runs::default();
        let mut beyond = Vec::new();
        for _ in 0..REPETITIONS {
            runs.turn(stage, scenario)?;
            beyond.push(over_kt(stage, scenario.kernel_us)?);
        }
        metrics.push(runs.metric(scenario.name, model)?);
        kept.push((scenario.kernel_us, median(&runs.kept)));
        over.push((scenario.kernel_us, median(&beyond)));
    }

    eprintln!("{} ...", SYNCS.name);
    let (mut runs, mut without) = (Runs::default(), Vec::new());
    for _ in 0..REPETITIONS {
        let alone = runs.turn(stage, &SYNCS)?;
        stage.share(Sharing::NoLinger)?;
        let (latency, _) = pair(stage, &SYNCS, HIGH, LOW)?;
        without.push(latency.p90 / alone.p90);
        stage.share(Sharing::Default)?;
    }
    metrics.push(runs.metric(SYNCS.name, model)?);
    metrics.push(
        model
            .at_most("syncs50_nolinger_p99_rt", "x", median(&without))?
            .beside(median(&runs.native))
            .spread(spread(&without)),
    );

    let least = kept.iter().map(|(_, kept)| *kept).fold(100.0, f64::min);
    metrics.push(
        model
            .at_least("low_leftover_pct_rt", "%", least)?
            .detail(by_kernel(&kept, "%")),
    );
    metrics.push(low_alone(stage, model)?);
    let most = over.iter().map(|(_, over)| *over).fold(f64::MIN, f64::max);
    // The model loses nothing beyond K T, of which a quarter more is nothing:
    // the bound is what waking two threads in turn takes on a virtual machine.
    metrics.push(
        Metric::at_most("preempt_over_kt_us_rt", "us", most, 160.0).detail(by_kernel(&over, "us")),
    );
    Ok(metrics)
}

/// Of one scenario, by repetition: P90 over alone.
#[derive(Default)]
struct Runs {
    native: Vec<f64>,
    ours: Vec<f64>,
    /// Medians of the requests over alone.
    typical: Vec<f64>,
    alone_ms: Vec<f64>,
    /// What the batch program keeps of what is left, in percent.
    kept: Vec<f64>,
}

impl Runs {
    /// Alone, native, scheduled; returns alone.
    fn turn(&mut self, stage: &Stage<'_>, scenario: &Scenario) -> anyhow::Result<Latency> {
        let requests = requests(scenario);
        let batch_alone = stage.batch_alone(&kernel(scenario.kernel_us), Under::Native)?;
        let alone = stage.service(requests, MEASURE, Under::Native)?.finish()?;
        let (native, _) = pair(stage, scenario, Under::Native, Under::Native)?;
        let (ours, rate) = pair(stage, scenario, HIGH, LOW)?;
        self.alone_ms.push(alone.p90 / 1e6);
        self.native.push(native.p90 / alone.p90);
        self.ours.push(ours.p90 / alone.p90);
        self.typical.push(ours.p50 / alone.p50);
        self.kept
            .push(rate / (batch_alone.per_s * (1.0 - ours.busy)) * 100.0);
        Ok(alone)
    }

    fn metric(&self, name: &'static str, model: &Model<'_>) -> anyhow::Result<Metric> {
        Ok(model
            .at_most(name, "x", median(&self.ours))?
            .beside(median(&self.native))
            .spread(spread(&self.ours))
            .detail(format!(
                "P90; P90 alone {:.2} ms; median over alone {:.3}; the batch keeps {:.1}% of its leftover",
                median(&self.alone_ms),
                median(&self.typical),
                median(&self.kept),
            )))
    }
}

/// The service beside the batch program, whose kernels per second come too.
/// The service comes first, and the batch program's first 256 kernels, which
/// it launches before the agent has seen it, are over when measuring begins.
fn pair(
    stage: &Stage<'_>,
    scenario: &Scenario,
    high: Under<'_>,
    low: Under<'_>,
) -> anyhow::Result<(Latency, f64)> {
    let requests = settled(requests(scenario), scenario.kernel_us);
    let service = stage.service(requests, MEASURE, high)?;
    std::thread::sleep(JOINED);
    let batch = stage.batch(&kernel(scenario.kernel_us), low)?;
    Ok((service.finish()?, work(batch)?.per_s))
}

fn requests(scenario: &Scenario) -> Requests {
    Requests {
        syncs: scenario.syncs,
        ..REQUESTS
    }
}

/// Measured once 256 kernels are done at half the device's speed.
fn settled(requests: Requests, kernel_us: u64) -> Requests {
    Requests {
        warm_up: WARM_UP + Duration::from_micros(2 * 256 * kernel_us),
        ..requests
    }
}

fn kernel(us: u64) -> String {
    format!("{us}us")
}

/// What a burst of 10 ms loses beyond the K T that the batch program may have
/// in flight, in us, at the 90th percentile.
fn over_kt(stage: &Stage<'_>, kernel_us: u64) -> anyhow::Result<f64> {
    let requests = Requests {
        kernels: 20,
        ..REQUESTS
    };
    let alone = stage.service(requests, MEASURE, Under::Native)?.finish()?;
    stage.share(Sharing::NoMinimum)?;
    let service = stage.service(settled(requests, kernel_us), MEASURE, HIGH)?;
    std::thread::sleep(JOINED);
    let batch = stage.batch(&kernel(kernel_us), LOW)?;
    let beside = service.finish()?;
    drop(batch);
    stage.share(Sharing::Default)?;
    let time = Nanos::from_micros(kernel_us);
    let cap = cap_for(DeviceSettings::default().budget, Some(time));
    let in_flight = time.times(u64::from(cap)).0 as f64;
    Ok(((beside.p90 - alone.p90 - in_flight) / 1e3).max(0.0))
}

/// The batch program by itself, with the shim over without.
fn low_alone(stage: &Stage<'_>, model: &Model<'_>) -> anyhow::Result<Metric> {
    eprintln!("low_alone_pct_rt ...");
    let (mut native, mut shimmed) = (Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        native.push(stage.batch_alone(&kernel(60), Under::Native)?.per_s);
        shimmed.push(stage.batch_alone(&kernel(60), LOW)?.per_s);
    }
    let kept = |rate: f64| rate / median(&native) * 100.0;
    Ok(model
        .at_least("low_alone_pct_rt", "%", kept(median(&shimmed)))?
        .spread(kept(spread(&shimmed))))
}
