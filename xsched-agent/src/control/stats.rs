//! How the control thread itself is doing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use xsched_common::page::Histogram;

/// Written by the control thread, read by whoever exports it.
#[derive(Default)]
pub struct LoopStats {
    /// How late each heartbeat was.
    pub heartbeat_late: Histogram,
    rounds: AtomicU64,
}

impl LoopStats {
    /// Rounds of decisions since the start.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Relaxed)
    }

    pub(super) fn count_round(&self) {
        self.rounds.fetch_add(1, Relaxed);
    }
}
