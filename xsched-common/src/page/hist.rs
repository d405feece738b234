//! A log-linear histogram that fits a shared page.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::buckets::{BUCKETS, bucket_bounds, bucket_of};
use crate::units::Nanos;

/// Counts that only ever grow; readers take differences.
#[repr(C)]
pub struct Histogram {
    /// Sum of all values, ns.
    pub sum: AtomicU64,
    /// The largest value ever, ns.
    pub max: AtomicU64,
    /// By [`bucket_of`].
    pub counts: [AtomicU32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl Histogram {
    /// An empty histogram.
    pub const fn new() -> Histogram {
        Histogram {
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
            counts: [const { AtomicU32::new(0) }; BUCKETS],
        }
    }

    /// Counts one value. Three relaxed read-modify-writes: readers tolerate
    /// a value that is not yet in the sum.
    pub fn record(&self, value: Nanos) {
        self.counts[bucket_of(value)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value.0, Relaxed);
        self.max.fetch_max(value.0, Relaxed);
    }

    /// A copy of the counts as they are now.
    pub fn counts(&self) -> HistogramCounts {
        let mut counts = HistogramCounts::default();
        for (to, from) in counts.0.iter_mut().zip(&self.counts) {
            *to = from.load(Relaxed);
        }
        counts
    }

    /// Whether a copy made now would equal `counts`; cheaper than making it.
    pub fn equals(&self, counts: &HistogramCounts) -> bool {
        let mut pairs = self.counts.iter().zip(&counts.0);
        pairs.all(|(now, then)| now.load(Relaxed) == *then)
    }
}

/// A copy of a histogram's counts, to subtract and to read quantiles from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramCounts(pub [u32; BUCKETS]);

impl Default for HistogramCounts {
    fn default() -> HistogramCounts {
        HistogramCounts([0; BUCKETS])
    }
}

impl HistogramCounts {
    /// What was counted between `earlier` and `self`. Counts are modulo
    /// 2^32, as the page's are.
    pub fn since(&self, earlier: &HistogramCounts) -> HistogramCounts {
        let mut out = self.clone();
        for (to, before) in out.0.iter_mut().zip(&earlier.0) {
            *to = to.wrapping_sub(*before);
        }
        out
    }

    /// Adds another's counts, saturating.
    pub fn add(&mut self, other: &HistogramCounts) {
        for (to, more) in self.0.iter_mut().zip(&other.0) {
            *to = to.saturating_add(*more);
        }
    }

    /// How many values.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|&n| u64::from(n)).sum()
    }

    /// The smallest value that at least `q` (0 to 1) of the values do not
    /// exceed, to within a bucket (its middle is returned); `None` when
    /// there are no values.
    pub fn quantile(&self, q: f64) -> Option<Nanos> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let exact = q.clamp(0.0, 1.0) * total as f64;
        let mut rank = exact as u64;
        if (rank as f64) < exact || rank == 0 {
            rank += 1;
        }
        let mut seen = 0;
        let bucket = self.0.iter().position(|&n| {
            seen += u64::from(n);
            seen >= rank
        })?;
        Some(middle(bucket))
    }

    /// The middle of the highest bucket in use.
    pub fn max(&self) -> Option<Nanos> {
        self.0.iter().rposition(|&n| n > 0).map(middle)
    }
}

fn middle(bucket: usize) -> Nanos {
    let (low, end) = bucket_bounds(bucket);
    Nanos(low.0 + (end.0 - low.0) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(v in 0u64..1 << 40) {
            let (low, end) = bucket_bounds(bucket_of(Nanos(v)));
            prop_assert!(low.0 <= v && v < end.0);
            prop_assert!((end.0 - low.0) as f64 <= (low.0 as f64 / 16.0).max(1.0));
        }

        #[test]
        fn any_value_has_a_bucket(v: u64) {
            prop_assert!(bucket_of(Nanos(v)) < BUCKETS);
        }

        #[test]
        fn quantiles_are_within_a_bucket(mut values in prop::collection::vec(1u64..1 << 39, 1..200), q in 0.0..1.0f64) {
            let hist = Histogram::new();
            for &v in &values {
                hist.record(Nanos(v));
            }
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let got = hist.counts().quantile(q).expect("values were recorded").0;
            prop_assert!((got as f64 - exact as f64).abs() <= exact as f64 / 16.0 + 1.0);
        }
    }

    #[test]
    fn buckets_are_contiguous() {
        for bucket in 1..BUCKETS {
            assert_eq!(bucket_bounds(bucket - 1).1, bucket_bounds(bucket).0);
            assert_eq!(bucket_of(bucket_bounds(bucket).0), bucket);
        }
    }

    #[test]
    fn differences_count_the_window() {
        let hist = Histogram::new();
        hist.record(Nanos(1_000));
        let before = hist.counts();
        hist.record(Nanos(5_000_000));
        let window = hist.counts().since(&before);
        assert_eq!(window.total(), 1);
        assert!(window.quantile(0.5).expect("one value") > Nanos(4_000_000));
        assert_eq!(HistogramCounts::default().quantile(0.99), None);
    }
}
