//! What a simulated device says of itself.

use std::time::Duration;

use simdevice::device::watch::Watch;
use simdevice::{options, places};

/// How often a device is looked at for its utilisation, and how long apart: a request or two of most services.
const LOOKS: u32 = 60;
const APART: Duration = Duration::from_millis(1);

/// Idle and at work all the time: W, degrees Celsius, MHz. About those of a data centre's GPU.
const POWER: (f64, f64) = (90.0, 550.0);
const TEMPERATURE: (f64, f64) = (34.0, 68.0);
const CLOCK: (f64, f64) = (600.0, 2100.0);

/// One device's readings.
pub struct Readings {
    /// 0 to 1.
    pub utilization: f64,
    /// Bytes.
    pub memory_used: u64,
}

/// Devices of the machine.
pub fn devices() -> u32 {
    options::get().devices as u32
}

/// A device's own memory, bytes.
pub fn memory() -> u64 {
    options::get().memory
}

impl Readings {
    /// Of the device at a place; idle where nobody has used it yet.
    pub fn of(place: u32) -> Readings {
        let Some(watch) = Watch::open(&places::path(place as usize)) else {
            return Readings {
                utilization: 0.0,
                memory_used: 0,
            };
        };
        let mut busy = 0;
        for _ in 0..LOOKS {
            busy += u32::from(watch.is_busy());
            std::thread::sleep(APART);
        }
        Readings {
            utilization: f64::from(busy) / f64::from(LOOKS),
            memory_used: watch.memory().min(memory()),
        }
    }

    fn between(&self, (idle, full): (f64, f64)) -> f64 {
        idle + (full - idle) * self.utilization
    }

    /// W.
    pub fn power(&self) -> f64 {
        self.between(POWER)
    }

    /// Degrees Celsius.
    pub fn temperature(&self) -> f64 {
        self.between(TEMPERATURE)
    }

    /// MHz.
    pub fn clock(&self) -> f64 {
        self.between(CLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_follow_the_use() {
        let of = |utilization| Readings {
            utilization,
            memory_used: 0,
        };
        assert_eq!((of(0.0).power(), of(1.0).power()), POWER);
        assert!(of(0.5).temperature() > of(0.1).temperature());
        assert!(of(0.9).clock() > of(0.2).clock());
    }
}
