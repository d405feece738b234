//! Delays of the machine around the device, drawn from a seed.

use xsched_common::units::Nanos;

/// Uniform numbers (xorshift64*, Vigna 2016): small, and equal everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Any seed will do.
    pub fn new(seed: u64) -> Rng {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            rng.uniform();
        }
        rng
    }

    /// From 0 up to, but not including, 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: Nanos) -> Nanos {
        Nanos((-(1.0 - self.uniform()).ln() * mean.0 as f64) as u64)
    }
}

/// A delay, by its median and 99th percentile: even from half of the median
/// up to it, exponential beyond.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// Median.
    pub p50: Nanos,
    /// 99th percentile.
    pub p99: Nanos,
}

impl Delay {
    /// No delay at all.
    pub const NONE: Delay = Delay {
        p50: Nanos::ZERO,
        p99: Nanos::ZERO,
    };

    /// One of them.
    pub fn draw(self, rng: &mut Rng) -> Nanos {
        let u = rng.uniform();
        if u < 0.5 {
            return Nanos((self.p50.0 as f64 * (0.5 + u)) as u64);
        }
        let beyond = self.p99.since(self.p50).0 as f64 * (0.5 / (1.0 - u)).ln() / 50f64.ln();
        self.p50 + Nanos(beyond as u64)
    }
}

/// What the machine takes for what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A launch call, on the processor.
    pub launch: Nanos,
    /// From a completion to the return of the synchronise that waits for it.
    pub sync: Nanos,
    /// From a doorbell to the agent's decision: eventfd and epoll, measured
    /// at P50 9 us, P99 36 us (2 cores of an EPYC VM, Linux 6.18).
    pub doorbell: Delay,
    /// From the agent's futex wake to the waiter's next look: P50 10 us, P99
    /// 37 us on the same machine.
    pub wake: Delay,
    /// From a kernel's end to the host function behind it: a wake of the
    /// runtime's thread.
    pub function: Delay,
    /// Time between two looks of a program that polls.
    pub poll: Nanos,
    /// By how much a timer or a poll is late: 1 us of slack and a wake.
    pub timer: Delay,
}

impl Default for Timing {
    fn default() -> Timing {
        let us = Nanos::from_micros;
        Timing {
            launch: us(2),
            sync: us(5),
            doorbell: Delay {
                p50: us(9),
                p99: us(36),
            },
            wake: Delay {
                p50: us(10),
                p99: us(37),
            },
            function: Delay {
                p50: us(10),
                p99: us(37),
            },
            poll: us(50),
            timer: Delay {
                p50: us(5),
                p99: us(30),
            },
        }
    }
}

impl Timing {
    /// A machine without delays, for comparison with formulas.
    pub const IDEAL: Timing = Timing {
        launch: Nanos(0),
        sync: Nanos(0),
        doorbell: Delay::NONE,
        wake: Delay::NONE,
        function: Delay::NONE,
        poll: Nanos(0),
        timer: Delay::NONE,
    };
}
