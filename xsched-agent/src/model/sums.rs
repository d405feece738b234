//! Sums since the agent's start, by class: they outlive the processes, so
//! they only grow, as counters must.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xsched_common::gate::Guard;
use xsched_common::page::{HistogramCounts, bucket_bounds};
use xsched_common::units::{Class, Nanos};

use super::window::Totals;
use super::workloads::WorkloadTable;
use crate::events::EventCounts;

/// Upper bounds of the buckets, ns: 1-2-5 from 10 us to 10 s. A last bucket
/// holds the rest.
pub const BOUNDS_NS: [u64; 19] = [
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Times by length, as the outside world counts them. A time from a page's
/// histogram is taken as the middle of its bucket there, which is right
/// within 3%; so is the sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeHistogram {
    /// By [`BOUNDS_NS`], and those beyond the last.
    pub counts: [u64; BOUNDS_NS.len() + 1],
    /// Sum of all values.
    pub sum: Nanos,
}

impl TimeHistogram {
    /// Counts `times` values of `value`.
    pub fn record(&mut self, value: Nanos, times: u64) {
        let bucket = BOUNDS_NS.partition_point(|&bound| bound < value.0);
        self.counts[bucket] = self.counts[bucket].saturating_add(times);
        self.sum = self.sum + value.times(times);
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, counts: &HistogramCounts) {
        for (bucket, &times) in counts.0.iter().enumerate().filter(|(_, n)| **n > 0) {
            let (low, end) = bucket_bounds(bucket);
            self.record(Nanos(low.0 + (end.0 - low.0) / 2), u64::from(times));
        }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |n, more| n.saturating_add(*more))
    }
}

/// What processes did while they were of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassSums {
    /// Launches that passed the gate.
    pub gated: u64,
    /// Launches past the gate on purpose.
    pub passthrough: u64,
    /// Launches that never reached the shim.
    pub bypass: u64,
    /// Of all launches, those on the default stream.
    pub default_stream: u64,
    /// Bursts.
    pub bursts: TimeHistogram,
    /// Waits at the gate.
    pub gate_waits: TimeHistogram,
    /// Launches that a guard let pass, by [`Guard`].
    pub guards: [u64; Guard::COUNT],
    /// Estimated device time.
    pub busy: Nanos,
}

/// The most that is believed of one process between two looks, each: pages
/// are their client's to write, and a counter that jumps to the end of its
/// range would be lost for everybody.
const PLAUSIBLE: u64 = u32::MAX as u64;

impl ClassSums {
    pub(super) fn add(&mut self, new: &Totals) {
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more.min(PLAUSIBLE));
        let ungated = new.bypass.saturating_add(new.passthrough);
        add(&mut self.gated, new.launches.saturating_sub(ungated));
        add(&mut self.passthrough, new.passthrough);
        add(&mut self.bypass, new.bypass);
        add(&mut self.default_stream, new.default_stream);
        for (to, more) in self.guards.iter_mut().zip(new.guards) {
            add(to, more);
        }
        for busy in new.busy_ns {
            add(&mut self.busy.0, busy);
        }
        self.bursts.add(&new.bursts);
        self.gate_waits.add(&new.gate_waits);
    }
}

/// Everything that is summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    by_class: [ClassSums; Class::ALL.len()],
    /// Pods and jobs.
    pub workloads: WorkloadTable,
    /// Events.
    pub events: EventCounts,
    /// How long the model's ticks took.
    pub ticks: TimeHistogram,
}

impl Sums {
    /// Those of a class.
    pub fn class(&self, class: Class) -> &ClassSums {
        &self.by_class[class as usize]
    }

    pub(super) fn class_mut(&mut self, class: Class) -> &mut ClassSums {
        &mut self.by_class[class as usize]
    }
}

/// Shared between the model, which adds, and who exports them.
#[derive(Clone, Debug, Default)]
pub struct SharedSums(Arc<Mutex<Sums>>);

impl SharedSums {
    /// A copy as of now.
    pub fn copy(&self) -> Sums {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Sums> {
        // Numbers are whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::page::Histogram;

    #[test]
    fn a_time_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = TimeHistogram::default();
        for ns in [0, 10_000, 10_001, 5_000_000, 20_000_000_000] {
            histogram.record(Nanos(ns), 1);
        }
        assert_eq!(histogram.counts[0], 2);
        assert_eq!(histogram.counts[1], 1);
        assert_eq!(histogram.counts[8], 1, "5 ms");
        assert_eq!(histogram.counts[BOUNDS_NS.len()], 1);
        assert_eq!(histogram.count(), 5);
    }

    #[test]
    fn page_histograms_keep_count_and_sum() {
        let page = Histogram::new();
        for us in 1..=1_000 {
            page.record(Nanos::from_micros(us));
        }
        let mut histogram = TimeHistogram::default();
        histogram.add(&page.counts());
        assert_eq!(histogram.count(), 1_000);
        let exact = 500_500_000.0;
        assert!((histogram.sum.0 as f64 / exact - 1.0).abs() < 0.03);
        let below_100_us: u64 = histogram.counts[..4].iter().sum();
        assert!((96..=104).contains(&below_100_us), "{below_100_us}");
    }

    #[test]
    fn one_liar_does_not_end_a_counter() {
        let mut sums = ClassSums::default();
        let lie = Totals {
            launches: u64::MAX,
            ..Totals::default()
        };
        sums.add(&lie);
        sums.add(&lie);
        assert_eq!(sums.gated, 2 * PLAUSIBLE);
    }
}
