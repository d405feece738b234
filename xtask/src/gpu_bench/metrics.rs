//! From what was measured to figures with bounds.

use super::raw::{Batch, Config, Load, Raw};
use crate::bench::report::Metric;
use crate::stats::{median, quantile, spread};

/// A figure of one cell.
#[derive(Clone, Copy)]
enum Of {
    P50,
    P99,
    Batch,
}

/// A place in the grid.
#[derive(Clone, Copy)]
struct At(Config, Load, Option<Batch>);

const RESNET: Option<Batch> = Some(Batch::Resnet50);
const MATMUL: Option<Batch> = Some(Batch::Matmul);

impl Raw {
    /// Of each repetition, in order.
    fn figures(&self, at: At, of: Of) -> Vec<f64> {
        let At(config, load, batch) = at;
        self.cells
            .iter()
            .filter(|cell| (cell.config, cell.load, cell.batch) == (config, load, batch))
            .filter_map(|cell| match of {
                Of::P50 => Some(median(&cell.latencies_ms)),
                Of::P99 => Some(quantile(&cell.latencies_ms, 0.99)),
                Of::Batch => cell.batch_per_s,
            })
            .collect()
    }

    /// Percentiles of the requests of all repetitions together: one has few
    /// for a P99. Of the batch the median.
    fn figure(&self, at: At, of: Of) -> Option<f64> {
        let At(config, load, batch) = at;
        let cells = self.cells.iter();
        let its =
            cells.filter(|cell| (cell.config, cell.load, cell.batch) == (config, load, batch));
        let requests: Vec<f64> = its
            .flat_map(|cell| cell.latencies_ms.iter().copied())
            .collect();
        let figures = self.figures(at, of);
        (!figures.is_empty()).then(|| match of {
            Of::P50 => median(&requests),
            Of::P99 => quantile(&requests, 0.99),
            Of::Batch => median(&figures),
        })
    }

    /// P50 and P99 (ms), and the batch's iterations/s beside it.
    pub fn summary(
        &self,
        config: Config,
        load: Load,
        batch: Option<Batch>,
    ) -> Option<(f64, f64, Option<f64>)> {
        let at = At(config, load, batch);
        Some((
            self.figure(at, Of::P50)?,
            self.figure(at, Of::P99)?,
            self.figure(at, Of::Batch),
        ))
    }

    fn compared(&self, name: &'static str, figures: Compared) -> Option<Metric> {
        let Compared {
            at,
            of,
            beside,
            scale,
            bound,
        } = figures;
        let all = self.figures(at, of);
        let base = self.figure(beside, of)?;
        if all.is_empty() || base == 0.0 {
            return None;
        }
        let figure = self.figure(at, of)?;
        let ratios: Vec<f64> = all.iter().map(|figure| figure / base * scale).collect();
        let unit = if scale == 1.0 { "x" } else { "%" };
        let value = figure / base * scale;
        let metric = match bound {
            Bound::AtMost(bound) => Metric::at_most(name, unit, value, bound),
            Bound::AtLeast(bound) => Metric::at_least(name, unit, value, bound),
        };
        let what = match of {
            Of::P50 | Of::P99 => "ms",
            Of::Batch => "iterations/s",
        };
        let detail = format!("{figure:.2} {what}, {base:.2} without");
        Some(metric.spread(spread(&ratios)).detail(detail))
    }
}

