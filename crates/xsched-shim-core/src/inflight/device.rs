//! A device's activity and the times measured on it.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use xsched_common::gate::{Evidence, GAPS, GAPS_PER_LOOK, LONGEST_GAP, Took, gap_p95, kernel_time};
use xsched_common::page::{DeviceStatus, Edges, Settled};
use xsched_common::units::{DeviceIndex, Nanos};

use super::streams::StreamTable;
use crate::groups;
use crate::owner::Owner;
use crate::page::Session;

/// One device as this process uses it. The times are heuristics that several
/// threads update without a lock; a lost update costs one sample.
pub struct DeviceWork {
    burst_start: AtomicU64,
    idle_since: AtomicU64,
    /// Until when busy time has been accounted for.
    mark: AtomicU64,
    last_completion: AtomicU64,
    kernel_ns: AtomicU64,
    /// Samples of T that came from fences.
    fenced_samples: AtomicU32,
    /// Until when what was launched should last, and when something was whose
    /// time is not known ([`crate::gate::watch`]).
    expected_end: AtomicU64,
    unknown_at: AtomicU64,
    gap_count: AtomicU32,
    gaps: [AtomicU32; GAPS],
}

/// Whether a device became active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// It was idle.
    Began,
    /// It was active, or another thread was faster.
    AlreadyActive,
}

impl DeviceWork {
    /// An idle device; all bytes zero.
    pub const fn new() -> DeviceWork {
        DeviceWork {
            burst_start: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            mark: AtomicU64::new(0),
            last_completion: AtomicU64::new(0),
            kernel_ns: AtomicU64::new(0),
            fenced_samples: AtomicU32::new(0),
            expected_end: AtomicU64::new(0),
            unknown_at: AtomicU64::new(0),
            gap_count: AtomicU32::new(0),
            gaps: [const { AtomicU32::new(0) }; GAPS],
        }
    }

    /// When a completion was last seen.
    pub fn last_completion(&self) -> Nanos {
        Nanos(self.last_completion.load(Relaxed))
    }

    /// When the device last began or ceased to work, zero for never.
    pub fn last_used(&self) -> Nanos {
        let began = self.burst_start.load(Relaxed);
        Nanos(began.max(self.idle_since.load(Relaxed)))
    }

    /// The measured kernel time T, zero while unknown.
    pub fn kernel_time(&self) -> Nanos {
        Nanos(self.kernel_ns.load(Relaxed))
    }

    /// Says that the device is active, which it may be already.
    #[cold]
    pub fn begin(
        &self,
        session: &Session,
        status: &DeviceStatus,
        device: DeviceIndex,
    ) -> Activation {
        if !status.set_active() {
            return Activation::AlreadyActive;
        }
        let now = crate::sys::now();
        session.ring_if_wanted(usize::from(device.0), Edges::ACTIVE);
        self.burst_start.store(now.0, Relaxed);
        self.mark.store(now.0, Relaxed);
        self.expected_end.store(now.0, Relaxed);
        groups::seen(now);
        let idle_since = self.idle_since.load(Relaxed);
        if idle_since != 0 && session.marks.is_within(now) {
            self.record_gap(now.since(Nanos(idle_since)), status);
        }
        Activation::Began
    }

    /// Says that the device is active anew: the agent took it for idle since
    /// it `ended` as expected. Whether this call made the change.
    pub fn begin_anew(
        &self,
        session: &Session,
        status: &DeviceStatus,
        device: DeviceIndex,
        ended: Nanos,
    ) -> bool {
        if !status.set_idle() {
            return false;
        }
        // How long the burst took nobody knows, so it is in no histogram.
        self.idle_since.store(ended.0, Relaxed);
        self.begin(session, status, device) == Activation::Began
    }

    /// Until when what was launched should last.
    pub fn expected_end(&self) -> Nanos {
        Nanos(self.expected_end.load(Relaxed))
    }

    /// Nothing else is in flight than what the next [`DeviceWork::expect`]
    /// tells of: the end that was `expected` counts no more.
    pub fn expect_no_more(&self, expected: Nanos) {
        let end = &self.expected_end;
        let _ = end.compare_exchange(expected.0, 0, Relaxed, Relaxed);
    }

    /// A command is launched that should end at `end`, if that is known; how
    /// long the burst should last, zero while unknown. One that nothing is
    /// known of counts until it is known to be complete, or for a second.
    /// `is_unknown` tells whether some such work may not be complete.
    pub fn expect(
        &self,
        end: Option<Nanos>,
        now: Nanos,
        is_unknown: impl FnOnce() -> bool,
    ) -> Nanos {
        const UNKNOWN: Nanos = Nanos::from_secs(1);
        match end {
            Some(end) => {
                self.expected_end.fetch_max(end.0, Relaxed);
            }
            None => {
                self.unknown_at.store(now.0, Relaxed);
                self.expected_end.fetch_max(now.0 + 1_000_000, Relaxed);
            }
        }
        let start = self.burst_start.load(Relaxed);
        let unknown_at = self.unknown_at.load(Relaxed);
        let is_recent = unknown_at >= start && now.since(Nanos(unknown_at)) < UNKNOWN;
        if is_recent && is_unknown() {
            return Nanos::ZERO;
        }
        self.expected_end().since(Nanos(start)).max(Nanos(1))
    }

    /// What some commands took by the device's own clock.
    pub fn timed(&self, status: &DeviceStatus, took: Took) {
        let fences = self.fenced_samples.fetch_add(1, Relaxed) + 1;
        let sample = Nanos(took.time.0 / took.commands.max(1));
        let new = kernel_time(self.kernel_time(), sample, Evidence::Fence, fences);
        status.busy_ns.fetch_add(took.time.0, Relaxed);
        self.kernel_ns.store(new.0, Relaxed);
        status.kernel_ns.store(new.0, Relaxed);
    }

