//! Threads come, leave, are jumped out of their waits, and come again.

use super::*;
use xsched_common::gate::GateMode;

const NOW: Nanos = Nanos::from_secs(100);

struct Gate {
    wait_queue: &'static WaitQueue,
    waiting: &'static AtomicU32,
}

impl Gate {
    fn new() -> Gate {
        Gate {
            wait_queue: Box::leak(Box::new(WaitQueue::new())),
            waiting: Box::leak(Box::new(AtomicU32::new(0))),
        }
    }

    /// Another thread comes.
    fn enter(&self, now: Nanos) -> QueueSlot<'static> {
        self.come_again(now, Box::leak(Box::new(ThreadTicket::nowhere())))
    }

    fn come_again<'a>(&self, now: Nanos, mark: &'a ThreadTicket) -> QueueSlot<'a> {
        self.wait_queue.enter(now, self.waiting, mark)
    }

    fn waiting(&self) -> u32 {
        self.waiting.load(SeqCst)
    }

    fn is_empty(&self) -> bool {
        self.wait_queue.queue.is_empty()
    }
}

#[test]
fn first_come_first_served_even_if_some_leave() {
    let gate = Gate::new();
    let [a, b, c] = [NOW; 3].map(|now| gate.enter(now));
    let turns = || [&a, &c].map(|place| place.turn(NOW));
    assert_eq!(
        (turns(), b.turn(NOW)),
        ([Turn::First, Turn::Behind], Turn::Behind)
    );
    drop(b);
    assert_eq!(turns(), [Turn::First, Turn::Behind]);
    drop(a);
    assert_eq!(c.turn(NOW), Turn::First);
    drop(c);
    assert!(gate.is_empty());
    assert_eq!(gate.enter(NOW).turn(NOW), Turn::First);
}

/// More than once around the cells, with a thread that leaves amid.
#[test]
fn a_line_of_any_length_keeps_its_order() {
    let gate = Gate::new();
    for length in [1, 64, 256, 1_000, 4_000, 4_000, ROOM] {
        let mut wait_queue: std::collections::VecDeque<_> =
            (0..length).map(|_| gate.enter(NOW)).collect();
        wait_queue.iter().for_each(QueueSlot::sleeps);
        assert_eq!(gate.waiting() as usize, length);
        wait_queue.remove(length / 2);
        while let Some(first) = wait_queue.pop_front() {
            assert_eq!(first.turn(NOW), Turn::First);
            assert!(
                wait_queue
                    .front()
                    .is_none_or(|p| p.turn(NOW) == Turn::Behind)
            );
            assert!(
                wait_queue
                    .back()
                    .is_none_or(|p| p.turn(NOW) == Turn::Behind)
            );
        }
        assert!(gate.waiting() == 0 && gate.is_empty());
    }
}

