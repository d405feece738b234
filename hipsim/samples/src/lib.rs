//! What the sample programs in Rust share apart from their platform: a service, durations, time and chance.

pub mod service;

use std::time::{Duration, Instant};

/// Reads a duration such as `20ms`, `300us`, `1.5s`.
///
/// # Errors
/// A text for the user.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(
        text.find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len()),
    );
    let factor = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err("a duration needs a unit: ns, us, ms or s".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * factor).map_err(|error| error.to_string())
}

/// Sleeps until `when`; the moment from which work due then counts: `when` if it had passed, else the wake-up.
#[must_use]
pub fn sleep_until(when: Instant) -> Instant {
    let now = Instant::now();
    if when <= now {
        return when;
    }
    std::thread::sleep(when - now);
    Instant::now()
}

/// Keeps the processor busy, as host code does.
pub fn compute(time: Duration) {
    if time.is_zero() {
        return;
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// The monotonic clock.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Small random numbers that are the same on every run.
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Above 0 and below 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 1.0) / ((1u64 << 53) as f64 + 1.0)
    }

    /// Exponentially distributed with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations() {
        assert_eq!(duration("300us"), Ok(Duration::from_micros(300)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(duration("10").is_err());
        assert!(duration("-1s").is_err());
    }
}
