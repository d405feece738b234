//! Marks by which a program says where a request begins and where it ends.
//!
//! Without them a burst ends whenever the device drains, so that a request with
//! fifty synchronisations is fifty bursts. With them the histogram of bursts is
//! one of requests, and gaps are those within requests: the linger covers these
//! and not the time between two requests.
//!
//! Each open request is its thread's, and counts for a while after its thread was
//! last seen in it: a thread that has ended amid its request is not seen again,
//! however many others begin and end theirs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use xsched_common::units::Nanos;

use crate::{thread, tls};

/// Marks older than this say nothing: the program has ceased to make any, or a
/// thread has ended amid a request.
const IN_USE: Nanos = Nanos::from_secs(10);

/// Requests open at a time. With so many open, further ones change nothing.
const OPEN: usize = 32;

/// The marks of one group.
pub struct Marks {
    /// When a thread was last seen in a request; zero for never.
    last: AtomicU64,
    open: [Open; OPEN],
}

/// A request that has begun and not ended.
struct Open {
    /// Its thread's words ([`tls::address`]); zero: none.
    thread: AtomicU64,
    /// When that was last seen in it.
    seen: AtomicU64,
}

impl Open {
    fn counts(&self, now: Nanos) -> bool {
        let seen = Nanos(self.seen.load(Relaxed));
        self.thread.load(Relaxed) != 0 && now.since(seen) < IN_USE
    }

    /// Takes the place of one that counts no more.
    fn take(&self, thread: u64, now: Nanos) -> bool {
        let before = self.thread.load(Relaxed);
        if before != 0 && self.counts(now) {
            return false;
        }
        let taken = self
            .thread
            .compare_exchange(before, thread, Relaxed, Relaxed);
        if taken.is_ok() {
            self.seen.store(now.0, Relaxed);
        }
        taken.is_ok()
    }
}

/// The calling thread is at work: if it is in a request, that goes on.
pub fn seen(now: Nanos) {
    thread::with(|thread| {
        if let Some(session) = thread.burst_in.get() {
            session.marks.go_on(tls::address(), now);
        }
    });
}

impl Marks {
    /// None so far.
    pub const fn new() -> Marks {
        Marks {
            last: AtomicU64::new(0),
            open: [const {
                Open {
                    thread: AtomicU64::new(0),
                    seen: AtomicU64::new(0),
                }
            }; OPEN],
        }
    }

    fn of_thread(&self, thread: u64) -> Option<&Open> {
        let mut open = self.open.iter();
        open.find(|open| open.thread.load(Relaxed) == thread)
    }

    /// A request of the calling thread's begins.
    pub fn begin(&self, now: Nanos) {
        self.begin_of(tls::address(), now);
    }

    fn begin_of(&self, thread: u64, now: Nanos) {
        self.last.store(now.0, Relaxed);
        // One that has ended amid its request may have had the same words.
        match self.of_thread(thread) {
            Some(open) => open.seen.store(now.0, Relaxed),
            None => {
                let mut all = self.open.iter();
                all.find(|open| open.take(thread, now));
            }
        }
    }

    fn go_on(&self, thread: u64, now: Nanos) {
        match self.of_thread(thread) {
            Some(open) => open.seen.store(now.0, Relaxed),
            // Somebody has taken its place while it did nothing.
            None => return self.begin_of(thread, now),
        }
        self.last.store(now.0, Relaxed);
    }

    /// It ends.
    pub fn end(&self, now: Nanos) {
        self.end_of(tls::address(), now);
    }

    fn end_of(&self, thread: u64, now: Nanos) {
        if let Some(open) = self.of_thread(thread) {
            let _ = open.thread.compare_exchange(thread, 0, Relaxed, Relaxed);
        }
        self.last.store(now.0, Relaxed);
    }

    /// Whether the program says what its requests are.
    pub fn in_use(&self, now: Nanos) -> bool {
        let last = self.last.load(Relaxed);
        last != 0 && now.since(Nanos(last)) < IN_USE
    }

    /// Whether a gap that ends now is one within a request, as far as known.
    pub fn is_within(&self, now: Nanos) -> bool {
        !self.in_use(now) || self.open.iter().any(|open| open.counts(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Nanos = Nanos::from_millis;

    #[test]
    fn gaps_count_within_requests_and_old_marks_do_not() {
        let marks = Marks::new();
        assert!(!marks.in_use(AT(1)) && marks.is_within(AT(1)));
        marks.begin(AT(1));
        assert!(marks.in_use(AT(2)) && marks.is_within(AT(2)));
        marks.end(AT(3));
        assert!(marks.in_use(AT(4)) && !marks.is_within(AT(4)));
        marks.end(AT(5));
        assert!(!marks.is_within(AT(6)), "one end too many");
        assert!(!marks.in_use(AT(20_000)) && marks.is_within(AT(20_000)));
    }

    #[test]
    fn requests_that_overlap_for_long_are_not_lost() {
        let marks = Marks::new();
        // Each lasts 1.5 s, and one begins every second, for a minute.
        for second in 0..60 {
            let now = AT(second * 1_000);
            marks.begin_of(second + 1, now);
            let later = now + AT(500);
            if second > 0 {
                marks.end_of(second, later);
            }
            assert!(marks.is_within(later), "{second} s");
        }
        marks.end_of(60, AT(60_000));
        assert!(!marks.is_within(AT(60_001)), "the last has ended");
    }

    #[test]
    fn a_thread_that_ended_amid_its_request_is_forgotten() {
        let marks = Marks::new();
        marks.begin_of(7, AT(1));
        for second in 1..60 {
            let now = AT(second * 1_000);
            marks.begin_of(8, now);
            marks.end_of(8, now + AT(500));
            let is_within = marks.is_within(now + AT(700));
            assert_eq!(is_within, second < 10, "{second} s");
        }
        // Another has its words.
        marks.begin_of(9, AT(60_000));
        marks.begin_of(9, AT(60_100));
        marks.end_of(9, AT(60_200));
        assert!(!marks.is_within(AT(60_300)));
    }

    #[test]
    fn a_long_request_goes_on_while_its_thread_is_seen() {
        let marks = Marks::new();
        marks.begin_of(7, AT(1));
        for second in (1..60).step_by(9) {
            marks.go_on(7, AT(second * 1_000));
            assert!(marks.is_within(AT(second * 1_000)));
        }
        // A kernel of half a minute, and what is launched after it.
        let after = AT(100_000);
        marks.go_on(7, after);
        assert!(marks.in_use(after) && marks.is_within(after));
        marks.end_of(7, after);
        assert!(!marks.is_within(after));
    }

    #[test]
    fn places_come_free() {
        let marks = Marks::new();
        for thread in 1..=OPEN as u64 {
            marks.begin_of(thread, AT(1));
        }
        marks.begin_of(1_000, AT(2));
        marks.end_of(1_000, AT(3));
        assert!(marks.is_within(AT(4)), "others are open");
        // They have all ended amid their requests.
        marks.begin_of(1_000, AT(11_000));
        assert!(marks.is_within(AT(11_001)));
        marks.end_of(1_000, AT(11_002));
        assert!(!marks.is_within(AT(11_003)));
    }
}
