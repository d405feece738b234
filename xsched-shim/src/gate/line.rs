//! Who waits at one device's gate, first come first served.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};

use xsched_common::gate::{GateWord, Turn};
use xsched_common::units::Nanos;

/// Threads that can stand in line; those beyond wait for a place.
const PLACES: usize = 64;

/// One device's line, and what its guards remember.
///
/// A thread holds a place marked with its number; the lowest number is
/// first. A place is given up by one store, in any order, so a thread that
/// leaves early (the gate opened, the agent died) cannot block the others.
pub struct Line {
    next: AtomicU64,
    places: [AtomicU64; PLACES],
    last_trickle: AtomicU64,
    /// Generation of the word (high half) that the doublings of the cap
    /// (low half) belong to: a new word starts afresh.
    doublings: AtomicU64,
}

/// A thread's place in a [`Line`], given up when dropped.
pub struct Place<'a> {
    line: &'a Line,
    number: u64,
    place: Option<&'a AtomicU64>,
}

impl Line {
    /// An empty line; all bytes zero.
    pub const fn new() -> Line {
        Line {
            next: AtomicU64::new(0),
            places: [const { AtomicU64::new(0) }; PLACES],
            last_trickle: AtomicU64::new(0),
            doublings: AtomicU64::new(0),
        }
    }

    /// Queues the calling thread.
    pub fn enter(&self) -> Place<'_> {
        let number = self.next.fetch_add(1, SeqCst) + 1;
        Place {
            line: self,
            number,
            place: self.take_place(number),
        }
    }

    fn take_place(&self, number: u64) -> Option<&AtomicU64> {
        self.places.iter().find(|p| {
            p.load(Relaxed) == 0 && p.compare_exchange(0, number, SeqCst, Relaxed).is_ok()
        })
    }

    /// Whether anybody else stands in line.
    pub fn others_than(&self, place: &Place<'_>) -> bool {
        self.places
            .iter()
            .any(|p| !matches!(p.load(SeqCst), 0) && p.load(SeqCst) != place.number)
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
    pub fn turn(&mut self) -> Turn {
        if self.place.is_none() {
            self.place = self.line.take_place(self.number);
        }
        let ahead = |p: &AtomicU64| {
            let number = p.load(SeqCst);
            number != 0 && number < self.number
        };
        if self.place.is_none() || self.line.places.iter().any(ahead) {
            Turn::Behind
        } else {
            Turn::First
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            place.store(0, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::gate::GateMode;

    #[test]
    fn first_come_first_served_even_if_some_leave() {
        let line = Line::new();
        let mut a = line.enter();
        assert!(!line.others_than(&a));
        let mut b = line.enter();
        let mut c = line.enter();
        assert!(line.others_than(&a));
        assert_eq!(
            (a.turn(), b.turn(), c.turn()),
            (Turn::First, Turn::Behind, Turn::Behind)
        );
        drop(b);
        assert_eq!(c.turn(), Turn::Behind);
        drop(a);
        assert_eq!(c.turn(), Turn::First);
    }

    #[test]
    fn threads_beyond_the_room_get_a_place_later() {
        let line = Line::new();
        let mut placed: Vec<_> = (0..PLACES).map(|_| line.enter()).collect();
        let mut late = line.enter();
        assert_eq!(late.turn(), Turn::Behind);
        placed.clear();
        assert_eq!(late.turn(), Turn::First);
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
