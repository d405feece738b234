//! Figures of the virtual-time model: the real policy and the real gate on
//! hipsim's arithmetic (`schedsim`), free of this machine's noise.

use schedsim::scenario::{
    Beside, Cast, Outcome, SERVICE, low_alone, no_linger, preempt_over_kt, shares, three_tenants,
    video,
};
use schedsim::threads::{Favoured, four_groups};
use schedsim::world::Tells;
use xsched_common::units::Nanos;
use xsched_policy::DeviceSettings;

use super::by_kernel;
use crate::bench::report::Metric;

/// Virtual time of each run: about 600 requests.
pub const TIME: Nanos = Nanos::from_secs(60);
/// For a check in seconds.
pub const SHORT: Nanos = Nanos::from_secs(8);
const SEED: u64 = 1;

/// Kernel times of the low program.
const KERNELS: [(&str, u64, f64); 3] = [
    ("prio_p99_t60us", 60, 1.05),
    ("prio_p99_t500us", 500, 1.10),
    ("prio_p99_t5ms", 5_000, 1.25),
];

/// 50 synchronisations per request, with 50 us on the processor after each.
pub const SYNCS: Beside = Beside {
    syncs: 50,
    think: Nanos::from_micros(50),
    ..SERVICE
};

/// All of them, each run for so long.
pub fn measure(time: Nanos) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let mut leftovers = Vec::new();
    for (name, kernel, bound) in KERNELS {
        let runs = Runs::of(
            Beside {
                low: Nanos::from_micros(kernel),
                ..SERVICE
            },
            time,
        );
        leftovers.push((kernel, runs.scheduled.leftover * 100.0));
        metrics.push(runs.metric(name, bound));
    }
    let syncs = Runs::of(SYNCS, time);
    metrics.push(syncs.metric("syncs50_p99", 1.10));
    let native = syncs.ratio(&syncs.native);
    metrics.push(
        Metric::at_most(
            "syncs50_nolinger_p99",
            "x",
            syncs.ratio(&syncs.no_linger),
            native,
        )
        .beside(native),
    );
    let least = leftovers
        .iter()
        .map(|(_, kept)| *kept)
        .fold(100.0, f64::min);
    metrics.push(
        Metric::at_least("low_leftover_pct", "%", least, 97.0).detail(by_kernel(&leftovers, "%")),
    );
    let alone = KERNELS.map(|(_, t, _)| (t, low_alone(SEED, time, Nanos::from_micros(t)) * 100.0));
    let least = alone.iter().map(|(_, kept)| *kept).fold(100.0, f64::min);
    metrics
        .push(Metric::at_least("low_alone_pct", "%", least, 99.0).detail(by_kernel(&alone, "%")));
    let over = KERNELS.map(|(_, t, _)| {
        let over = preempt_over_kt(SEED, time, Nanos::from_micros(t));
        (t, over.0 as f64 / 1e3)
    });
    let most = over.iter().map(|(_, over)| *over).fold(0.0, f64::max);
    metrics.push(
        Metric::at_most("preempt_over_kt_us", "us", most, 100.0).detail(by_kernel(&over, "us")),
    );
    metrics.extend(asynchronous(time));
    metrics.extend(sharing(time));
    metrics.extend(tenants(time));
    metrics.extend(threads(time));
    metrics
}

/// One scenario in all its ways.
struct Runs {
    alone: Outcome,
    native: Outcome,
    scheduled: Outcome,
    no_linger: Outcome,
}

impl Runs {
    fn of(scenario: Beside, time: Nanos) -> Runs {
        Runs {
            alone: scenario.alone(SEED, time),
            native: scenario.native(SEED, time),
            scheduled: scenario.scheduled(SEED, time, DeviceSettings::default()),
            no_linger: scenario.scheduled(SEED, time, no_linger()),
        }
    }

    fn ratio(&self, outcome: &Outcome) -> f64 {
        outcome.p99.0 as f64 / self.alone.p99.0 as f64
    }

    fn metric(&self, name: &'static str, bound: f64) -> Metric {
        Metric::at_most(name, "x", self.ratio(&self.scheduled), bound)
            .beside(self.ratio(&self.native))
            .detail(format!(
                "P99 alone {}, native {}, ours {}, without linger {}; the batch keeps {:.1}% of its leftover; {} requests",
                self.alone.p99,
                self.native.p99,
                self.scheduled.p99,
                self.no_linger.p99,
                self.scheduled.leftover * 100.0,
                self.scheduled.requests,
            ))
    }
}

/// Services that never wait in a call.
fn asynchronous(time: Nanos) -> Vec<Metric> {
    let ways = [
        ("async_callback_low_pct", Tells::Function),
        ("async_query_low_pct", Tells::Query),
        ("async_event_chain_low_pct", Tells::Chain),
        ("async_silent_low_pct", Tells::Nothing),
    ];
    let mut metrics = Vec::new();
    for (name, tells) in ways {
        let [alone, ours] = SERVICE.told(SEED, time, tells);
        let ratio = ours.p99.0 as f64 / alone.p99.0 as f64;
        let detail = format!(
            "P99 of a request alone {}, ours {} ({ratio:.3}x)",
            alone.p99, ours.p99
        );
        metrics.push(Metric::at_least(name, "%", ours.leftover * 100.0, 95.0).detail(detail));
        if tells == Tells::Function {
            metrics.push(Metric::at_most("async_callback_p99", "x", ratio, 1.10));
        }
    }
    metrics
}

