//! Who waits at one device's gate, first come first served.

use std::cell::Cell;
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
/// looks every [`xsched_common::gate::Limits::look`].
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

/// Where a thread stands in line, kept with the thread: if a signal handler
/// jumps out of the wait, its next one finds what it has left behind.
#[repr(C)]
pub struct Mark {
    /// The number above [`SLEEPS`], or zero: it stands nowhere.
    word: Cell<u64>,
    /// When it came.
    arrived: Cell<u64>,
    /// Where that word stands; `None` beyond the room, or turned out.
    place: Cell<Option<&'static AtomicU64>>,
    /// The status page's count of threads that wait there.
    waiting: Cell<Option<&'static AtomicU32>>,
}

/// A thread's place in a [`Line`], given up when dropped.
pub struct Place<'a> {
    line: &'static Line,
    mark: &'a Mark,
}

impl Mark {
    /// A thread that stands nowhere; all bytes zero.
    #[cfg(test)]
    const fn nowhere() -> Mark {
        Mark {
            word: Cell::new(0),
            arrived: Cell::new(0),
            place: Cell::new(None),
            waiting: Cell::new(None),
        }
    }

    /// Forgets the place: the thread is the child of a fork, and the place
    /// its parent's.
    pub fn forget(&self) {
        self.word.set(0);
        self.place.set(None);
        self.waiting.set(None);
    }

    /// Gives the place up, if there is one.
    fn leave(&self) {
        let word = self.word.replace(0);
        let turned_out = self
            .place
            .take()
            .is_some_and(|p| p.compare_exchange(word, 0, SeqCst, Relaxed).is_err());
        if let Some(waiting) = self.waiting.take()
            && word & SLEEPS != 0
            && !turned_out
        {
            waiting.fetch_sub(1, SeqCst);
        }
    }

    /// Since when a wait by the same count goes on that the thread has jumped
    /// out of.
    fn left_since(&self, waiting: &AtomicU32) -> Option<Nanos> {
        let same = self.waiting.get().is_some_and(|w| std::ptr::eq(w, waiting));
        (self.word.get() != 0 && same).then(|| Nanos(self.arrived.get()))
    }
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

