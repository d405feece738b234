//! Who waits at one device's gate, first come first served.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};

use xsched_common::gate::{GateWord, Turn};
use xsched_common::units::Nanos;

/// Threads that can stand in line; those beyond wait for a place.
const PLACES: usize = 64;

/// A first in line that has not looked for so long is gone: a signal handler
/// jumped out of its wait (siglongjmp), or ended the thread. A living one
/// looks at least once per lease.
const GONE: Nanos = Nanos::from_secs(1);

/// In a place's word beside its number: its thread is counted as waiting.
const SLEEPS: u64 = 1;

/// One device's line, and what its guards remember.
///
/// A thread holds a place marked with its number; the lowest number is
/// first. A place is given up by one exchange, in any order, so a thread that
/// leaves early (the gate opened, the agent died) cannot block the others.
pub struct Line {
    next: AtomicU64,
    /// The number above [`SLEEPS`], or zero.
    places: [AtomicU64; PLACES],
    /// When somebody came to the empty line, or the first in it last looked.
    looked: AtomicU64,
    last_trickle: AtomicU64,
    /// Generation of the word (high half) that the doublings of the cap
    /// (low half) belong to: a new word starts afresh.
    doublings: AtomicU64,
}

/// A thread's place in a [`Line`], given up when dropped.
pub struct Place<'a> {
    line: &'a Line,
    /// The status page's count of threads that wait.
    waiting: &'a AtomicU32,
    number: u64,
    place: Option<&'a AtomicU64>,
    sleeps: Sleeps,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleeps {
    No,
    Counted,
}

impl Line {
    /// An empty line; all bytes zero.
    pub const fn new() -> Line {
        Line {
            next: AtomicU64::new(0),
            places: [const { AtomicU64::new(0) }; PLACES],
            looked: AtomicU64::new(0),
            last_trickle: AtomicU64::new(0),
            doublings: AtomicU64::new(0),
        }
    }

    /// Queues the calling thread, which counts in `waiting` once it sleeps.
    pub fn enter<'a>(&'a self, now: Nanos, waiting: &'a AtomicU32) -> Place<'a> {
        // Only by the first to come: whoever joins a line must not vouch for
        // one in it that is gone.
        if self.places.iter().all(|p| p.load(SeqCst) == 0) {
            self.looked.store(now.0, Relaxed);
        }
        let number = (self.next.fetch_add(1, SeqCst) + 1) << 1;
        Place {
            line: self,
            waiting,
            number,
            place: self.take_place(number),
            sleeps: Sleeps::No,
        }
    }

    fn take_place(&self, word: u64) -> Option<&AtomicU64> {
        self.places
            .iter()
            .find(|p| p.load(Relaxed) == 0 && p.compare_exchange(0, word, SeqCst, Relaxed).is_ok())
    }

    /// Whether anybody else stands in line.
    pub fn others_than(&self, place: &Place<'_>) -> bool {
        self.places.iter().any(|p| {
            let number = p.load(SeqCst) & !SLEEPS;
            number != 0 && number != place.number
        })
    }

    /// Takes the first in line away if it is gone.
    fn turn_out(&self, now: Nanos, waiting: &AtomicU32) {
        if now.since(Nanos(self.looked.load(Relaxed))) < GONE {
            return;
        }
        self.looked.store(now.0, Relaxed);
        let first = self
            .places
            .iter()
            .map(|p| (p.load(SeqCst), p))
            .filter(|(word, _)| *word != 0)
            .min_by_key(|(word, _)| *word);
        if let Some((word, place)) = first
            && place.compare_exchange(word, 0, SeqCst, Relaxed).is_ok()
            && word & SLEEPS != 0
        {
            waiting.fetch_sub(1, SeqCst);
        }
    }

    /// When a launch last passed by a guard.
    pub fn last_trickle(&self) -> Nanos {
        Nanos(self.last_trickle.load(Relaxed))
    }

    /// A launch passes by a guard.
    pub fn trickled(&self, now: Nanos) {
        self.last_trickle.store(now.0, Relaxed);
    }

    /// How often stalls have doubled the cap in `word`.
    pub fn doublings(&self, word: GateWord) -> u8 {
        let raw = self.doublings.load(Acquire);
        if raw >> 32 == u64::from(word.generation()) {
            raw as u8
        } else {
            0
        }
    }

    /// A stall doubles the cap in `word`.
    pub fn double(&self, word: GateWord) {
        let doublings = self.doublings(word).saturating_add(1);
        self.doublings.store(
            u64::from(word.generation()) << 32 | u64::from(doublings),
            Relaxed,
        );
    }
}

