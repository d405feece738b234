//! Sliding windows over counters that only grow.

use std::collections::VecDeque;
use std::sync::Arc;

use xsched_common::gate::Guard;
use xsched_common::page::{HistogramCounts, MAX_DEVICES};
use xsched_common::units::{DeviceIndex, Nanos, StreamClass};

use super::page_reader::PageChange;

/// What is counted of a process since it was first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub launches: u64,
    pub default_stream: u64,
    /// Never reached the shim.
    pub bypass: u64,
    /// Past the gate on purpose.
    pub passthrough: u64,
    pub guards: [u64; Guard::COUNT],
    pub bursts: HistogramCounts,
    pub gate_waits: HistogramCounts,
    /// Device time charged, by the client's own device index.
    pub busy_ns: [u64; MAX_DEVICES],
}

/// Samples of [`Totals`] over the last while. Those between which nothing was
/// counted share their memory.
#[derive(Default)]
pub(super) struct Window {
    samples: VecDeque<(Nanos, Arc<Totals>)>,
}

/// The difference between a window's ends.
pub(super) struct Change {
    pub over: Nanos,
    /// `None` for nothing at all, which is what most of a thousand processes
    /// do.
    pub counted: Option<Box<Totals>>,
}

impl Window {
    /// Adds a sample and forgets those that are older than `length`, except
    /// the one that spans it.
    pub fn push(&mut self, now: Nanos, length: Nanos, totals: &Arc<Totals>) {
        self.samples.push_back((now, totals.clone()));
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
            counted: (!Arc::ptr_eq(first, last)).then(|| Box::new(last.since(first))),
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
}

impl Change {
    /// What of something was counted.
    pub fn of(&self, pick: fn(&Totals) -> u64) -> u64 {
        self.counted.as_deref().map_or(0, pick)
    }
}

impl Totals {
    /// Adds what a page counted, but for device time.
    pub fn add_page(&mut self, change: &PageChange) {
        for launches in change.callers.values() {
            add(&mut self.launches, launches.total());
            add(&mut self.default_stream, launches.default_stream);
            add(&mut self.passthrough, launches.passthrough);
        }
        self.bursts.add(&change.bursts);
        self.gate_waits.add(&change.gate_waits);
        for (to, more) in self.guards.iter_mut().zip(change.guards) {
            add(to, more);
        }
    }

    /// Adds device time, as charged.
    pub fn add_busy(&mut self, device: DeviceIndex, time: Nanos) {
        if let Some(busy) = self.busy_ns.get_mut(usize::from(device.0)) {
            add(busy, time.0);
        }
    }

    /// Adds launches that did not come through the shim.
    pub fn add_direct(&mut self, launches: u64, stream: StreamClass) {
        add(&mut self.launches, launches);
        add(&mut self.bypass, launches);
        if stream.is_default() {
            add(&mut self.default_stream, launches);
        }
    }

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

fn add(to: &mut u64, more: u64) {
    *to = to.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::super::page_reader::PageLaunches;
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
            let now = Nanos::from_millis(500 * tick);
            window.push(now, Nanos::from_secs(5), &Arc::new(totals));
        }
        let change = window.change().expect("many samples");
        assert_eq!(change.over, Nanos::from_secs(5));
        assert_eq!(change.of(|totals| totals.launches), 1_000);
        assert!(window.samples.len() <= 11);
        assert_eq!(window.latest().expect("many").launches, 100);
    }

    #[test]
    fn an_idle_window_adds_nothing() {
        let mut window = Window::default();
        let totals = Arc::new(Totals {
            launches: 7,
            ..Totals::default()
        });
        for tick in 0..20u64 {
            let now = Nanos::from_millis(500 * tick);
            window.push(now, Nanos::from_secs(5), &totals);
            let first = tick == 0;
            assert_eq!(window.latest().map(|new| new.launches), first.then_some(7));
            assert!(
                window
                    .change()
                    .is_none_or(|change| change.counted.is_none())
            );
        }
        let change = window.change().expect("many samples");
        assert_eq!(change.counted, None);
    }

    #[test]
    fn past_the_shim_is_past_the_gate() {
        let mut totals = Totals::default();
        totals.add_direct(3, StreamClass::Created);
        totals.add_direct(2, StreamClass::Null);
        let page = PageLaunches {
            gated: 10,
            passthrough: 4,
            default_stream: 1,
        };
        totals.add_page(&PageChange {
            callers: [("liba.so".to_owned(), page)].into(),
            bursts: HistogramCounts::default(),
            gate_waits: HistogramCounts::default(),
            busy_ns: [5; MAX_DEVICES],
            guards: [u64::MAX; Guard::COUNT],
        });
        assert_eq!((totals.launches, totals.default_stream), (19, 3));
        assert_eq!((totals.bypass, totals.passthrough), (5, 4));
        totals.add_direct(u64::MAX, StreamClass::Null);
        assert_eq!(totals.launches, u64::MAX, "pages may say anything");
    }
}
