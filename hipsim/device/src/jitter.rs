//! Durations that vary from one kernel to the next.

use crate::options;

/// A source of varied durations.
pub struct Jitter(u64);

impl Default for Jitter {
    /// One that starts from the seed of the options.
    fn default() -> Self {
        Self(options::get().seed | 1)
    }
}

impl Jitter {
    /// The duration, in ns, varied as far as the options say.
    pub fn vary(&mut self, service: u64) -> u64 {
        let jitter = options::get().jitter;
        if jitter == 0.0 {
            return service;
        }
        // xorshift64: uniform enough for durations, and free.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let part = (self.0 >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0;
        (service as f64 * (1.0 + jitter * part)).round() as u64
    }
}
