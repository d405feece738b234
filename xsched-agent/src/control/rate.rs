//! How often somebody may do something: a token bucket in one number.

use xsched_common::units::Nanos;

/// So many at once, and then one per `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time between two in the long run.
    pub interval: Nanos,
    /// How many may come at once after a pause.
    pub burst: u32,
}

/// What somebody has used of a [`Rate`].
///
/// The generic cell rate algorithm (ITU-T I.371): the state is the time at
/// which the bucket will be full again, so a meter that is not used needs no
/// upkeep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    full_at: Nanos,
}

impl Meter {
    /// Whether one more may come now; counts it if so.
    pub fn take(&mut self, rate: &Rate, now: Nanos) -> bool {
        let full_at = self.full_at.max(now) + rate.interval;
        let allowed = full_at.since(now) <= rate.interval.times(u64::from(rate.burst));
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }

    /// How long until the next may come.
    pub fn wait(&self, rate: &Rate, now: Nanos) -> Nanos {
        let bucket = rate.interval.times(u64::from(rate.burst));
        (self.full_at.max(now) + rate.interval).since(now + bucket)
    }

    /// Whether nothing is used: the meter can be forgotten.
    pub fn is_full(&self, now: Nanos) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate {
        interval: Nanos::from_millis(1),
        burst: 10,
    };

    #[test]
    fn a_burst_then_one_per_interval() {
        let mut meter = Meter::default();
        let mut now = Nanos::from_secs(5);
        assert_eq!(meter.wait(&RATE, now), Nanos::ZERO);
        assert_eq!((0..100).filter(|_| meter.take(&RATE, now)).count(), 10);
        assert_eq!(meter.wait(&RATE, now), RATE.interval);
        now = now + Nanos::from_millis(3);
        assert_eq!((0..100).filter(|_| meter.take(&RATE, now)).count(), 3);
        assert!(!meter.is_full(now));
        now = now + Nanos::from_millis(10);
        assert!(meter.is_full(now));
        assert_eq!((0..100).filter(|_| meter.take(&RATE, now)).count(), 10);
    }

    proptest! {
        /// Whenever somebody asks, no more than burst + elapsed / interval
        /// are let through.
        #[test]
        fn never_more_than_the_rate(steps in prop::collection::vec(0u64..5_000_000, 1..200)) {
            let mut meter = Meter::default();
            let start = Nanos::from_secs(1);
            let (mut now, mut taken) = (start, 0);
            for step in steps {
                now = now + Nanos(step);
                taken += u64::from(meter.take(&RATE, now));
                prop_assert!(taken <= 10 + now.since(start).0 / RATE.interval.0);
            }
        }
    }
}
