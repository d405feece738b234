//! Windows of burst latencies, as targets are evaluated by.

use xsched_common::page::HistogramCounts;
use xsched_common::units::Nanos;

use super::BurstLatency;

/// A P99 wants a hundred values ...
const ENOUGH: u64 = 100;
/// ... and not all from one moment.
const SHORTEST: Nanos = Nanos::from_secs(1);
/// A slow service is evaluated by fewer, rather than never.
const LONG: Nanos = Nanos::from_secs(5);
/// See [`LONG`].
const FEW: u64 = 20;

/// Cuts a histogram that only grows into windows.
#[derive(Clone, Debug, Default)]
pub struct LatencyWindow {
    began: Nanos,
    looked: Nanos,
    from: HistogramCounts,
    latest: Option<BurstLatency>,
}

impl LatencyWindow {
    /// The latest window that is complete at `now`; `counts` is asked for
    /// only if one may be.
    pub fn observe(
        &mut self,
        now: Nanos,
        counts: impl FnOnce() -> HistogramCounts,
    ) -> Option<BurstLatency> {
        if self.began == Nanos::ZERO {
            (self.began, self.from) = (now, counts());
            return None;
        }
        let age = now.since(self.began);
        // Between looks at 600 buckets a tenth of the shortest window.
        if age < SHORTEST || now.since(self.looked).0 < SHORTEST.0 / 10 {
            return self.latest;
        }
        self.looked = now;
        let counts = counts();
        let window = counts.since(&self.from);
        let total = window.total();
        if total < ENOUGH && (age < LONG || total < FEW) {
            return self.latest;
        }
        self.latest = Some(BurstLatency {
            window: self.latest.map_or(1, |latest| latest.window + 1),
            p50: window.quantile(0.5).unwrap_or_default(),
            p99: window.quantile(0.99).unwrap_or_default(),
        });
        (self.began, self.from) = (now, counts);
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::page::Histogram;

    #[test]
    fn windows_are_long_enough_and_counted() {
        let (hist, mut window) = (Histogram::new(), LatencyWindow::default());
        let mut now = Nanos::from_secs(10);
        assert_eq!(window.observe(now, || hist.counts()), None);
        for _ in 0..100 {
            hist.record(Nanos::from_millis(3));
        }
        assert_eq!(window.observe(now, || hist.counts()), None, "too short");
        now = now + SHORTEST;
        let first = window.observe(now, || hist.counts()).expect("complete");
        assert_eq!(first.window, 1);
        assert!((2..4).contains(&(first.p99.0 / 1_000_000)));
        now = now + SHORTEST;
        assert_eq!(
            window.observe(now, || hist.counts()),
            Some(first),
            "no news"
        );
    }
}
