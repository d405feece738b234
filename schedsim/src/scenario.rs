//! The scenarios of `cargo xtask bench sched`: a service beside saturating
//! work, alone, natively and scheduled.

use xsched_common::api::SharingMode;
use xsched_common::units::{Class, Nanos, Weight};
use xsched_policy::{DeviceSettings, Linger, SchedAttr, cap_for};

use crate::program::{Arrivals, At, Batch, Job, Service};
use crate::stats::quantile;
use crate::timing::Timing;
use crate::world::{START, Tells, Under, World};

/// A service with a batch program below it.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// Kernels per request.
    pub kernels: u32,
    /// Each as long as this.
    pub kernel: Nanos,
    /// Synchronisations per request.
    pub syncs: u32,
    /// Time on the processor after each but the last.
    pub think: Nanos,
    /// Mean time between requests.
    pub period: Nanos,
    /// The batch program's kernels.
    pub low: Nanos,
}

/// The service that most scenarios use: 25 ms of kernels, 50 of 500 us, a
/// quarter of the time.
pub const SERVICE: Beside = Beside {
    kernels: 50,
    kernel: Nanos::from_micros(500),
    syncs: 1,
    think: Nanos::ZERO,
    period: Nanos::from_millis(100),
    low: Nanos::from_micros(60),
};

/// What a service's requests took, and what the batch program got.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Median of the requests.
    pub p50: Nanos,
    /// Their 99th percentile.
    pub p99: Nanos,
    /// The batch program's device time over the time that the service left.
    pub leftover: f64,
    /// Requests.
    pub requests: usize,
}

impl Beside {
    pub(crate) fn service(&self) -> Service {
        Service {
            kernels: self.kernels,
            kernel: self.kernel,
            syncs: self.syncs,
            think: self.think,
            arrivals: Arrivals::Jittered(self.period),
            at: At::default(),
        }
    }

    /// The service by itself.
    pub fn alone(&self, seed: u64, time: Nanos) -> Outcome {
        let mut world = World::new(seed, Timing::default(), DeviceSettings::default());
        let high = world.start(self.service(), SchedAttr::default(), Under::Native);
        world.run(time);
        self.outcome(&world, high, None)
    }

    /// Both as the runtime treats them.
    pub fn native(&self, seed: u64, time: Nanos) -> Outcome {
        let mut world = World::new(seed, Timing::default(), DeviceSettings::default());
        let high = world.start(self.service(), SchedAttr::default(), Under::Native);
        let low = world.start(Batch::of(self.low), SchedAttr::default(), Under::Native);
        world.run(time);
        self.outcome(&world, high, Some(low))
    }

    /// Both under the shim, high and low.
    pub fn scheduled(&self, seed: u64, time: Nanos, settings: DeviceSettings) -> Outcome {
        let mut world = World::new(seed, Timing::default(), settings);
        let high = world.start(
            self.service(),
            SchedAttr::of_class(Class::High),
            Under::Shim,
        );
        let low = SchedAttr::of_class(Class::Low);
        let low = world.start(Batch::of(self.low), low, Under::Shim);
        world.run(time);
        self.outcome(&world, high, Some(low))
    }

    /// The service alone, and above the batch program, where its kernels' ends
    /// become known in this way.
    pub fn told(&self, seed: u64, time: Nanos, tells: Tells) -> [Outcome; 2] {
        let mut world = World::new(seed, Timing::default(), DeviceSettings::default());
        let high = world.start(self.service(), SchedAttr::default(), Under::Native);
        world.set_tells(high, tells);
        world.run(time);
        let alone = self.outcome(&world, high, None);
        let mut world = World::new(seed, Timing::default(), DeviceSettings::default());
        let high = world.start(
            self.service(),
            SchedAttr::of_class(Class::High),
            Under::Shim,
        );
        world.set_tells(high, tells);
        let low = SchedAttr::of_class(Class::Low);
        let low = world.start(Batch::of(self.low), low, Under::Shim);
        world.run(time);
        [alone, self.outcome(&world, high, Some(low))]
    }

    fn outcome(&self, world: &World, high: usize, low: Option<usize>) -> Outcome {
        // The first second is for the estimators.
        let warm = START + Nanos::from_secs(1);
        let took = world.client(high).latencies(warm);
        let time = world.now().since(START);
        let left = time.since(world.device().served(high));
        let served = low.map_or(Nanos::ZERO, |low| world.device().served(low));
        Outcome {
            p50: quantile(&took, 0.5),
            p99: quantile(&took, 0.99),
            leftover: served.0 as f64 / left.0.max(1) as f64,
            requests: took.len(),
        }
    }
}

/// The default settings without linger.
pub fn no_linger() -> DeviceSettings {
    DeviceSettings {
        linger: Linger::Fixed(Nanos::ZERO),
        ..DeviceSettings::default()
    }
}

/// Device shares of clients that want all of it, by weight and in one class.
#[derive(Clone, Debug)]
pub struct Shares {
    /// What each got of the device's time.
    pub got: Vec<f64>,
    /// What all got of the time that passed.
    pub sum: f64,
    /// The largest difference to what was due, in points of a hundred.
    pub error: f64,
}

