//! What a service's bursts take alone, remembered by their size.

use xsched_common::page::{HistogramCounts, bucket_bounds};
use xsched_common::units::Nanos;

/// Sizes that are remembered.
const SIZES: usize = 16;

/// Bursts of a size until what they took counts.
const ENOUGH: u64 = 8;

/// Bursts of a size that are remembered in full; then the older ones count
/// half.
const MANY: u64 = 2_000;

/// A size that was not seen is taken from one that differs by no more than
/// this factor.
const NEAR: f64 = 2.0;

/// What bursts of one size do while nothing else is at work.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// By length.
    counts: HistogramCounts,
    /// Times are multiplied by this: they are of bursts of another size.
    scale: f64,
}

impl Own {
    /// Bursts that took so long.
    pub fn of(counts: HistogramCounts) -> Option<Own> {
        (counts.total() > 0).then_some(Own { counts, scale: 1.0 })
    }

    /// Their median.
    pub fn p50(&self) -> Nanos {
        self.scaled(self.counts.quantile(0.5).unwrap_or_default())
    }

    /// What a burst loses alone beyond `base`, mean over all: only those that
    /// take longer than `limit` lose anything.
    pub fn loss_per_burst(&self, base: Nanos, limit: Nanos) -> f64 {
        let mut loss = 0.0;
        for (time, count) in by_length(&self.counts) {
            let time = self.scaled(time);
            if time > limit {
                loss += time.since(base).0 as f64 * count as f64;
            }
        }
        loss / self.counts.total().max(1) as f64
    }

    fn scaled(&self, time: Nanos) -> Nanos {
        Nanos((time.0 as f64 * self.scale) as u64)
    }
}

/// Middles of the buckets in use, and what they count.
pub(crate) fn by_length(counts: &HistogramCounts) -> impl Iterator<Item = (Nanos, u64)> + '_ {
    let used = counts.0.iter().enumerate().filter(|(_, n)| **n > 0);
    used.map(|(bucket, &n)| {
        let (low, end) = bucket_bounds(bucket);
        (Nanos(low.0 + (end.0 - low.0) / 2), u64::from(n))
    })
}

/// A service's bursts alone.
#[derive(Clone, Debug, Default)]
pub struct OwnTimes {
    /// Least recently learnt first: size in steps of a quarter octave, and
    /// what bursts of that size took.
    sizes: Vec<(i32, HistogramCounts)>,
}

/// A size in commands as a step.
fn step(size: f64) -> i32 {
    (size.max(1.0).log2() * 4.0).round() as i32
}

impl OwnTimes {
    /// Bursts of this many commands each, on the mean, took so long while
    /// nothing else was at work.
    pub fn learn(&mut self, size: f64, bursts: &HistogramCounts) {
        if bursts.total() == 0 {
            return;
        }
        let step = step(size);
        let at = self.sizes.iter().position(|(known, _)| *known == step);
        let mut counts = at.map(|at| self.sizes.remove(at).1).unwrap_or_default();
        if counts.total() >= MANY {
            counts.0.iter_mut().for_each(|n| *n /= 2);
        }
        counts.add(bursts);
        if self.sizes.len() == SIZES {
            self.sizes.remove(0);
        }
        self.sizes.push((step, counts));
    }

    /// What bursts of this size take alone, if that is known.
    pub fn of(&self, size: f64) -> Option<Own> {
        let wanted = step(size);
        let (known, counts) = self
            .sizes
            .iter()
            .filter(|(_, counts)| counts.total() >= ENOUGH)
            .min_by_key(|(known, _)| known.abs_diff(wanted))?;
        let scale = f64::from(wanted - known).mul_add(0.25, 0.0).exp2();
        let near = (1.0 / NEAR..=NEAR).contains(&scale);
        near.then(|| Own {
            counts: counts.clone(),
            scale,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::page::Histogram;

    fn bursts(ms: u64, times: u32) -> HistogramCounts {
        let histogram = Histogram::new();
        for _ in 0..times {
            histogram.record(Nanos::from_millis(ms));
        }
        histogram.counts()
    }

    fn about(time: Nanos, ms: f64) -> bool {
        (time.0 as f64 / 1e6 / ms - 1.0).abs() < 0.04
    }

    #[test]
    fn each_size_has_its_own_time() {
        let mut own = OwnTimes::default();
        own.learn(10.0, &bursts(5, 7));
        assert_eq!(own.of(10.0), None, "too few");
        own.learn(10.0, &bursts(5, 7));
        own.learn(100.0, &bursts(50, 10));
        assert!(about(own.of(10.0).expect("known").p50(), 5.0));
        assert!(about(own.of(100.0).expect("known").p50(), 50.0));
        // Of a size between: from the nearest one, in proportion.
        let between = own.of(14.1).expect("near").p50();
        assert!(about(between, 7.07), "{between}");
        assert_eq!(own.of(1_000.0), None, "never seen");
    }

    #[test]
    fn what_changes_is_learnt_anew_and_memory_is_bounded() {
        let mut own = OwnTimes::default();
        own.learn(10.0, &bursts(5, 2_000));
        for _ in 0..40 {
            own.learn(10.0, &bursts(9, 100));
        }
        assert!(about(own.of(10.0).expect("known").p50(), 9.0));
        for size in 1..100 {
            own.learn(f64::from(size), &bursts(1, 10));
        }
        assert_eq!(own.sizes.len(), SIZES);
    }

    #[test]
    fn a_tail_of_its_own_is_its_own() {
        let mut counts = bursts(10, 90);
        counts.add(&bursts(20, 10));
        let own = Own::of(counts).expect("bursts");
        let ms = |ms| Nanos::from_millis(ms);
        let loss = own.loss_per_burst(ms(10), ms(14)) / 1e6;
        assert!((0.9..1.1).contains(&loss), "a tenth of them, 10 ms: {loss}");
        assert!(own.loss_per_burst(ms(10), ms(30)).abs() < 1.0);
    }
}
