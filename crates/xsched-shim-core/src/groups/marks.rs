//! Marks by which a program says where a request begins and where it ends.
//!
//! Without them a burst ends whenever the device drains, so that a request with
//! fifty synchronisations is fifty bursts. With them the histogram of bursts is
//! one of requests, and gaps are those within requests: the linger covers these
//! and not the time between two requests.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use xsched_common::units::Nanos;

/// Marks older than this say nothing: the program has ceased to make any, or a
/// thread has ended amid a request.
const IN_USE: Nanos = Nanos::from_secs(10);

/// The marks of one group.
pub struct Marks {
    /// Requests that have begun and not ended.
    open: AtomicU32,
    /// Since when there are any. One that lasts longer than marks are in use is
    /// of a thread that has ended.
    open_since: AtomicU64,
    /// When one last began or ended; zero for never.
    last: AtomicU64,
}

impl Marks {
    /// None so far.
    pub const fn new() -> Marks {
        Marks {
            open: AtomicU32::new(0),
            open_since: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// A request begins.
    pub fn begin(&self, now: Nanos) {
        if !self.any_open(now) {
            self.open.store(0, Relaxed);
        }
        if self.open.fetch_add(1, Relaxed) == 0 {
            self.open_since.store(now.0, Relaxed);
        }
        self.last.store(now.0, Relaxed);
    }

    /// One ends.
    pub fn end(&self, now: Nanos) {
        let _ = self
            .open
            .fetch_update(Relaxed, Relaxed, |open| open.checked_sub(1));
        self.last.store(now.0, Relaxed);
    }

    /// Whether the program says what its requests are.
    pub fn in_use(&self, now: Nanos) -> bool {
        let last = self.last.load(Relaxed);
        last != 0 && now.since(Nanos(last)) < IN_USE
    }

    /// Whether a gap that ends now is one within a request, as far as known.
    pub fn is_within(&self, now: Nanos) -> bool {
        !self.in_use(now) || self.any_open(now)
    }

    fn any_open(&self, now: Nanos) -> bool {
        let since = Nanos(self.open_since.load(Relaxed));
        self.open.load(Relaxed) != 0 && now.since(since) < IN_USE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_count_within_requests_and_old_marks_do_not() {
        let at = Nanos::from_millis;
        let marks = Marks::new();
        assert!(!marks.in_use(at(1)) && marks.is_within(at(1)));
        marks.begin(at(1));
        assert!(marks.in_use(at(2)) && marks.is_within(at(2)));
        marks.end(at(3));
        assert!(marks.in_use(at(4)) && !marks.is_within(at(4)));
        marks.end(at(5));
        assert!(!marks.is_within(at(6)), "one end too many");
        assert!(!marks.in_use(at(20_000)) && marks.is_within(at(20_000)));
        // A thread ends amid a request; others go on.
        for s in 20..40 {
            marks.begin(at(s * 1_000));
            if s > 20 {
                marks.end(at(s * 1_000 + 500));
            }
        }
        assert!(!marks.is_within(at(39_600)));
    }
}