    /// Says that the device is idle, if nothing is in flight and nobody
    /// waits at the gate.
    pub fn settle(
        &self,
        streams: &StreamTable,
        owner: &Owner,
        session: &Session,
        device: DeviceIndex,
        now: Nanos,
    ) {
        let index = usize::from(device.0);
        let Some(status) = session.status().devices.get(index) else {
            return;
        };
        let settled = status.settle(|| {
            streams.in_flight_of(session.group, device) != 0
                || status.waiting.load(SeqCst) != 0
                // Before it says idle, so that what it looks at after that is all.
                // Where that is refused the next time is in order: by then the
                // owner orders what it counts.
                || !owner.revoke()
        });
        match settled {
            Settled::Unchanged => return,
            Settled::ActiveAgain => return session.ring_if_wanted(index, Edges::ACTIVE),
            Settled::Idle => {}
        }
        self.idle_since.store(now.0, Relaxed);
        let burst = now.since(Nanos(self.burst_start.load(Relaxed)));
        groups::seen(now);
        if !session.marks.in_use(now) {
            session.status().bursts.record(burst);
        }
        session.ring_if_wanted(index, Edges::IDLE);
    }

    /// A thread leaves the gate and nothing is in flight: the time until now
    /// was neither busy nor part of a kernel.
    pub fn resumed(&self, now: Nanos) {
        self.mark.store(now.0, Relaxed);
    }

    /// `commands` more are known to be complete at `now`: T follows the time
    /// since the last such news, per command.
    pub fn completed(&self, status: &DeviceStatus, commands: u64, now: Nanos, evidence: Evidence) {
        if commands == 0 {
            return;
        }
        self.last_completion.store(now.0, Relaxed);
        let busy = now.since(Nanos(self.mark.swap(now.0, Relaxed)));
        status.busy_ns.fetch_add(busy.0, Relaxed);
        let fences = match evidence {
            Evidence::Fence => self.fenced_samples.fetch_add(1, Relaxed) + 1,
            Evidence::Sync => self.fenced_samples.load(Relaxed),
        };
        let new = kernel_time(
            self.kernel_time(),
            Nanos(busy.0 / commands),
            evidence,
            fences,
        );
        self.kernel_ns.store(new.0, Relaxed);
        status.kernel_ns.store(new.0, Relaxed);
    }

    /// Publishes the 95th percentile of the last gaps every few gaps.
    fn record_gap(&self, gap: Nanos, status: &DeviceStatus) {
        if gap > LONGEST_GAP {
            return;
        }
        let n = self.gap_count.fetch_add(1, Relaxed) as usize;
        status.short_gaps.fetch_add(1, Relaxed);
        if let Some(slot) = self.gaps.get(n % GAPS) {
            slot.store(gap.0 as u32, Relaxed);
        }
        if !(n + 1).is_multiple_of(GAPS_PER_LOOK) {
            return;
        }
        let mut sorted = [0; GAPS];
        for (to, from) in sorted.iter_mut().zip(&self.gaps) {
            *to = from.load(Relaxed);
        }
        let used = (n + 1).min(GAPS);
        if let Some(gap) = sorted.get_mut(..used).and_then(gap_p95) {
            status.gap_ns.store(gap.0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::page::StatusPage;

    fn status() -> Box<StatusPage> {
        Box::new(StatusPage::new())
    }

    #[test]
    fn gaps_have_a_percentile_and_long_ones_do_not_count() {
        let (work, page) = (DeviceWork::new(), status());
        let status = &page.devices[0];
        for i in 0..64 {
            let gap = if i % 16 == 0 { 900 } else { 100 };
            work.record_gap(Nanos::from_micros(gap), status);
            work.record_gap(Nanos::from_secs(1), status);
        }
        assert_eq!(Nanos(status.gap_ns.load(Relaxed)), Nanos::from_micros(900));
    }

    /// A gate that was closed for 50 ms is no kernel of 50 ms.
    #[test]
    fn time_at_the_gate_is_not_busy() {
        let (work, page) = (DeviceWork::new(), status());
        let status = &page.devices[0];
        work.completed(status, 1, Nanos::from_micros(100), Evidence::Fence);
        work.resumed(Nanos::from_millis(50));
        let next = Nanos::from_millis(50) + Nanos::from_micros(100);
        work.completed(status, 1, next, Evidence::Fence);
        assert_eq!(work.kernel_time(), Nanos::from_micros(100));
        assert_eq!(Nanos(status.busy_ns.load(Relaxed)), Nanos::from_micros(200));
    }

    #[test]
    fn kernel_time_follows_short_samples_and_fences() {
        let (work, page) = (DeviceWork::new(), status());
        let status = &page.devices[0];
        let mut now = Nanos::ZERO;
        let mut step = |us, evidence| {
            now = now + Nanos::from_micros(us);
            work.completed(status, 2, now, evidence);
            work.kernel_time()
        };
        assert_eq!(step(200, Evidence::Sync), Nanos::from_micros(100));
        for _ in 0..40 {
            step(100, Evidence::Fence);
        }
        let settled = step(100, Evidence::Fence);
        assert!(settled < Nanos::from_micros(52), "{settled}");
        // Once fences tell, a program that asks late does not stretch T.
        assert_eq!(step(100_000, Evidence::Sync), settled);
        assert!(step(20, Evidence::Sync) < settled);
        assert_eq!(
            status.busy_ns.load(Relaxed),
            now.0,
            "busy from the first mark to the last completion"
        );
    }
}