#[test]
fn threads_beyond_the_room_get_a_place_later() {
    let gate = Gate::new();
    let mut placed: Vec<_> = (0..ROOM).map(|_| gate.enter(NOW)).collect();
    let late = gate.enter(NOW);
    assert_eq!(late.turn(NOW), Turn::Behind);
    late.sleeps();
    assert!(late.sleep_word().is_some());
    assert_eq!(late.sleep_limit(), OUTSIDE);
    placed.clear();
    assert_eq!(late.turn(NOW), Turn::First);
    drop(late);
    assert!(gate.waiting() == 0 && gate.is_empty());
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

/// The word that a thread is to sleep on is another once its turn has come.
#[test]
fn a_call_between_the_look_and_the_sleep_is_not_lost() {
    let gate = Gate::new();
    let (a, b, c) = (gate.enter(NOW), gate.enter(NOW), gate.enter(NOW));
    b.sleeps();
    let sleep_word = b.sleep_word().expect("behind a");
    assert_eq!(sleep_word.word.load(SeqCst), sleep_word.seen);
    drop(a);
    assert_ne!(sleep_word.word.load(SeqCst) as u32, sleep_word.seen as u32);
    let begun = sys::now();
    sys::undisturbed(|held| sleep_word.sleep(Nanos::from_secs(5), held));
    assert!(sys::now().since(begun) < Nanos::from_secs(1));
    assert!(b.sleep_word().is_none(), "it is the first");
    // A call for something else is heard once and leaves no trace.
    c.sleeps();
    let sleep_word = c.sleep_word().expect("behind b");
    gate.wait_queue.wake_all(gate.waiting);
    assert_ne!(sleep_word.word.load(SeqCst), sleep_word.seen);
    let sleep_word = c.sleep_word().expect("behind b as before");
    assert_eq!(sleep_word.word.load(SeqCst), sleep_word.seen);
}

/// A thread jumped out of its wait in one session; the process joins another,
/// in which somebody else finds the place.
#[test]
fn a_place_of_another_session_is_not_counted_off_in_this_one() {
    let before = Gate::new();
    let gone = before.enter(NOW);
    gone.turn(NOW);
    gone.sleeps();
    assert_eq!(before.waiting(), 1);
    before.wait_queue.wake_all(before.waiting);
    assert_eq!(before.waiting(), 0, "the session is over");
    std::mem::forget(gone);

    let now = Gate {
        wait_queue: before.wait_queue,
        ..Gate::new()
    };
    let place = now.enter(NOW);
    assert_eq!(place.turn(NOW), Turn::Behind);
    place.sleeps();
    assert_eq!(place.turn(NOW + GONE), Turn::Behind);
    assert_eq!(place.turn(NOW + GONE), Turn::First);
    assert_eq!(now.waiting(), 1);
    drop(place);
    assert!(now.waiting() == 0 && now.is_empty());
}

/// Even one that counted itself after the end, and was jumped out then.
#[test]
fn the_count_never_wraps() {
    let before = Gate::new();
    let gone = before.enter(NOW);
    before.wait_queue.wake_all(before.waiting);
    gone.sleeps();
    std::mem::forget(gone);
    let now = Gate {
        wait_queue: before.wait_queue,
        ..Gate::new()
    };
    let place = now.enter(NOW);
    assert_eq!(place.turn(NOW + GONE), Turn::Behind);
    assert_eq!(now.waiting(), 0);
    place.sleeps();
    assert_eq!(now.waiting(), 1);
    drop(place);
    assert!(now.waiting() == 0 && now.is_empty());
}

/// A signal handler waits on the stack of a wait, with the same mark.
#[test]
fn a_wait_amid_a_wait_gives_the_place_up_and_the_outer_takes_another() {
    let (gate, other) = (Gate::new(), Gate::new());
    for inner in [&gate, &other] {
        let mark = ThreadTicket::nowhere();
        let outer = gate.come_again(NOW, &mark);
        outer.sleeps();
        drop(inner.come_again(NOW, &mark));
        assert!(gate.waiting() == 0 && gate.is_empty() && other.is_empty());
        assert_eq!(outer.turn(NOW), Turn::First);
        outer.sleeps();
        assert_eq!(gate.waiting(), 1, "counted at the new place, too");
        drop(outer);
        assert!(gate.waiting() == 0 && gate.is_empty());
    }
    // It jumped out of the inner one, back into the outer one.
    let mark = ThreadTicket::nowhere();
    let outer = gate.come_again(NOW, &mark);
    let first = other.enter(NOW);
    let inner = other.come_again(NOW, &mark);
    inner.sleeps();
    std::mem::forget(inner);
    drop(first);
    assert_eq!(outer.turn(NOW), Turn::First);
    drop(outer);
    assert!(gate.is_empty() && other.is_empty());
    assert!(gate.waiting() == 0 && other.waiting() == 0);
}

/// One that gets its place after it has slept is called like any other.
#[test]
fn one_that_was_without_a_place_is_counted_when_it_has_one() {
    let gate = Gate::new();
    let mut placed: Vec<_> = (0..ROOM).map(|_| gate.enter(NOW)).collect();
    let late = gate.enter(NOW);
    late.sleeps();
    assert_eq!(gate.waiting(), 0);
    drop(placed.remove(0));
    assert_eq!(late.turn(NOW), Turn::Behind);
    placed.clear();
    let last = gate.enter(NOW);
    assert_eq!(late.turn(NOW), Turn::First);
    late.sleeps();
    assert_eq!(gate.waiting(), 1);
    drop((late, last));
    assert!(gate.waiting() == 0 && gate.is_empty());
}

#[test]
fn one_that_finds_no_room_does_not_wait_for_ever() {
    let gate = Gate::new();
    let placed: Vec<_> = (0..ROOM).map(|_| gate.enter(NOW)).collect();
    let late = gate.enter(NOW);
    let end = NOW + MOST_OUTSIDE;
    assert!(
        !late.has_waited_outside_too_long(Nanos(end.0 - 1))
            && late.has_waited_outside_too_long(end)
    );
    assert!(
        !placed[ROOM - 1].has_waited_outside_too_long(end),
        "its turn comes"
    );
}

/// A thread jumped out while it let another pass: the mark was never made.
#[test]
fn a_grant_that_nobody_has_is_forgotten() {
    let gate = Gate::new();
    gate.wait_queue.granted.fetch_add(1, SeqCst);
    let (a, b) = (gate.enter(NOW), gate.enter(NOW));
    assert_eq!(gate.wait_queue.granted(), 0, "the line was empty");
    a.grant(1);
    assert_eq!(gate.wait_queue.granted(), 1);
    gate.wait_queue.forget_grants();
    assert!(b.take_grant());
    assert_eq!(gate.wait_queue.granted(), 0, "and does not wrap");
}

#[test]
fn the_farther_behind_the_longer_the_sleep() {
    let gate = Gate::new();
    let wait_queue: Vec<_> = (0..200).map(|_| gate.enter(NOW)).collect();
    assert_eq!(wait_queue[1].sleep_limit(), GONE);
    assert_eq!(wait_queue[50].sleep_limit(), GONE.times(50));
    assert_eq!(wait_queue[199].sleep_limit(), GONE.times(MOST_AHEAD));
}

/// A thread that was jumped out of its wait and waits no more.
#[test]
fn one_that_is_gone_is_turned_out() {
    let gate = Gate::new();
    let gone = gate.enter(NOW);
    assert_eq!(gone.turn(NOW), Turn::First);
    gone.sleeps();
    let next = gate.enter(NOW);
    let almost = NOW + Nanos(GONE.0 - 1);
    assert_eq!(next.turn(almost), Turn::Behind);
    assert_eq!(next.turn(NOW + GONE), Turn::Behind, "finds it out");
    assert_eq!(next.turn(NOW + GONE), Turn::First);
    assert_eq!(gate.waiting(), 0);
    // It was only late: it goes on as the first that it was, and nothing is
    // counted twice.
    assert_eq!(gone.turn(NOW + GONE), Turn::First);
    gone.sleeps();
    assert_eq!(gate.waiting(), 0);
    drop(gone);
    assert_eq!(next.turn(NOW + GONE), Turn::First);
    drop(next);
    assert!(gate.waiting() == 0 && gate.is_empty());
}

/// Ended between its ticket and its cell, or between leaving and passing on.
#[test]
fn a_ticket_without_a_thread_is_turned_out() {
    let gate = Gate::new();
    for _ in 0..2 * ROOM {
        drop(gate.enter(NOW));
    }
    let lost = gate.wait_queue.queue.take().expect("room");
    let next = gate.enter(NOW);
    assert_eq!(next.turn(NOW), Turn::Behind);
    assert_eq!(next.turn(NOW + GONE), Turn::Behind);
    assert_eq!(next.turn(NOW + GONE), Turn::First);
    gate.wait_queue.queue.stand(lost);
    assert!(!gate.wait_queue.queue.holds(lost), "it has come too late");
    assert_eq!(next.turn(NOW + GONE), Turn::First);
}

/// However many come behind it.
#[test]
fn newcomers_do_not_keep_one_that_is_gone() {
    let gate = Gate::new();
    let gone = gate.enter(NOW);
    assert_eq!(gone.turn(NOW), Turn::First);
    let next = gate.enter(NOW);
    let mut others = Vec::new();
    for ms in (10..=100).step_by(10) {
        let now = NOW + Nanos::from_millis(ms);
        others.push(gate.enter(now));
        assert_eq!(next.turn(now), Turn::Behind);
    }
    assert_eq!(next.turn(NOW + GONE), Turn::First);
}

/// It neither queues behind itself or those that came later, nor begins
/// its wait anew.
#[test]
fn one_that_jumped_out_and_comes_again_goes_on_waiting() {
    let gate = Gate::new();
    let mark = ThreadTicket::nowhere();
    let mut later = Vec::new();
    for ms in 0..200 {
        let now = NOW + Nanos::from_millis(ms);
        let place = gate.come_again(now, &mark);
        assert_eq!((place.turn(now), place.arrived()), (Turn::First, NOW));
        place.sleeps();
        assert_eq!(gate.waiting(), 1);
        std::mem::forget(place);
        later.push(gate.enter(now));
    }
    later.clear();
    drop(gate.come_again(NOW, &mark));
    assert!(gate.waiting() == 0 && gate.is_empty());
    let later = NOW + Nanos::from_secs(9);
    assert_eq!(gate.come_again(later, &mark).arrived(), later, "it passed");
}

#[test]
fn one_that_comes_to_another_gate_leaves_the_first() {
    let (first, second) = (Gate::new(), Gate::new());
    let mark = ThreadTicket::nowhere();
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
    let mark = ThreadTicket::nowhere();
    let place = gate.come_again(NOW, &mark);
    place.sleeps();
    std::mem::forget(place);
    let other = gate.enter(NOW);
    other.sleeps();
    assert_eq!(other.turn(NOW + GONE), Turn::Behind);
    assert_eq!(other.turn(NOW + GONE), Turn::First);
    let place = gate.come_again(NOW + GONE, &mark);
    assert_eq!(place.turn(NOW + GONE), Turn::Behind);
    assert_eq!(place.arrived(), NOW);
    assert_eq!(gate.waiting(), 1);
    drop(other);
    drop(place);
    assert!(gate.waiting() == 0 && gate.is_empty());
}

#[test]
fn a_new_word_forgets_the_doublings() {
    let wait_queue = Box::new(WaitQueue::new());
    let word = GateWord::new(GateMode::Capped(4), 7);
    wait_queue.double(word);
    wait_queue.double(word);
    assert_eq!(wait_queue.doublings(word), 2);
    assert_eq!(wait_queue.doublings(word.next(GateMode::Capped(4))), 0);
}
