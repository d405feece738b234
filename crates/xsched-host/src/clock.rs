//! The agent's clocks.

use rustix::time::{ClockId, clock_gettime};
use xsched_common::units::Nanos;

/// CLOCK_MONOTONIC.
pub fn monotonic() -> Nanos {
    read(ClockId::Monotonic)
}

/// CLOCK_BOOTTIME: as CLOCK_MONOTONIC, and while the machine sleeps.
pub fn boottime() -> Nanos {
    read(ClockId::Boottime)
}

/// Time of day, since 1970.
pub fn unix() -> Nanos {
    read(ClockId::Realtime)
}

fn read(clock: ClockId) -> Nanos {
    let time = clock_gettime(clock);
    Nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}
