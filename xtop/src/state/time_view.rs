//! The time that charts show.

use std::time::Duration;

/// How much time, and how far back it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeView {
    /// How much.
    pub span: Duration,
    /// From its end to now.
    pub back: Duration,
}

/// What can be shown, seconds.
const SPANS: [u64; 7] = [15, 30, 60, 120, 300, 900, 1_800];

impl Default for TimeView {
    fn default() -> TimeView {
        TimeView {
            span: Duration::from_secs(60),
            back: Duration::ZERO,
        }
    }
}

impl TimeView {
    /// Seconds relative to now, from and to.
    pub fn bounds(self) -> (f64, f64) {
        let to = -self.back.as_secs_f64();
        (to - self.span.as_secs_f64(), to)
    }

    /// Less time when positive, more when negative.
    pub fn zoom(&mut self, steps: isize) {
        let place = SPANS.iter().position(|s| *s >= self.span.as_secs());
        let place = place.unwrap_or(SPANS.len() - 1);
        let place = place.saturating_add_signed(-steps).min(SPANS.len() - 1);
        self.span = Duration::from_secs(SPANS[place]);
    }

    /// A quarter of the time later, or earlier when negative, within what is
    /// remembered.
    pub fn shift(&mut self, steps: isize, remembered: Duration) {
        let by = self.span.mul_f64(0.25 * steps.unsigned_abs() as f64);
        self.back = match steps < 0 {
            true => (self.back + by).min(remembered.saturating_sub(self.span / 2)),
            false => self.back.saturating_sub(by),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_stay_within_what_is_remembered() {
        let mut view = TimeView::default();
        view.zoom(-1);
        view.zoom(1);
        assert_eq!(view.bounds(), (-60.0, 0.0));
        view.shift(-2, Duration::from_secs(600));
        assert_eq!(view.bounds(), (-90.0, -30.0));
        view.shift(-1_000, Duration::from_secs(600));
        assert_eq!(view.back, Duration::from_secs(570));
        view.shift(1_000, Duration::from_secs(600));
        assert_eq!(view.bounds(), (-60.0, 0.0));
        view.zoom(isize::MIN + 1);
        assert_eq!(view.span.as_secs(), 1_800);
        view.zoom(100);
        assert_eq!(view.span.as_secs(), 15);
    }
}
