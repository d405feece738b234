//! How long a gate stood open, capped and closed: what it is at one moment says
//! little where it changes every few milliseconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use xsched_common::gate::GateMode;
use xsched_common::units::Nanos;

/// Times by what the gate allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateSpent {
    /// Open.
    pub open: Nanos,
    /// Capped.
    pub capped: Nanos,
    /// Closed.
    pub closed: Nanos,
}

/// The same since the first decision, written by the control thread and read
/// by others: for people, so a reader may see half of a change.
#[derive(Default)]
pub(super) struct GateTimes {
    spent: [AtomicU64; 3],
    /// When the word last changed; zero while nobody has decided.
    since: AtomicU64,
}

fn place(mode: GateMode) -> usize {
    match mode {
        GateMode::Open | GateMode::Watched => 0,
        GateMode::Capped(_) => 1,
        GateMode::Closed => 2,
    }
}

impl GateTimes {
    /// At `now` it is decided anew about a gate that was `before` until now.
    pub fn decided(&self, before: GateMode, now: Nanos) {
        let since = self.since.swap(now.0, Relaxed);
        if since > 0 {
            self.spent[place(before)].fetch_add(now.0.saturating_sub(since), Relaxed);
        }
    }

    /// What it comes to at `now`, when the gate is `present`; none until it was
    /// decided about.
    pub fn until(&self, present: GateMode, now: Nanos) -> Option<GateSpent> {
        let since = self.since.load(Relaxed);
        let mut spent = self.spent.each_ref().map(|time| time.load(Relaxed));
        spent[place(present)] += now.0.saturating_sub(since);
        let [open, capped, closed] = spent.map(Nanos);
        (since > 0).then_some(GateSpent {
            open,
            capped,
            closed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_counts_once() {
        let times = GateTimes::default();
        assert_eq!(times.until(GateMode::Open, Nanos(5)), None);
        times.decided(GateMode::Open, Nanos(100));
        times.decided(GateMode::Closed, Nanos(130));
        times.decided(GateMode::Capped(4), Nanos(150));
        let spent = times.until(GateMode::Open, Nanos(210)).expect("decided");
        let (open, capped, closed) = (Nanos(60), Nanos(20), Nanos(30));
        assert_eq!(
            spent,
            GateSpent {
                open,
                capped,
                closed
            }
        );
    }
}
