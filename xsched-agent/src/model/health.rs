//! How the control thread has been doing lately.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::api::ControlInfo;
use xsched_common::page::HistogramCounts;

use super::{TICK, WINDOW};
use crate::control::Vitals;

/// The thread's vitals, and what they were during the window.
#[derive(Default)]
pub(super) struct Health {
    vitals: Arc<Vitals>,
    rounds: VecDeque<HistogramCounts>,
}

impl Health {
    /// Of a thread that has just started.
    pub fn of(vitals: Arc<Vitals>) -> Health {
        Health {
            vitals,
            rounds: VecDeque::new(),
        }
    }

    /// Once per tick.
    pub fn tick(&mut self) {
        if self.rounds.len() as u64 > WINDOW.0 / TICK.0 {
            self.rounds.pop_front();
        }
        self.rounds.push_back(self.vitals.rounds.counts());
    }

    /// So many processes launch and are not scheduled.
    pub fn note_strangers(&self, count: u64) {
        self.vitals.strangers.store(count, Relaxed);
    }

    /// For the snapshot.
    pub fn info(&self) -> ControlInfo {
        let rounds = match (self.rounds.front(), self.rounds.back()) {
            (Some(first), Some(last)) => last.since(first),
            _ => HistogramCounts::default(),
        };
        ControlInfo {
            clients: self.vitals.clients.load(Relaxed),
            round_p50_ns: rounds.quantile(0.5),
            round_p99_ns: rounds.quantile(0.99),
            bells_muted: self.vitals.bells_muted.load(Relaxed),
            joins_refused: self.vitals.joins_refused.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::units::Nanos;

    #[test]
    fn rounds_are_those_of_the_window() {
        let vitals = Arc::new(Vitals::default());
        let mut health = Health::of(vitals.clone());
        assert_eq!(health.info().round_p50_ns, None);
        vitals.rounds.record(Nanos::from_millis(5));
        health.tick();
        for _ in 0..20 {
            vitals.rounds.record(Nanos::from_micros(10));
            health.tick();
        }
        let slowest = health.info().round_p99_ns.expect("rounds");
        assert!(slowest < Nanos::from_micros(11), "{slowest}");
        assert_eq!(health.rounds.len() as u64, WINDOW.0 / TICK.0 + 1);
    }
}
