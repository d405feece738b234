//! What the service clock was when this process asked: the shared snapshot begins anew whenever a process comes or goes, and
//! tells nothing of the time before.

/// Moments that are kept: more than pass between a kernel's end and its being noticed.
const MOMENTS: usize = 8;

/// Real times and the service then, in ns, the latest first.
#[derive(Debug, Default)]
pub struct History {
    moments: [(u64, u64); MOMENTS],
    count: usize,
}

impl History {
    /// The service clock was `service` at `at`. Neither goes back.
    pub fn note(&mut self, at: u64, service: u64) {
        let latest = self.moments[0];
        if self.count > 0 && latest == (at, service) {
            return;
        }
        self.moments.rotate_right(1);
        self.moments[0] = (at, service);
        self.count = (self.count + 1).min(MOMENTS);
    }

    /// When the clock reached `service`, which it passed before `known`, a moment of it: at an even rate between the closest
    /// moments.
    pub fn time_at(&self, service: u64, known: (u64, u64)) -> u64 {
        let moments = &self.moments[..self.count];
        let later = moments.iter().chain([&known]);
        let later = later.filter(|moment| moment.1 > service);
        let Some(later) = later.min_by_key(|moment| moment.1) else {
            return known.0;
        };
        let Some(earlier) = moments.iter().find(|moment| moment.1 <= service) else {
            // Before all that is remembered: not later than that.
            return later.0;
        };
        let (time, rate) = (later.0.saturating_sub(earlier.0), later.1 - earlier.1);
        let passed = u128::from(service - earlier.1) * u128::from(time) / u128::from(rate);
        // At most `time`, which has 64 bits.
        earlier.0.saturating_add(passed as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_two_moments_is_told() {
        let mut history = History::default();
        assert_eq!(history.time_at(5, (100, 10)), 100, "nothing is remembered");
        history.note(1000, 0);
        history.note(1040, 40);
        history.note(1100, 70);
        let known = (1200, 100);
        assert_eq!(history.time_at(20, known), 1020);
        assert_eq!(history.time_at(55, known), 1070, "at half the rate");
        assert_eq!(
            history.time_at(85, known),
            1150,
            "between a question and a snapshot"
        );
        assert_eq!(
            history.time_at(85, (1110, 100)),
            1105,
            "a snapshot soon after"
        );
        for at in 0..20 {
            history.note(2000 + at, 200 + at);
        }
        assert_eq!(history.time_at(20, (1990, 190)), 1990, "forgotten");
    }
}
