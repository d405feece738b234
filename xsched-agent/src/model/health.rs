//! How the control thread has been doing lately.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::api::{AgentWarning, ControlInfo};
use xsched_common::page::HistogramCounts;
use xsched_common::units::Nanos;

use super::{TICK, WINDOW};
use crate::control::Stats;

/// A heartbeat that is so late is said to users: with the 50 ms between two it
/// is half of what clients wait for before they run free.
const LATE: Nanos = Nanos::from_millis(75);

/// The thread's stats, and what they were during the window.
#[derive(Default)]
pub(super) struct Health {
    stats: Arc<Stats>,
    samples: VecDeque<Sample>,
}

struct Sample {
    passes: HistogramCounts,
    beats_late: HistogramCounts,
    /// How late the heartbeat was that had not come.
    overdue: Nanos,
}

impl Health {
    /// Of a thread that has just started.
    pub fn of(stats: Arc<Stats>) -> Health {
        Health {
            stats,
            samples: VecDeque::new(),
        }
    }

    /// Once per tick.
    pub fn tick(&mut self, now: Nanos) {
        if self.samples.len() as u64 > WINDOW.0 / TICK.0 {
            self.samples.pop_front();
        }
        // Zero before the first heartbeat.
        let due = Nanos(self.stats.beat_due.load(Relaxed));
        self.samples.push_back(Sample {
            passes: self.stats.passes.counts(),
            beats_late: self.stats.beats_late.counts(),
            overdue: match due {
                Nanos::ZERO => Nanos::ZERO,
                due => now.since(due),
            },
        });
    }

    /// So many processes launch and are not scheduled.
    pub fn note_strangers(&self, count: u64) {
        self.stats.strangers.store(count, Relaxed);
    }

    /// The window's change of something that is counted.
    fn window(&self, pick: fn(&Sample) -> &HistogramCounts) -> HistogramCounts {
        match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => pick(last).since(pick(first)),
            _ => HistogramCounts::default(),
        }
    }

    /// The latest heartbeat of the window, come or not; `None` before the
    /// first.
    fn beat_late_max(&self) -> Option<Nanos> {
        let overdue = self.samples.iter().map(|sample| sample.overdue).max();
        self.window(|sample| &sample.beats_late).max().max(overdue)
    }

    /// For the snapshot.
    pub fn info(&self) -> ControlInfo {
        let passes = self.window(|sample| &sample.passes);
        ControlInfo {
            clients: self.stats.clients.load(Relaxed),
            round_p50_ns: passes.quantile(0.5),
            round_p99_ns: passes.quantile(0.99),
            bells_muted: self.stats.bells_muted.load(Relaxed),
            joins_refused: self.stats.joins_refused.load(Relaxed),
            beat_late_max_ns: self.beat_late_max(),
        }
    }

    /// What users should not overlook.
    pub fn warnings(&self) -> Vec<AgentWarning> {
        let late = self.beat_late_max().filter(|late| *late >= LATE);
        let warning = late.map(|late| AgentWarning {
            code: "heartbeats_late".to_owned(),
            text: format!(
                "heartbeats late by up to {late}: the agent gets too little processor time, and gates \
                 change late (CPUWeight=, Nice= in its unit, or --realtime)"
            ),
        });
        warning.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_those_of_the_window() {
        let stats = Arc::new(Stats::default());
        let mut health = Health::of(stats.clone());
        assert_eq!(health.info().round_p50_ns, None);
        stats.passes.record(Nanos::from_millis(5));
        health.tick(Nanos::ZERO);
        for _ in 0..20 {
            stats.passes.record(Nanos::from_micros(10));
            health.tick(Nanos::ZERO);
        }
        let slowest = health.info().round_p99_ns.expect("passes");
        assert!(slowest < Nanos::from_micros(11), "{slowest}");
        assert_eq!(health.samples.len() as u64, WINDOW.0 / TICK.0 + 1);
    }

    #[test]
    fn late_heartbeats_are_said_even_before_they_come() {
        let stats = Arc::new(Stats::default());
        let mut health = Health::of(stats.clone());
        let second = Nanos::from_secs(1);
        health.tick(second);
        assert_eq!(health.warnings(), []);
        stats.beat_due.store(second.0, Relaxed);
        health.tick(second + Nanos::from_millis(20));
        assert_eq!(health.warnings(), [], "no harm yet");
        // It stands still.
        health.tick(second + Nanos::from_millis(220));
        let [warning] = &health.warnings()[..] else {
            panic!("one warning");
        };
        assert_eq!(warning.code, "heartbeats_late");
        assert!(warning.text.contains("220 ms"), "{}", warning.text);
        // It has come, and then comes in time for a window.
        stats.beats_late.record(Nanos::from_millis(300));
        for _ in 0..20 {
            stats.beats_late.record(Nanos::from_micros(60));
            stats.beat_due.store(Nanos::from_secs(9).0, Relaxed);
            health.tick(Nanos::from_secs(3));
        }
        assert_eq!(health.warnings(), []);
    }
}
