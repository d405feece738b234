//! A client's own clock, which stands while its gate is closed.
//!
//! Who may not launch makes no progress and tells nothing, so limits on both
//! count the time with a gate that is not closed. All of it: a gate that
//! closes every now and then must not begin a limit anew each time, or one
//! that never asks would count as at work for ever.

use xsched_common::gate::GateMode;
use xsched_common::units::Nanos;

/// A point on a client's own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OwnTime(Nanos);

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnClock {
    /// When it was last looked at.
    seen: Nanos,
    /// For how long it has stood.
    stood: Nanos,
}

impl OwnClock {
    /// Until `now` the client's gate was in this mode; what the clock shows.
    pub fn advance(&mut self, now: Nanos, mode: GateMode) -> OwnTime {
        if mode == GateMode::Closed && self.seen != Nanos::ZERO {
            self.stood = self.stood + now.since(self.seen);
        }
        self.seen = now;
        self.now()
    }

    /// What it shows.
    pub fn now(&self) -> OwnTime {
        OwnTime(Nanos(self.seen.0.saturating_sub(self.stood.0)))
    }

    /// When it will show that time, if it does not stand until then.
    pub fn reaches(&self, time: OwnTime) -> Nanos {
        time.0 + self.stood
    }
}

impl OwnTime {
    /// The time from `earlier` on.
    pub fn since(self, earlier: OwnTime) -> Nanos {
        self.0.since(earlier.0)
    }

    /// Later by that much.
    pub fn after(self, time: Nanos) -> OwnTime {
        OwnTime(self.0 + time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_while_the_gate_is_closed() {
        let ms = Nanos::from_millis;
        let mut clock = OwnClock::default();
        let start = clock.advance(ms(1_000), GateMode::Open);
        clock.advance(ms(1_010), GateMode::Capped(2));
        clock.advance(ms(1_030), GateMode::Closed);
        let now = clock.advance(ms(1_040), GateMode::Open);
        assert_eq!(now.since(start), ms(20));
        assert_eq!(clock.reaches(now.after(ms(5))), ms(1_045));
    }
}
