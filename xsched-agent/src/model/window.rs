//! Sliding windows over counters that only grow.

use std::collections::VecDeque;
use std::sync::Arc;

use xsched_common::gate::Guard;
use xsched_common::page::{HistogramCounts, MAX_DEVICES};
use xsched_common::units::Nanos;

/// What is counted of a process since it was first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub launches: u64,
    pub default_stream: u64,
    /// Past the gate, on purpose or not.
    pub bypass: u64,
    /// Of these, on purpose.
    pub passthrough: u64,
    pub guards: [u64; Guard::COUNT],
    pub bursts: HistogramCounts,
    pub gate_waits: HistogramCounts,
    /// Device time by the client's own device index.
    pub busy_ns: [u64; MAX_DEVICES],
}

/// Samples of [`Totals`] over the last while. A sample that equals the one
/// before shares its memory: most of a thousand processes are idle.
#[derive(Default)]
pub(super) struct Window {
    samples: VecDeque<(Nanos, Arc<Totals>)>,
}

/// The difference between a window's ends.
pub(super) struct Change {
    pub over: Nanos,
    pub totals: Totals,
}

impl Window {
    /// Adds a sample and forgets those that are older than `length`, except
    /// the one that spans it.
    pub fn push(&mut self, now: Nanos, length: Nanos, totals: Totals) {
        let totals = match self.samples.back() {
            Some((_, last)) if **last == totals => last.clone(),
            _ => Arc::new(totals),
        };
        self.samples.push_back((now, totals));
        while self
            .samples
            .get(1)
            .is_some_and(|(time, _)| now.since(*time) >= length)
        {
            self.samples.pop_front();
        }
    }

    /// What changed within the window; `None` before the second sample.
    pub fn change(&self) -> Option<Change> {
        let (from, first) = self.samples.front()?;
        let (to, last) = self.samples.back()?;
        let over = to.since(*from);
        if over == Nanos::ZERO {
            return None;
        }
        Some(Change {
            over,
            totals: match Arc::ptr_eq(first, last) {
                true => Totals::default(),
                false => last.since(first),
            },
        })
    }

    /// What the newest sample added, if anything; all of it for the first.
    pub fn latest(&self) -> Option<Totals> {
        let (_, last) = self.samples.back()?;
        match self.samples.len().checked_sub(2) {
            Some(before) => {
                let (_, before) = &self.samples[before];
                (!Arc::ptr_eq(before, last)).then(|| last.since(before))
            }
            None => Some((**last).clone()),
        }
    }

    /// Whether anything was counted within the window.
    pub fn moved(&self) -> bool {
        match (self.samples.front(), self.samples.back()) {
            (Some((_, first)), Some((_, last))) => !Arc::ptr_eq(first, last),
            _ => false,
        }
    }
}

impl Totals {
    fn since(&self, earlier: &Totals) -> Totals {
        let less = |now: u64, before: u64| now.saturating_sub(before);
        Totals {
            launches: less(self.launches, earlier.launches),
            default_stream: less(self.default_stream, earlier.default_stream),
            bypass: less(self.bypass, earlier.bypass),
            passthrough: less(self.passthrough, earlier.passthrough),
            guards: std::array::from_fn(|i| less(self.guards[i], earlier.guards[i])),
            bursts: self.bursts.since(&earlier.bursts),
            gate_waits: self.gate_waits.since(&earlier.gate_waits),
            busy_ns: std::array::from_fn(|i| less(self.busy_ns[i], earlier.busy_ns[i])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_spans_its_length_and_no_more() {
        let mut window = Window::default();
        assert!(window.change().is_none());
        for tick in 0..20u64 {
            let totals = Totals {
                launches: tick * 100,
                ..Totals::default()
            };
            window.push(Nanos::from_millis(500 * tick), Nanos::from_secs(5), totals);
        }
        let change = window.change().expect("many samples");
        assert_eq!(change.over, Nanos::from_secs(5));
        assert_eq!(change.totals.launches, 1_000);
        assert!(window.samples.len() <= 11);
        assert_eq!(window.latest().expect("many").launches, 100);
        assert!(window.moved());
    }

    #[test]
    fn an_idle_window_adds_nothing() {
        let mut window = Window::default();
        for tick in 0..20u64 {
            let totals = Totals {
                launches: 7,
                ..Totals::default()
            };
            window.push(Nanos::from_millis(500 * tick), Nanos::from_secs(5), totals);
            let first = tick == 0;
            assert_eq!(window.latest().map(|new| new.launches), first.then_some(7));
            assert!(!window.moved());
        }
        let change = window.change().expect("many samples");
        assert_eq!(change.totals, Totals::default());
    }
}