    /// Queues the thread whose mark this is; it counts in `waiting` once it
    /// sleeps. What it has left of a wait that it jumped out of is cleared
    /// first, and the new wait goes on from there: one that is interrupted
    /// over and over must end as well.
    pub fn enter<'a>(
        &'static self,
        now: Nanos,
        waiting: &'static AtomicU32,
        mark: &'a Mark,
    ) -> Place<'a> {
        let arrived = mark.left_since(waiting).unwrap_or(now);
        mark.leave();
        // Only by the first to come: whoever joins a line must not vouch for
        // one in it that is gone.
        if self.places.iter().all(|p| p.load(SeqCst) == 0) {
            self.looked.store(now.0, Relaxed);
        }
        let word = (self.next.fetch_add(1, SeqCst) + 1) << 1;
        mark.arrived.set(arrived.0);
        mark.waiting.set(Some(waiting));
        mark.word.set(word);
        mark.place.set(self.take_place(word));
        Place { line: self, mark }
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
            number != 0 && number != place.number()
        })
    }

    /// Takes the first in line away if it is gone.
    fn turn_out(&self, now: Nanos, waiting: Option<&AtomicU32>) {
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
            && let Some(waiting) = waiting
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
    /// When the thread came.
    pub fn arrived(&self) -> Nanos {
        Nanos(self.mark.arrived.get())
    }

    /// Whether this thread is the first in line.
    pub fn turn(&self, now: Nanos) -> Turn {
        let Mark { place, waiting, .. } = self.mark;
        if place.get().is_none() {
            place.set(self.line.take_place(self.mark.word.get()));
        }
        let number = self.number();
        let ahead = |p: &AtomicU64| (1..number).contains(&(p.load(SeqCst) & !SLEEPS));
        if place.get().is_none() || self.line.places.iter().any(ahead) {
            self.line.turn_out(now, waiting.get());
            Turn::Behind
        } else {
            self.line.looked.store(now.0, Relaxed);
            Turn::First
        }
    }

    /// The thread is about to sleep: counts it as waiting, once.
    pub fn sleeps(&self) {
        let before = self.mark.word.get();
        let Some(waiting) = self.mark.waiting.get().filter(|_| before & SLEEPS == 0) else {
            return;
        };
        waiting.fetch_add(1, SeqCst);
        let word = before | SLEEPS;
        self.mark.word.set(word);
        if let Some(place) = self.mark.place.get()
            && place
                .compare_exchange(before, word, SeqCst, Relaxed)
                .is_err()
        {
            self.mark.place.set(None);
        }
    }

    fn number(&self) -> u64 {
        self.mark.word.get() & !SLEEPS
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.mark.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::gate::GateMode;

    const NOW: Nanos = Nanos::from_secs(100);

    struct Gate {
        line: &'static Line,
        waiting: &'static AtomicU32,
    }

    impl Gate {
        fn new() -> Gate {
            Gate {
                line: Box::leak(Box::new(Line::new())),
                waiting: Box::leak(Box::new(AtomicU32::new(0))),
            }
        }

        /// Another thread comes.
        fn enter(&self, now: Nanos) -> Place<'static> {
            self.come_again(now, Box::leak(Box::new(Mark::nowhere())))
        }

        fn come_again<'a>(&self, now: Nanos, mark: &'a Mark) -> Place<'a> {
            self.line.enter(now, self.waiting, mark)
        }

        fn waiting(&self) -> u32 {
            self.waiting.load(SeqCst)
        }

        fn is_empty(&self) -> bool {
            self.line.places.iter().all(|p| p.load(SeqCst) == 0)
        }
    }

    #[test]
    fn first_come_first_served_even_if_some_leave() {
        let gate = Gate::new();
        let a = gate.enter(NOW);
        assert!(!gate.line.others_than(&a));
        let (b, c) = (gate.enter(NOW), gate.enter(NOW));
        assert!(gate.line.others_than(&a));
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
        let gate = Gate::new();
        let mut placed: Vec<_> = (0..PLACES).map(|_| gate.enter(NOW)).collect();
        let late = gate.enter(NOW);
        assert_eq!(late.turn(NOW), Turn::Behind);
        late.sleeps();
        placed.clear();
        assert_eq!(late.turn(NOW), Turn::First);
        drop(late);
        assert_eq!(gate.waiting(), 0);
    }

    #[test]
    fn who_waits_is_counted_once() {
        let gate = Gate::new();
        let (a, b) = (gate.enter(NOW), gate.enter(NOW));
        a.sleeps();
        a.sleeps();
        assert_eq!(gate.waiting(), 1);
        drop(b);
        drop(a);
        assert!(gate.waiting() == 0 && gate.is_empty());
    }

    /// A thread that was jumped out of its wait and waits no more.
    #[test]
    fn one_that_is_gone_is_turned_out() {
        let gate = Gate::new();
        let gone = gate.enter(NOW);
        assert_eq!(gone.turn(NOW), Turn::First);
        gone.sleeps();
        let next = gate.enter(NOW);
        assert_eq!(next.turn(NOW + Nanos::from_millis(900)), Turn::Behind);
        assert_eq!(next.turn(NOW + GONE), Turn::Behind, "finds it out");
        assert_eq!(next.turn(NOW + GONE), Turn::First);
        assert_eq!(gate.waiting(), 0);
        // It was only late: nothing is counted twice.
        drop(gone);
        drop(next);
        assert_eq!(gate.waiting(), 0);
    }

    /// However many come behind it.
    #[test]
    fn newcomers_do_not_keep_one_that_is_gone() {
        let gate = Gate::new();
        let gone = gate.enter(NOW);
        assert_eq!(gone.turn(NOW), Turn::First);
        let next = gate.enter(NOW);
        let mut others = Vec::new();
        for ms in (100..=1_000).step_by(100) {
            let now = NOW + Nanos::from_millis(ms);
            others.push(gate.enter(now));
            assert_eq!(next.turn(now), Turn::Behind);
        }
        assert_eq!(next.turn(NOW + GONE), Turn::First);
    }

    /// It neither queues behind itself nor begins its wait anew.
    #[test]
    fn one_that_jumped_out_and_comes_again_goes_on_waiting() {
        let gate = Gate::new();
        let mark = Mark::nowhere();
        for ms in 0..200 {
            let now = NOW + Nanos::from_millis(ms);
            let place = gate.come_again(now, &mark);
            assert_eq!((place.turn(now), place.arrived()), (Turn::First, NOW));
            if ms % 3 != 0 {
                place.sleeps();
            }
            assert!(!gate.line.others_than(&place));
            assert_eq!(gate.waiting(), u32::from(ms % 3 != 0));
            std::mem::forget(place);
        }
        drop(gate.come_again(NOW, &mark));
        assert!(gate.waiting() == 0 && gate.is_empty());
        let later = NOW + Nanos::from_secs(9);
        assert_eq!(gate.come_again(later, &mark).arrived(), later, "it passed");
    }

    #[test]
    fn one_that_comes_to_another_gate_leaves_the_first() {
        let (first, second) = (Gate::new(), Gate::new());
        let mark = Mark::nowhere();
        let place = first.come_again(NOW, &mark);
        place.sleeps();
        std::mem::forget(place);
        let later = NOW + Nanos::from_millis(5);
        let place = second.come_again(later, &mark);
        assert!(first.waiting() == 0 && first.is_empty());
        assert_eq!((place.turn(later), place.arrived()), (Turn::First, later));
    }

    /// Others have turned it out long ago.
    #[test]
    fn one_that_comes_again_late_is_not_counted_twice() {
        let gate = Gate::new();
        let mark = Mark::nowhere();
        let place = gate.come_again(NOW, &mark);
        place.sleeps();
        std::mem::forget(place);
        let other = gate.enter(NOW);
        other.sleeps();
        assert_eq!(other.turn(NOW + GONE), Turn::Behind);
        assert_eq!(other.turn(NOW + GONE), Turn::First);
        let place = gate.come_again(NOW + GONE, &mark);
        assert_eq!(place.turn(NOW + GONE), Turn::Behind);
        assert_eq!(gate.waiting(), 1);
        drop(other);
        drop(place);
        assert!(gate.waiting() == 0 && gate.is_empty());
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