struct Compared {
    at: At,
    of: Of,
    beside: At,
    scale: f64,
    bound: Bound,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// How long a service takes beside a batch, as a multiple of alone.
fn latency(config: Config, load: Load, batch: Option<Batch>, of: Of, bound: f64) -> Compared {
    Compared {
        at: At(config, load, batch),
        of,
        beside: At(Config::Alone, load, None),
        scale: 1.0,
        bound: Bound::AtMost(bound),
    }
}

/// What a batch does beside a service, in percent of what it does natively.
fn kept(config: Config, load: Load, bound: f64) -> Compared {
    Compared {
        at: At(config, load, RESNET),
        of: Of::Batch,
        beside: At(Config::Native, load, RESNET),
        scale: 100.0,
        bound: Bound::AtLeast(bound),
    }
}

/// Of a figure that others are compared with.
const SHOWN: f64 = 1000.0;

/// All figures that the run allows.
pub fn of(raw: &Raw) -> Vec<Metric> {
    use Config::{Both, Mps, MpsGate, Native, Slices};
    use Load::{Decode, Heavy, Service};
    let warm = Compared {
        beside: At(Config::AloneWarm, Decode, None),
        ..latency(Both, Decode, RESNET, Of::P50, 1.15)
    };
    let compared = [
        (
            "decode_p50_ratio",
            latency(Both, Decode, RESNET, Of::P50, 1.05),
        ),
        ("decode_p50_warm_ratio", warm),
        (
            "decode_p99_ratio",
            latency(Both, Decode, RESNET, Of::P99, 1.15),
        ),
        ("decode_batch_pct", kept(Both, Decode, 105.0)),
        (
            "service_p99_ratio",
            latency(Both, Service, RESNET, Of::P99, 1.05),
        ),
        ("service_batch_pct", kept(Both, Service, 97.0)),
        (
            "long_service_p50_ratio",
            latency(Slices, Service, MATMUL, Of::P50, 1.05),
        ),
        (
            "long_heavy_p50_ratio",
            latency(Slices, Heavy, MATMUL, Of::P50, 1.05),
        ),
        (
            "long_decode_p50_ratio",
            latency(Slices, Decode, MATMUL, Of::P50, 1.8),
        ),
        (
            "slices_decode_p50_ratio",
            latency(Slices, Decode, RESNET, Of::P50, 1.8),
        ),
        (
            "slices_service_p99_ratio",
            latency(Slices, Service, RESNET, Of::P99, 1.1),
        ),
        (
            "slices_heavy_p99_ratio",
            latency(Slices, Heavy, RESNET, Of::P99, 1.1),
        ),
        ("slices_batch_pct", kept(Slices, Service, 96.0)),
        (
            "mps_decode_p50_ratio",
            latency(Mps, Decode, RESNET, Of::P50, SHOWN),
        ),
        (
            "mps_gate_decode_p50_ratio",
            latency(MpsGate, Decode, RESNET, Of::P50, SHOWN),
        ),
        (
            "native_decode_p50_ratio",
            latency(Native, Decode, RESNET, Of::P50, SHOWN),
        ),
    ];
    let mut metrics: Vec<Metric> = compared
        .into_iter()
        .filter_map(|(name, figures)| raw.compared(name, figures))
        .collect();
    metrics.extend(tenants(raw));
    metrics.extend(shares(raw));
    metrics.extend(overhead(raw));
    metrics.extend(rest(raw));
    metrics.extend(threads(raw));
    // What misses its bound comes first.
    metrics.sort_by_key(|metric| metric.ok);
    metrics
}

/// P50 and P99 (ms) of a service beside two batches, and their iterations/s
/// together.
pub fn beside_two(raw: &Raw, config: Config, load: Load) -> Option<(f64, f64, f64)> {
    let runs = || {
        let of = raw.tenants.iter();
        of.filter(move |run| (run.config, run.load) == (config, load))
    };
    let requests: Vec<f64> = runs()
        .flat_map(|run| run.latencies_ms.iter().copied())
        .collect();
    let sums: Vec<f64> = runs().map(|run| run.per_s.iter().sum()).collect();
    (!requests.is_empty()).then(|| {
        let p99 = quantile(&requests, 0.99);
        (median(&requests), p99, median(&sums))
    })
}

fn tenants(raw: &Raw) -> Vec<Metric> {
    let native = beside_two(raw, Config::Native, Load::Decode);
    let of = |name, config| {
        let (p50, _, sum) = beside_two(raw, config, Load::Decode)?;
        let alone = raw.figure(At(Config::Alone, Load::Decode, None), Of::P50)?;
        let (native_p50, _, native_sum) = native?;
        let detail = format!(
            "{p50:.2} ms, {native_p50:.2} natively; both batches {:.0}% of native",
            sum / native_sum * 100.0
        );
        Some(Metric::at_most(name, "x", p50 / alone, SHOWN).detail(detail))
    };
    [
        of("tenants_decode_p50_ratio", Config::Both),
        of("tenants_slices_decode_p50_ratio", Config::Slices),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn shares(raw: &Raw) -> Vec<Metric> {
    let error = |name, weights: [u16; 2]| {
        let runs: Vec<_> = raw
            .shares
            .iter()
            .filter(|run| run.weights == weights)
            .collect();
        let asked = f64::from(weights[0]) / f64::from(weights[0] + weights[1]) * 100.0;
        let got = |run: &&super::raw::Share| run.per_s[0] / (run.per_s[0] + run.per_s[1]) * 100.0;
        let errors: Vec<f64> = runs.iter().map(|run| (got(run) - asked).abs()).collect();
        (!errors.is_empty()).then(|| Metric::at_most(name, "points", median(&errors), 2.0))
    };
    let sums: Vec<f64> = raw
        .shares
        .iter()
        .map(|run| (run.per_s[0] + run.per_s[1]) / run.alone_per_s * 100.0)
        .collect();
    let native: Vec<f64> = raw
        .shares
        .iter()
        .filter_map(|run| Some(run.native_per_s?.iter().sum::<f64>() / run.alone_per_s * 100.0))
        .collect();
    let sum = (!sums.is_empty()).then(|| {
        let metric = Metric::at_least("share_sum_pct", "%", median(&sums), 97.0);
        match native.is_empty() {
            true => metric,
            false => metric.detail(format!("{:.1}% natively", median(&native))),
        }
    });
    [
        error("share_10_90_err", [10, 90]),
        error("share_50_50_err", [50, 50]),
        sum,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The worst of what programs take alone under the shim.
fn overhead(raw: &Raw) -> Option<Metric> {
    let mut names: Vec<&str> = raw.overhead.iter().map(|run| &*run.what).collect();
    names.sort_unstable();
    names.dedup();
    let ratio = |name: &&str| {
        let runs = raw.overhead.iter().filter(|run| run.what == **name);
        let ratios: Vec<f64> = runs.map(|run| run.shim_ms / run.native_ms).collect();
        (median(&ratios), (*name).to_owned())
    };
    let all: Vec<(f64, String)> = names.iter().map(ratio).collect();
    let worst = all.iter().map(|(ratio, _)| *ratio).reduce(f64::max)?;
    let said: Vec<String> = all
        .iter()
        .map(|(ratio, name)| format!("{name} {ratio:.3}"))
        .collect();
    Some(Metric::at_most("alone_ratio", "x", worst, 1.01).detail(said.join(", ")))
}

/// A favoured thread among others of its process.
fn threads(raw: &Raw) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for (count, p50, native, work) in [
        (
            8,
            "threads8_p50",
            "threads8_native_p50",
            "threads8_work_pct",
        ),
        (
            30,
            "threads30_p50",
            "threads30_native_p50",
            "threads30_work_pct",
        ),
    ] {
        let runs = super::threads::compared(raw, count);
        if runs.is_empty() {
            continue;
        }
        let column = |at: usize| -> Vec<f64> { runs.iter().map(|run| run[at]).collect() };
        let [ours, bare, kept] = [0, 1, 2].map(column);
        metrics.push(Metric::at_most(p50, "x", median(&ours), 1.10).spread(spread(&ours)));
        metrics.push(Metric::at_most(native, "x", median(&bare), SHOWN).spread(spread(&bare)));
        metrics.push(Metric::at_least(work, "%", median(&kept), 97.0).spread(spread(&kept)));
    }
    metrics
}

fn rest(raw: &Raw) -> Vec<Metric> {
    let mut metrics = Vec::new();
    if let Some(semantics) = &raw.semantics {
        let [first, second] = &semantics.native;
        // What differs from itself natively proves nothing.
        let same = |name: &&String| first.get(*name) == second.get(*name);
        let gated = [Some(&semantics.stressed), semantics.stressed_mps.as_ref()];
        let differs = |name: &&String| {
            let differs = |gated: &std::collections::BTreeMap<String, String>| {
                first.get(*name) != gated.get(*name)
            };
            gated.into_iter().flatten().any(differs)
        };
        let failed: Vec<&String> = first.keys().filter(same).filter(differs).collect();
        let compared = first.keys().filter(same).count();
        let detail = format!("{compared} compared, {} launches waited", semantics.waits);
        let count = failed.len() as f64;
        metrics.push(Metric::at_most("semantics_failed", "programs", count, 0.0).detail(detail));
    }
    let lost: Vec<f64> = raw
        .observed
        .iter()
        .map(|run| (1.0 - run.with_per_s / run.without_per_s) * 100.0)
        .collect();
    if !lost.is_empty() {
        let metric = Metric::at_most("observer_pct", "%", median(&lost), 1.0);
        metrics.push(metric.spread(spread(&lost)));
    }
    if !raw.counts.is_empty() {
        let off = |count: &super::raw::Count| {
            count.profiler[0].abs_diff(count.gate) + count.profiler[1].abs_diff(count.uprobes)
        };
        let unaccounted: u64 = raw.counts.iter().map(off).sum();
        let all: u64 = raw
            .counts
            .iter()
            .map(|count| count.profiler.iter().sum::<u64>())
            .sum();
        let metric = Metric::at_most("launches_unaccounted", "launches", unaccounted as f64, 0.0);
        metrics.push(metric.detail(format!("of {all} that CUPTI saw")));
    }
    if !raw.survived.is_empty() {
        let failed: Vec<&String> = raw
            .survived
            .iter()
            .filter(|(_, ok)| !**ok)
            .map(|(what, _)| what)
            .collect();
        let detail = failed
            .iter()
            .map(|what| what.as_str())
            .collect::<Vec<_>>()
            .join("; ");
        let metric = Metric::at_most("kills_failed", "cases", failed.len() as f64, 0.0);
        metrics.push(metric.detail(detail));
    }
    if !raw.mps_kills.is_empty() {
        // What ends natively, too, is MPS's.
        let kills = raw.mps_kills.iter();
        let failed: Vec<&str> = kills
            .filter(|kill| kill.natively != Some(false) && !kill.gated)
            .map(|kill| &*kill.what)
            .collect();
        let metric = Metric::at_most("mps_kills_failed", "cases", failed.len() as f64, 0.0);
        metrics.push(metric.detail(failed.join("; ")));
    }
    metrics
}
