//! How the control thread is doing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::watchdog::Pulse;
use xsched_common::page::Histogram;
use xsched_common::units::Nanos;

/// Written by the control thread; read by the model and by whoever watches
/// over the agent.
#[derive(Default)]
pub struct Stats {
    /// Heartbeats since the start.
    pub beats: Pulse,
    /// How late each heartbeat was.
    pub beats_late: Histogram,
    /// When the next heartbeat is due, by the monotonic clock, ns.
    pub beat_due: AtomicU64,
    /// Clients joined now.
    pub clients: AtomicU64,
    /// From waking up to having decided and written.
    pub passes: Histogram,
    /// Times that a client's doorbell was not listened to for a while,
    /// because it rang too often.
    pub bells_muted: AtomicU64,
    /// Processes that launch and are not scheduled, as the model last counted
    /// them.
    pub strangers: AtomicU64,
    /// Joins refused for want of a place, or because they came too often.
    pub joins_refused: AtomicU64,
    /// Set by whoever else has opened gates, while the thread stood still.
    pub(super) opened: AtomicBool,
    /// Set by the watchdog before it opens all gates for good and ends the
    /// agent.
    pub(super) ended: AtomicBool,
}

impl Stats {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn pass(&self, took: Nanos) {
        self.passes.record(took);
    }
}
