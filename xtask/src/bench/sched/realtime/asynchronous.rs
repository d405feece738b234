//! Services that never wait in a HIP call, beside a batch program: what each
//! way of learning that work is complete leaves to the lower class, and how
//! soon after a request's end its gate opens.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use rustix::mm::ProtFlags;
use rustix::time::{ClockId, clock_gettime};
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::page::ControlPage;
use xsched_common::units::{Class, Nanos};

use super::stage::{HIGH, LOW, MEASURE, REQUESTS, Requests, Stage, Under, WARM_UP, work};
use super::{Model, REPETITIONS, ROOM};
use crate::bench::report::Metric;
use crate::bench::sched::control;
use crate::stats::{median, quantile, spread};

/// The batch program's kernels.
const BATCH: &str = "60us";

/// A silent program is known after so long: a tenth of a second of silence,
/// and two requests that are timed.
const KNOWN: Duration = Duration::from_millis(800);

/// The bus number of the simulator's first device.
const SIMULATED_BUS: &str = "3";

/// Time between two looks at a gate.
const LOOK: Duration = Duration::from_micros(100);

/// The ways that hipsim-async knows, by metric.
const WAYS: [(&str, &[&str]); 4] = [
    ("async_callback_low_pct_rt", &["function", "callback"]),
    ("async_query_low_pct_rt", &["query"]),
    ("async_event_chain_low_pct_rt", &["chain"]),
    ("async_silent_low_pct_rt", &["silent", "value"]),
];

fn requests() -> Requests {
    Requests {
        warm_up: WARM_UP + KNOWN,
        ..REQUESTS
    }
}

/// What became of one way.
#[derive(Default)]
struct Runs {
    kept: Vec<f64>,
    latency: Vec<f64>,
}

pub fn measure(stage: &Stage<'_>, model: &Model<'_>) -> anyhow::Result<Vec<Metric>> {
    let mut metrics = Vec::new();
    let (mut latencies, mut found) = (Vec::new(), Vec::new());
    for (name, ways) in WAYS {
        eprintln!("{name} ...");
        let mut least: Option<(f64, Vec<f64>)> = None;
        let mut each = Vec::new();
        for way in ways {
            let mut runs = Runs::default();
            for _ in 0..REPETITIONS {
                turn(stage, way, &mut runs)?;
            }
            found.extend(ends_found(stage, way)?);
            let kept = median(&runs.kept);
            each.push(format!(
                "{way} {kept:.1}%, P90 {:.3} of alone",
                median(&runs.latency)
            ));
            if name.contains("callback") {
                latencies.extend(&runs.latency);
            }
            if least.as_ref().is_none_or(|(least, _)| kept < *least) {
                least = Some((kept, runs.kept));
            }
        }
        let (kept, all) = least.context("no way")?;
        metrics.push(
            model
                .at_least(name, "%", kept)?
                .spread(spread(&all))
                .detail(each.join("; ")),
        );
    }
    metrics.push(
        model
            .at_most("async_callback_p99_rt", "x", median(&latencies))?
            .spread(spread(&latencies))
            .detail("P90 of a request, over alone".to_owned()),
    );
    let (p50, p99) = (median(&found), quantile(&found, 0.99));
    metrics.push(
        Metric::at_most("idle_found_p99_ms_rt", "ms", p99, 5.0 * ROOM).detail(format!(
            "from the end of a request, as the program saw it, to a lower class's open gate; median {p50:.2} ms, {} requests of all ways",
            found.len()
        )),
    );
    Ok(metrics)
}

/// The service alone, and beside the batch program.
fn turn(stage: &Stage<'_>, way: &str, runs: &mut Runs) -> anyhow::Result<()> {
    let rate = stage.batch_alone(BATCH, Under::Native)?.per_s;
    let alone = stage
        .asynchronous(way, requests(), MEASURE, Under::Native, None)?
        .finish()?;
    let service = stage.asynchronous(way, requests(), MEASURE, HIGH, None)?;
    std::thread::sleep(requests().warm_up);
    let batch = stage.batch(BATCH, LOW)?;
    // Away from the batch program's first kernels.
    let beside = service.finish()?;
    let got = work(batch)?.per_s;
    runs.kept.push(got / (rate * (1.0 - beside.busy)) * 100.0);
    runs.latency.push(beside.p90 / alone.p90);
    Ok(())
}

/// How long after the end of each request the gate of a low client opens, ms.
fn ends_found(stage: &Stage<'_>, way: &str) -> anyhow::Result<Vec<f64>> {
    let bench = stage.bench();
    let mut low = control::scripted(bench, &["held", "--bus", SIMULATED_BUS])?;
    let page = low.line()?;
    control::set_class(&bench.run_dir(), low.pid(), Class::Low)?;
    let page = fs::File::open(page).context("the client's page")?;
    let page = xsched_testkit::client::map::<ControlPage>(&page, ProtFlags::READ)?;
    // SAFETY: mapped for the process's life; the fields are atomics.
    let word = unsafe { &page.as_ref().devices[0].word };
    let file = bench.dir.join("ends");
    let service = stage.asynchronous(way, requests(), MEASURE, HIGH, Some(&file))?;
    let over = AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut opened = Vec::new();
            let mut was_closed = false;
            while !over.load(Relaxed) {
                let closed = GateWord(word.load(Relaxed)).mode() == GateMode::Closed;
                if was_closed && !closed {
                    opened.push(now());
                }
                was_closed = closed;
                std::thread::sleep(LOOK);
            }
            opened
        });
        let finished = service.finish();
        std::thread::sleep(Duration::from_millis(50));
        over.store(true, Relaxed);
        let opened = watcher.join();
        finished.map(|_| opened)
    })?;
    let opened = opened.ok().context("the watcher")?;
    let ends = fs::read_to_string(&file)?;
    let ends = ends.lines().map(|line| Ok(Nanos(line.parse()?)));
    let ends: Vec<Nanos> = ends.collect::<anyhow::Result<_>>()?;
    Ok(delays(&ends, &opened))
}

fn now() -> Nanos {
    let time = clock_gettime(ClockId::Monotonic);
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// From each end to the first opening behind it, up to the next end; an
/// opening a little before an end that the program saw late is no delay. An
/// end without an opening counts as long as it was until the next one.
fn delays(ends: &[Nanos], opened: &[Nanos]) -> Vec<f64> {
    const EARLY: Nanos = Nanos::from_millis(2);
    let until = ends.iter().skip(1).copied().chain([Nanos::MAX]);
    ends.iter()
        .zip(until)
        .map(|(&end, until)| {
            let within = |at: &&Nanos| **at + EARLY >= end && **at < until;
            let at = opened.iter().find(within).copied();
            let until = until.min(end + Nanos::from_secs(1));
            at.unwrap_or(until).since(end).0 as f64 / 1e6
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_nobody_finds_is_long() {
        let ms = Nanos::from_millis;
        let ends = [ms(100), ms(200), ms(300)];
        let opened = [ms(99), ms(304)];
        assert_eq!(delays(&ends, &opened), [0.0, 100.0, 4.0]);
    }
}
