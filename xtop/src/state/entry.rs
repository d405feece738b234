//! Numbers with units, as they are typed.

use std::time::Duration;

use xsched_common::api::MAX_OVERRIDE_MS;
use xsched_common::units::{Nanos, Weight};

/// The longest text that can be typed, characters.
const MAX_TYPED: usize = 16;

/// Steps of a weight or a time: one, two and five times powers of ten.
const STEPS: [u64; 3] = [1, 2, 5];

/// Steps of a duration, seconds.
const DURATIONS: [u64; 10] = [5, 10, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600];

/// A number being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// As typed.
    pub text: String,
    /// Whether it is still as proposed: the first character replaces it.
    proposed: bool,
}

impl Entry {
    /// Proposes `text`.
    pub fn new(text: impl Into<String>) -> Entry {
        Entry {
            text: text.into(),
            proposed: true,
        }
    }

    /// Appends what is typed, in place of the proposal.
    pub fn push(&mut self, c: char) {
        if std::mem::take(&mut self.proposed) {
            self.text.clear();
        }
        if self.text.chars().count() < MAX_TYPED {
            self.text.push(c);
        }
    }

    /// Takes the last character.
    pub fn pop(&mut self) {
        self.proposed = false;
        self.text.pop();
    }

    /// Takes all.
    pub fn clear(&mut self) {
        self.proposed = false;
        self.text.clear();
    }

    /// As a weight.
    pub fn weight(&self) -> Result<Weight, String> {
        let text = self.text.trim();
        text.parse::<Weight>().map_err(|e| e.to_string())
    }

    /// As a latency target; zero for none.
    pub fn target(&self) -> Result<Nanos, String> {
        match self.text.trim() {
            "0" | "off" | "none" => Ok(Nanos::ZERO),
            text => time(text)
                .filter(|time| *time > Nanos::ZERO)
                .ok_or_else(|| "not a time: write 500us, 5ms, 1s, or off".to_owned()),
        }
    }

    /// As the length of a boost or suspension; seconds without a unit.
    pub fn duration(&self) -> Result<Duration, String> {
        let longest = Duration::from_millis(MAX_OVERRIDE_MS);
        duration(self.text.trim())
            .filter(|d| !d.is_zero() && *d <= longest)
            .ok_or_else(|| "not a duration to 1 h: write 30s, 5m or 1h".to_owned())
    }

    /// The next weight of a series.
    pub fn step_weight(&mut self, steps: isize) {
        let now = self.weight().unwrap_or_default().get();
        let (least, most) = (Weight::MIN.get().into(), Weight::MAX.get().into());
        let next = stepped(now.into(), steps).clamp(least, most);
        *self = Entry::new(next.to_string());
    }

    /// The next time of a series.
    pub fn step_time(&mut self, steps: isize) {
        let now = self.target().ok().filter(|time| *time > Nanos::ZERO);
        let now = now.unwrap_or(Nanos::from_millis(5));
        let next = stepped(now.0, steps).clamp(1_000, 100_000_000_000);
        *self = Entry::new(exact_time(Nanos(next)));
    }

    /// The next duration of a series.
    pub fn step_duration(&mut self, steps: isize) {
        let now = self.duration().map_or(30, |d| d.as_secs());
        let next = match steps {
            ..0 => DURATIONS.iter().rev().find(|&&d| d < now),
            _ => DURATIONS.iter().find(|&&d| d > now),
        };
        let next = *next.unwrap_or(&now);
        let text = match next {
            3_600 => "1h".to_owned(),
            s if s >= 60 && s % 60 == 0 => format!("{}m", s / 60),
            s => format!("{s}s"),
        };
        *self = Entry::new(text);
    }
}

/// The next of the series 1, 2, 5, 10 above `n`, or below when `steps` is
/// negative.
fn stepped(n: u64, steps: isize) -> u64 {
    let mut series = (0..18)
        .map(|exponent| 10_u64.pow(exponent))
        .flat_map(|power| STEPS.map(|step| step * power));
    match steps {
        ..0 => series.take_while(|&value| value < n).last().unwrap_or(1),
        _ => series.find(|&value| value > n).unwrap_or(n),
    }
}

/// `time` in the largest unit that keeps it whole.
fn exact_time(time: Nanos) -> String {
    let (unit, name) = match time.0 {
        ns if ns.is_multiple_of(1_000_000_000) => (1_000_000_000, "s"),
        ns if ns.is_multiple_of(1_000_000) => (1_000_000, "ms"),
        ns if ns.is_multiple_of(1_000) => (1_000, "us"),
        _ => (1, "ns"),
    };
    format!("{}{name}", time.0 / unit)
}

/// `time` to three digits, as one would type it.
pub(super) fn round_time(time: Nanos) -> String {
    let mut unit = 1;
    while time.0 / unit >= 1_000 {
        unit *= 10;
    }
    exact_time(Nanos(time.0 / unit * unit))
}

fn time(text: &str) -> Option<Nanos> {
    let units = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    let ns = number(text, &units)?;
    (ns < 1e15).then_some(Nanos(ns.round() as u64))
}

/// A time as people write it: `500ms`, `2s`, `5m`, or plain seconds.
pub fn duration(text: &str) -> Option<Duration> {
    let units = [
        ("min", 60.0),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3_600.0),
    ];
    let seconds = number(text, &units).or_else(|| number(text, &[("", 1.0)]))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A number before one of `units`, in the base of the units.
fn number(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    units.iter().find_map(|(unit, scale)| {
        let digits = text.strip_suffix(unit)?.trim_end();
        let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let number = digits.parse::<f64>().ok().filter(|_| plain)?;
        Some(number * scale)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_is_typed_over_and_stepped_from() {
        let mut entry = Entry::new("30s");
        entry.push('1');
        entry.push('m');
        assert_eq!(entry.duration(), Ok(Duration::from_secs(60)));
        entry.step_duration(1);
        assert_eq!(entry.text, "2m");
        for _ in 0..20 {
            entry.step_duration(1);
        }
        assert_eq!(entry.text, "1h");
        for _ in 0..20 {
            entry.step_duration(-1);
        }
        assert_eq!(entry.text, "5s");
        for _ in 0..50 {
            entry.push('9');
        }
        assert_eq!(entry.text.len(), MAX_TYPED);
        assert!(entry.duration().is_err());
    }

    #[test]
    fn weights_and_times_go_in_steps_of_one_two_five() {
        let mut entry = Entry::new("100");
        entry.step_weight(1);
        assert_eq!(entry.text, "200");
        for (steps, last) in [(1, "10000"), (-1, "1")] {
            for _ in 0..20 {
                entry.step_weight(steps);
            }
            assert_eq!(entry.text, last);
        }
        let mut entry = Entry::new(round_time(Nanos(3_218_765)));
        assert_eq!(entry.text, "3210us");
        entry.step_time(1);
        assert_eq!(entry.text, "5ms");
        entry.step_time(-1);
        assert_eq!(entry.text, "2ms");
    }

    #[test]
    fn units_and_nonsense() {
        let target = |text: &str| Entry::new(text).target();
        assert_eq!(target("1.5ms"), Ok(Nanos(1_500_000)));
        assert_eq!(target("off"), Ok(Nanos::ZERO));
        for text in ["", "ms", "-5ms", "1e9s", "5", "nan ms", "0ms", "inf s"] {
            assert!(target(text).is_err(), "{text}");
        }
        let duration = |text: &str| Entry::new(text).duration();
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2 min"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
    }
}
