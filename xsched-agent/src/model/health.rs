//! How the control thread has been doing lately.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::api::ControlInfo;
use xsched_common::page::HistogramCounts;

use super::{TICK, WINDOW};
use crate::control::Stats;

/// The thread's stats, and what they were during the window.
#[derive(Default)]
pub(super) struct Health {
    stats: Arc<Stats>,
    passes: VecDeque<HistogramCounts>,
}

impl Health {
    /// Of a thread that has just started.
    pub fn of(stats: Arc<Stats>) -> Health {
        Health {
            stats,
            passes: VecDeque::new(),
        }
    }

    /// Once per tick.
    pub fn tick(&mut self) {
        if self.passes.len() as u64 > WINDOW.0 / TICK.0 {
            self.passes.pop_front();
        }
        self.passes.push_back(self.stats.passes.counts());
    }

    /// So many processes launch and are not scheduled.
    pub fn note_strangers(&self, count: u64) {
        self.stats.strangers.store(count, Relaxed);
    }

    /// For the snapshot.
    pub fn info(&self) -> ControlInfo {
        let passes = match (self.passes.front(), self.passes.back()) {
            (Some(first), Some(last)) => last.since(first),
            _ => HistogramCounts::default(),
        };
        ControlInfo {
            clients: self.stats.clients.load(Relaxed),
            round_p50_ns: passes.quantile(0.5),
            round_p99_ns: passes.quantile(0.99),
            bells_muted: self.stats.bells_muted.load(Relaxed),
            joins_refused: self.stats.joins_refused.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::units::Nanos;

    #[test]
    fn rounds_are_those_of_the_window() {
        let stats = Arc::new(Stats::default());
        let mut health = Health::of(stats.clone());
        assert_eq!(health.info().round_p50_ns, None);
        stats.passes.record(Nanos::from_millis(5));
        health.tick();
        for _ in 0..20 {
            stats.passes.record(Nanos::from_micros(10));
            health.tick();
        }
        let slowest = health.info().round_p99_ns.expect("passes");
        assert!(slowest < Nanos::from_micros(11), "{slowest}");
        assert_eq!(health.passes.len() as u64, WINDOW.0 / TICK.0 + 1);
    }
}