/// Saturating programs with these weights and kernels.
pub fn shares(seed: u64, time: Nanos, programs: &[(u16, Nanos)]) -> Shares {
    let settings = DeviceSettings {
        mode: SharingMode::Share,
        ..DeviceSettings::default()
    };
    let mut world = World::new(seed, Timing::default(), settings);
    for &(weight, kernel) in programs {
        let attr = SchedAttr {
            weight: Weight::new(weight).unwrap_or_default(),
            ..SchedAttr::default()
        };
        world.start(Batch::of(kernel), attr, Under::Shim);
    }
    // The first second is for the estimators.
    let served = |world: &World| -> Vec<f64> {
        let served = |n| world.device().served(n).0 as f64;
        (0..programs.len()).map(served).collect()
    };
    world.run(Nanos::from_secs(1));
    let before = served(&world);
    world.run(time);
    let used = served(&world)
        .iter()
        .zip(&before)
        .map(|(a, b)| a - b)
        .collect::<Vec<_>>();
    let total: f64 = used.iter().sum();
    let weights: f64 = programs.iter().map(|(weight, _)| f64::from(*weight)).sum();
    let got: Vec<f64> = used.iter().map(|used| used / total).collect();
    let error = got
        .iter()
        .zip(programs)
        .map(|(got, (weight, _))| (got - f64::from(*weight) / weights).abs() * 100.0)
        .fold(0.0, f64::max);
    Shares {
        got,
        sum: total / time.0 as f64,
        error,
    }
}

/// A realtime service of a tenth of the device, a normal one of three tenths
/// and a saturating low program: what each loses beside the others.
#[derive(Clone, Copy, Debug)]
pub struct Tenants {
    /// P99 over alone.
    pub realtime: f64,
    /// P99 over alone.
    pub normal: f64,
    /// The low program's part of what the services left.
    pub low: f64,
}

/// See [`Tenants`].
pub fn three_tenants(seed: u64, time: Nanos) -> Tenants {
    let realtime = Beside {
        kernels: 10,
        period: Nanos::from_millis(50),
        ..SERVICE
    };
    let normal = Beside {
        kernels: 60,
        ..SERVICE
    };
    let alone = [realtime, normal].map(|s| s.alone(seed, time).p99.0 as f64);
    let mut world = World::new(seed, Timing::default(), DeviceSettings::default());
    let services = [(realtime, Class::Realtime), (normal, Class::Normal)];
    let services = services
        .map(|(s, class)| world.start(s.service(), SchedAttr::of_class(class), Under::Shim));
    let low = SchedAttr::of_class(Class::Low);
    let low = world.start(Batch::of(SERVICE.low), low, Under::Shim);
    world.run(time);
    let warm = START + Nanos::from_secs(1);
    let p99 = services.map(|n| quantile(&world.client(n).latencies(warm), 0.99).0 as f64);
    let used: u64 = services.iter().map(|n| world.device().served(*n).0).sum();
    let left = time.0 - used;
    Tenants {
        realtime: p99[0] / alone[0],
        normal: p99[1] / alone[1],
        low: world.device().served(low).0 as f64 / left as f64,
    }
}

/// A video call (25 frames a second, 15 ms of device time each) beside a batch
/// job of 1.5 s every 3 s.
#[derive(Clone, Copy, Debug)]
pub struct Video {
    /// P99 of the frames.
    pub p99: Nanos,
    /// Median time that the job takes.
    pub job: Nanos,
}

/// Who runs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// Each by itself.
    Alone,
    /// Both, natively.
    Native,
    /// Both, scheduled.
    Scheduled(DeviceSettings),
}

/// See [`Video`].
pub fn video(seed: u64, time: Nanos, cast: Cast) -> Video {
    let call = || Service {
        kernels: 30,
        kernel: Nanos::from_micros(500),
        syncs: 1,
        think: Nanos::ZERO,
        arrivals: Arrivals::Every(Nanos::from_millis(40)),
        at: At::default(),
    };
    let job = || Job {
        every: Nanos::from_secs(3),
        kernels: 5_000,
        kernel: Nanos::from_micros(300),
        at: (0, Nanos::ZERO, Nanos::ZERO),
    };
    let (settings, under) = match cast {
        Cast::Scheduled(settings) => (settings, Under::Shim),
        Cast::Alone | Cast::Native => (DeviceSettings::default(), Under::Native),
    };
    let mut world = World::new(seed, Timing::default(), settings);
    let high = world.start(call(), SchedAttr::of_class(Class::High), under);
    if cast == Cast::Alone {
        let mut other = World::new(seed, Timing::default(), settings);
        let low = other.start(job(), SchedAttr::of_class(Class::Low), under);
        world.run(time);
        other.run(time);
        return Video {
            p99: quantile(&world.client(high).latencies(START), 0.99),
            job: quantile(&other.client(low).latencies(START), 0.5),
        };
    }
    let low = world.start(job(), SchedAttr::of_class(Class::Low), under);
    world.run(time);
    Video {
        p99: quantile(&world.client(high).latencies(START), 0.99),
        job: quantile(&world.client(low).latencies(START), 0.5),
    }
}

/// A saturating program by itself: under the shim over natively, by kernels.
pub fn low_alone(seed: u64, time: Nanos, kernel: Nanos) -> f64 {
    let kernels = |under| {
        let mut world = World::new(seed, Timing::default(), DeviceSettings::default());
        let low = world.start(Batch::of(kernel), SchedAttr::of_class(Class::Low), under);
        world.run(time);
        world.device().finished(low) as f64
    };
    kernels(Under::Shim) / kernels(Under::Native)
}

/// What a burst loses beyond the K T that its rival may have in flight, at
/// the 99th percentile. Bursts of 10 ms: over before the gate trickles.
pub fn preempt_over_kt(seed: u64, time: Nanos, kernel: Nanos) -> Nanos {
    let scenario = Beside {
        kernels: 20,
        low: kernel,
        ..SERVICE
    };
    let alone = scenario.alone(seed, time).p99;
    let settings = DeviceSettings {
        min_share_permille: 0,
        ..DeviceSettings::default()
    };
    let beside = scenario.scheduled(seed, time, settings).p99;
    let longest = Nanos(kernel.0 * 11 / 10);
    let cap = cap_for(settings.budget, Some(kernel));
    beside.since(alone).since(longest.times(u64::from(cap)))
}
