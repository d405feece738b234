//! One kernel at a time on the whole machine, in order of arrival (discipline `fifo`).
//!
//! Arrival reserves the device: a kernel starts when the last reservation ends. Device time is real time plus what was
//! skipped when a process died with reservations outstanding.

/// The interval a kernel of `service` ns gets when it arrives at device time `now`: (new reservation end, kernel end).
/// Both are the same value; it is the next `busy_until`.
#[must_use]
pub fn reserve(busy_until: u64, now: u64, service: u64) -> u64 {
    busy_until.max(now).saturating_add(service)
}

/// Device time to skip when a process died that had announced `outstanding` ns: never past the last reservation.
#[must_use]
pub fn refund(busy_until: u64, now: u64, outstanding: u64) -> u64 {
    outstanding.min(busy_until.saturating_sub(now))
}
