//! Threads of one process, some of them in class groups.
//!
//! A group has a gate, counts and a policy's attention of its own, so in the
//! model it is a client of its own: one program for all of its threads, which
//! together launch as much as they would apart. Natively every thread is one.

use xsched_common::units::{Class, Nanos};
use xsched_policy::{DeviceSettings, SchedAttr};

use crate::program::{Arrivals, At, Batch, Service};
use crate::scenario::Beside;
use crate::stats::quantile;
use crate::timing::Timing;
use crate::world::{START, Under, World};

/// One favoured thread among others that want all of the device.
#[derive(Clone, Copy, Debug)]
pub struct Favoured {
    /// All threads.
    pub threads: u32,
    /// Kernels of a request of the favoured one.
    pub own: u32,
    /// Kernels that another thread launches before it waits for them.
    pub kernels: u32,
    /// Each as long as this.
    pub kernel: Nanos,
    /// Mean time between the favoured thread's requests.
    pub period: Nanos,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// P50 of the favoured thread over alone.
    pub p50: f64,
    /// P99 over alone.
    pub p99: f64,
    /// Device time given to all threads, of the time that passed.
    pub work: f64,
}

impl Favoured {
    fn service(&self) -> Service {
        Service {
            kernels: self.own,
            kernel: self.kernel,
            syncs: 1,
            think: Nanos::ZERO,
            arrivals: Arrivals::Jittered(self.period),
            at: At::default(),
        }
    }

    /// All threads alike, and the others below the first one in a group.
    pub fn run(&self, seed: u64, time: Nanos) -> [Outcome; 2] {
        let world = || World::new(seed, Timing::default(), DeviceSettings::default());
        let normal = SchedAttr::default();
        let mut alone = world();
        let first = alone.start(self.service(), normal, Under::Native);
        alone.run(time);
        let warm = START + Nanos::from_secs(1);
        let alone = alone.client(first).latencies(warm);
        let outcome = |world: &World, clients: usize| {
            let took = world.client(0).latencies(warm);
            let over = |q| quantile(&took, q).0 as f64 / quantile(&alone, q).0 as f64;
            let served = (0..clients).map(|n| world.device().served(n).0);
            Outcome {
                p50: over(0.5),
                p99: over(0.99),
                work: served.sum::<u64>() as f64 / time.0 as f64,
            }
        };

        let others = self.threads - 1;
        let batch = |ahead: u32| Batch {
            ahead: u64::from(ahead.max(4)),
            ..Batch::of(self.kernel)
        };
        let mut native = world();
        native.start(self.service(), normal, Under::Native);
        for _ in 0..others {
            native.start(batch(self.kernels), normal, Under::Native);
        }
        native.run(time);

        let mut grouped = world();
        grouped.start(self.service(), normal, Under::Shim);
        let low = SchedAttr::of_class(Class::Low);
        grouped.start(batch(others * self.kernels), low, Under::Shim);
        grouped.run(time);
        [outcome(&native, others as usize + 1), outcome(&grouped, 2)]
    }
}

/// Four groups of one process, each with a service but the lowest, which has
/// batch work: P99 over alone of the services, highest class first, and the batch
/// work's part of what they leave.
pub fn four_groups(seed: u64, time: Nanos, service: Beside) -> ([f64; 3], f64) {
    let classes = [Class::Realtime, Class::High, Class::Normal];
    let alone = service.alone(seed, time).p99.0 as f64;
    let mut world = World::new(seed, Timing::default(), DeviceSettings::default());
    let services = classes
        .map(|class| world.start(service.service(), SchedAttr::of_class(class), Under::Shim));
    let low = SchedAttr::of_class(Class::Low);
    let low = world.start(Batch::of(service.low), low, Under::Shim);
    world.run(time);
    let warm = START + Nanos::from_secs(1);
    let p99 = services.map(|n| quantile(&world.client(n).latencies(warm), 0.99).0 as f64 / alone);
    let used: u64 = services.iter().map(|n| world.device().served(*n).0).sum();
    let kept = world.device().served(low).0 as f64 / (time.0 - used) as f64;
    (p99, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SERVICE;

    const TIME: Nanos = Nanos::from_secs(10);

    #[test]
    fn a_favoured_thread_is_as_fast_as_alone_and_the_others_lose_little() {
        for threads in [8, 30] {
            let favoured = Favoured {
                threads,
                own: 50,
                kernels: 4,
                kernel: Nanos::from_micros(100),
                period: Nanos::from_millis(200),
            };
            let [native, grouped] = favoured.run(1, TIME);
            assert!(native.p50 > f64::from(threads) * 0.5, "{native:?}");
            assert!(grouped.p50 < 1.10, "{threads}: {grouped:?}");
            assert!(grouped.work > 0.97 * native.work, "{native:?} {grouped:?}");
        }
    }

    #[test]
    fn four_groups_stand_in_their_order() {
        let service = Beside {
            kernels: 10,
            period: Nanos::from_millis(50),
            ..SERVICE
        };
        let ([realtime, high, normal], kept) = four_groups(1, TIME, service);
        assert!(
            realtime <= normal && high <= normal,
            "{realtime} {high} {normal}"
        );
        assert!(realtime < 1.25 && kept > 0.9, "{realtime} {kept}");
    }
}