impl Place<'_> {
    /// Whether this thread is the first in line.
    pub fn turn(&mut self, now: Nanos) -> Turn {
        if self.place.is_none() {
            self.place = self.line.take_place(self.word());
        }
        let ahead = |p: &AtomicU64| {
            let number = p.load(SeqCst) & !SLEEPS;
            number != 0 && number < self.number
        };
        if self.place.is_none() || self.line.places.iter().any(ahead) {
            self.line.turn_out(now, self.waiting);
            Turn::Behind
        } else {
            self.line.looked.store(now.0, Relaxed);
            Turn::First
        }
    }

    /// The thread is about to sleep: counts it as waiting, once.
    pub fn sleeps(&mut self) {
        if self.sleeps == Sleeps::Counted {
            return;
        }
        self.waiting.fetch_add(1, SeqCst);
        let before = self.word();
        self.sleeps = Sleeps::Counted;
        if let Some(place) = self.place
            && place
                .compare_exchange(before, self.word(), SeqCst, Relaxed)
                .is_err()
        {
            self.place = None;
        }
    }

    fn word(&self) -> u64 {
        match self.sleeps {
            Sleeps::No => self.number,
            Sleeps::Counted => self.number | SLEEPS,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let word = self.word();
        let turned_out = self
            .place
            .is_some_and(|p| p.compare_exchange(word, 0, SeqCst, Relaxed).is_err());
        if self.sleeps == Sleeps::Counted && !turned_out {
            self.waiting.fetch_sub(1, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::gate::GateMode;

    const NOW: Nanos = Nanos::from_secs(100);

    #[test]
    fn first_come_first_served_even_if_some_leave() {
        let (line, waiting) = (Line::new(), AtomicU32::new(0));
        let enter = || line.enter(NOW, &waiting);
        let mut a = enter();
        assert!(!line.others_than(&a));
        let mut b = enter();
        let mut c = enter();
        assert!(line.others_than(&a));
        assert_eq!(
            (a.turn(NOW), b.turn(NOW), c.turn(NOW)),
            (Turn::First, Turn::Behind, Turn::Behind)
        );
        drop(b);
        assert_eq!(c.turn(NOW), Turn::Behind);
        drop(a);
        assert_eq!(c.turn(NOW), Turn::First);
    }

    #[test]
    fn threads_beyond_the_room_get_a_place_later() {
        let (line, waiting) = (Line::new(), AtomicU32::new(0));
        let mut placed: Vec<_> = (0..PLACES).map(|_| line.enter(NOW, &waiting)).collect();
        let mut late = line.enter(NOW, &waiting);
        assert_eq!(late.turn(NOW), Turn::Behind);
        late.sleeps();
        placed.clear();
        assert_eq!(late.turn(NOW), Turn::First);
        drop(late);
        assert_eq!(waiting.load(SeqCst), 0);
    }

    #[test]
    fn who_waits_is_counted_once() {
        let (line, waiting) = (Line::new(), AtomicU32::new(0));
        let mut a = line.enter(NOW, &waiting);
        let b = line.enter(NOW, &waiting);
        a.sleeps();
        a.sleeps();
        assert_eq!(waiting.load(SeqCst), 1);
        drop(b);
        drop(a);
        assert_eq!(waiting.load(SeqCst), 0);
        assert!(line.places.iter().all(|p| p.load(SeqCst) == 0));
    }

    /// A thread that was jumped out of its wait never gives its place up.
    #[test]
    fn one_that_is_gone_is_turned_out() {
        let (line, waiting) = (Line::new(), AtomicU32::new(0));
        let mut gone = line.enter(NOW, &waiting);
        assert_eq!(gone.turn(NOW), Turn::First);
        gone.sleeps();
        let mut next = line.enter(NOW, &waiting);
        assert_eq!(next.turn(NOW + Nanos::from_millis(900)), Turn::Behind);
        assert_eq!(next.turn(NOW + GONE), Turn::Behind, "finds it out");
        assert_eq!(next.turn(NOW + GONE), Turn::First);
        assert_eq!(waiting.load(SeqCst), 0);
        // It was only late: nothing is counted twice.
        drop(gone);
        drop(next);
        assert_eq!(waiting.load(SeqCst), 0);
    }

    /// However many come behind it.
    #[test]
    fn newcomers_do_not_keep_one_that_is_gone() {
        let (line, waiting) = (Line::new(), AtomicU32::new(0));
        let mut gone = line.enter(NOW, &waiting);
        assert_eq!(gone.turn(NOW), Turn::First);
        let mut next = line.enter(NOW, &waiting);
        let mut others = Vec::new();
        for ms in (100..=1_000).step_by(100) {
            let now = NOW + Nanos::from_millis(ms);
            others.push(line.enter(now, &waiting));
            assert_eq!(next.turn(now), Turn::Behind);
        }
        assert_eq!(next.turn(NOW + GONE), Turn::First);
    }

    #[test]
    fn a_new_word_forgets_the_doublings() {
        let line = Line::new();
        let word = GateWord::new(GateMode::Capped(4), 7);
        line.double(word);
        line.double(word);
        assert_eq!(line.doublings(word), 2);
        assert_eq!(line.doublings(word.next(GateMode::Capped(4))), 0);
    }
}