fn sharing(time: Nanos) -> Vec<Metric> {
    let us = Nanos::from_micros;
    let runs = [
        ("75/25", shares(SEED, time, &[(300, us(60)), (100, us(60))])),
        (
            "75/25 of 5 ms and 60 us",
            shares(SEED, time, &[(300, us(5_000)), (100, us(60))]),
        ),
        (
            "75/25 of 60 us and 5 ms",
            shares(SEED, time, &[(300, us(60)), (100, us(5_000))]),
        ),
        (
            "60/30/10 of 300, 60 and 1000 us",
            shares(SEED, time, &[(60, us(300)), (30, us(60)), (10, us(1_000))]),
        ),
    ];
    let worst = runs.iter().map(|(_, run)| run.error).fold(0.0, f64::max);
    let least = runs.iter().map(|(_, run)| run.sum).fold(1.0, f64::min);
    let each = runs.iter().map(|(name, run)| {
        let got = run.got.iter().map(|got| format!("{:.1}", got * 100.0));
        format!("{name}: {}", got.collect::<Vec<_>>().join("/"))
    });
    vec![
        // Natively both get half.
        Metric::at_most("share_75_25_err", "points", worst, 2.0)
            .beside(25.0)
            .detail(each.collect::<Vec<_>>().join("; ")),
        Metric::at_least("share_sum_pct", "%", least * 100.0, 97.0),
    ]
}

/// A favoured thread among others of its process, with requests of 5 ms: what is in flight of the
/// others stands before each.
pub const FAVOURED: Favoured = Favoured {
    threads: 30,
    own: 50,
    kernels: 4,
    kernel: Nanos::from_micros(100),
    period: Nanos::from_millis(200),
};

/// A server in a trainer: short requests beside steps without end.
pub const SERVER: Beside = Beside {
    kernels: 10,
    period: Nanos::from_millis(50),
    low: Nanos::from_micros(300),
    ..SERVICE
};

/// Class groups of one process.
fn threads(time: Nanos) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for (name, threads) in [("threads8_p50", 8), ("threads30_p50", 30)] {
        let [native, ours] = Favoured {
            threads,
            ..FAVOURED
        }
        .run(SEED, time);
        let detail = format!("P99 native {:.2}x, ours {:.2}x", native.p99, ours.p99);
        metrics.push(
            Metric::at_most(name, "x", ours.p50, 1.10)
                .beside(native.p50)
                .detail(detail),
        );
        if threads == FAVOURED.threads {
            let kept = ours.work / native.work * 100.0;
            metrics.push(Metric::at_least("threads30_work_pct", "%", kept, 97.0));
        }
    }
    let runs = Runs::of(SERVER, time);
    metrics.push(runs.metric("trainer_server_p99", 1.10));
    let ([realtime, high, normal], kept) = four_groups(SEED, time, SERVER);
    let in_order = realtime <= normal && high <= normal && kept >= 0.9;
    metrics.push(
        Metric::at_least("four_groups_order_ok", "", f64::from(u8::from(in_order)), 1.0).detail(
            format!(
                "P99 over alone: realtime {realtime:.2}, high {high:.2}, normal {normal:.2}; low keeps {:.1}% of the rest",
                kept * 100.0
            ),
        ),
    );
    metrics
}

fn tenants(time: Nanos) -> Vec<Metric> {
    let tenants = three_tenants(SEED, time);
    let in_order = tenants.realtime <= tenants.normal && tenants.low >= 0.97;
    let [alone, native, ours, no_linger] = [
        Cast::Alone,
        Cast::Native,
        Cast::Scheduled(DeviceSettings::default()),
        Cast::Scheduled(no_linger()),
    ]
    .map(|cast| video(SEED, time, cast));
    let ratio = |p99: Nanos| p99.0 as f64 / alone.p99.0 as f64;
    vec![
        Metric::at_least(
            "three_tenants_order_ok",
            "",
            f64::from(u8::from(in_order)),
            1.0,
        )
        .detail(format!(
            "P99 over alone: realtime {:.2}, normal {:.2}; low keeps {:.1}% of the rest",
            tenants.realtime,
            tenants.normal,
            tenants.low * 100.0
        )),
        Metric::at_most("video_p99", "x", ratio(ours.p99), 1.05)
            .beside(ratio(native.p99))
            .detail(format!(
                "P99 of a frame alone {}, native {}, ours {}, without linger {}",
                alone.p99, native.p99, ours.p99, no_linger.p99
            )),
        // The call takes 37.5% of the device: 2.4 s is all there is.
        Metric::at_most(
            "video_batch_s",
            "s",
            ours.job.as_secs_f64(),
            native.job.as_secs_f64() * 1.03,
        )
        .beside(native.job.as_secs_f64()),
    ]
}
