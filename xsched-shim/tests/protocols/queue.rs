//! The queue at the gate: each thread asleep on a word of its own.

#[path = "../../../crates/xsched-shim-core/src/wait_queue/queue.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "compiled for its protocol"
)]
mod protocol;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::atomic::{AtomicU32, AtomicU64};
use super::explore_up_to;
use protocol::{Queue, Ticket};

const ROOM: usize = 4;

struct Gate {
    queue: Queue<ROOM>,
    /// Whether the process has left the agent.
    over: AtomicU32,
    /// Threads whose turn it is.
    first: AtomicU32,
    /// Threads that are counted, as `gate::line` counts them.
    waiting: AtomicU32,
    /// As the kernel's: the comparison and the decision to sleep are one step.
    /// No timeout: what loses a call sleeps for ever.
    futex: Mutex<()>,
    sleepers: [Condvar; ROOM],
}

/// When a thread looks at what it may be called for.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    AfterTheBed,
    BeforeTheBed,
}

impl Gate {
    fn new() -> Arc<Gate> {
        let zero = || AtomicU64::new(0);
        Arc::new(Gate {
            queue: Queue::of([(); 3].map(|()| zero()), [(); ROOM].map(|()| zero())),
            over: AtomicU32::new(0),
            first: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            futex: Mutex::new(()),
            sleepers: [(); ROOM].map(|()| Condvar::new()),
        })
    }

    fn come(&self) -> Ticket {
        let ticket = self.queue.take().expect("room");
        self.queue.stand(ticket);
        ticket
    }

    fn sleep(&self, ticket: Ticket, cell: &AtomicU64, seen: u64) {
        let futex = self.futex.lock().expect("not poisoned");
        if cell.load(SeqCst) == seen {
            let sleeper = &self.sleepers[ticket.0 as usize % ROOM];
            drop(sleeper.wait(futex).expect("not poisoned"));
        }
    }

    fn leave(&self, ticket: Ticket) {
        let left = self.queue.leave(ticket, |cell| self.wake(cell));
        if left.is_some_and(|left| left.was_counted()) {
            self.fewer(1);
        }
    }

    fn count(&self, ticket: Ticket) {
        self.waiting.fetch_add(1, SeqCst);
        if !self.queue.count(ticket) {
            self.fewer(1);
        }
    }

    fn fewer(&self, n: u32) {
        let before = self.waiting.fetch_sub(n, SeqCst);
        assert!(before >= n, "the count wraps");
    }

    fn wake(&self, cell: &AtomicU64) {
        // The cell's number, by the ticket in it.
        let ticket = (cell.load(SeqCst) >> 4).wrapping_sub(1);
        drop(self.futex.lock().expect("not poisoned"));
        self.sleepers[ticket as usize % ROOM].notify_all();
    }

    fn is_over(&self) -> bool {
        self.over.load(SeqCst) != 0
    }

    /// `gate::wait::wait` of a thread with this ticket, without a word and its
    /// guards: it passes when it is the first, or when the session is over.
    fn pass(&self, ticket: Ticket, look: Look) {
        while !self.is_over() {
            if self.queue.is_turn_of(ticket) {
                assert_eq!(self.first.fetch_add(1, SeqCst), 0, "two are first");
                self.first.fetch_sub(1, SeqCst);
                break;
            }
            self.count(ticket);
            let wanted = || !self.is_over() && !self.queue.is_turn_of(ticket);
            let before = look == Look::AfterTheBed || wanted();
            let Some((cell, seen)) = self.queue.sleep_word(ticket) else {
                break;
            };
            if before && (look == Look::BeforeTheBed || wanted()) {
                self.sleep(ticket, cell, seen);
            }
        }
        self.leave(ticket);
    }
}

fn spawn(gate: &Arc<Gate>, act: impl FnOnce(&Gate) + 'static) -> thread::JoinHandle<()> {
    let gate = gate.clone();
    thread::spawn(move || act(&gate))
}

fn all_pass(look: Look) {
    explore_up_to(2, move || {
        let gate = Gate::new();
        let others: Vec<_> = (0..2)
            .map(|_| spawn(&gate, move |gate| gate.pass(gate.come(), look)))
            .collect();
        gate.pass(gate.come(), look);
        for other in others {
            other.join().expect("passes");
        }
        assert!(gate.queue.is_empty());
    });
}

#[test]
fn whoever_leaves_wakes_the_next_one() {
    all_pass(Look::AfterTheBed);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_sleeper_that_looks_before_it_makes_its_bed_loses_calls() {
    all_pass(Look::BeforeTheBed);
}

/// One in the middle leaves by itself (its thread ends) while the turn comes
/// to it.
#[test]
fn one_that_leaves_amid_the_line_does_not_keep_the_turn() {
    explore_up_to(2, || {
        let gate = Gate::new();
        let [first, amid, last] = [(); 3].map(|()| gate.come());
        let leaves = spawn(&gate, move |gate| gate.leave(amid));
        let waits = spawn(&gate, move |gate| gate.pass(last, Look::AfterTheBed));
        gate.leave(first);
        leaves.join().expect("leaves");
        waits.join().expect("passes");
        assert!(gate.queue.is_empty());
    });
}

/// The first is taken for gone while it goes: it is one or the other, and the
/// turn is passed on once.
#[test]
fn one_that_is_turned_out_while_it_leaves_passes_the_turn_on_once() {
    explore_up_to(2, || {
        let gate = Gate::new();
        let [first, second, _third] = [(); 3].map(|()| gate.come());
        let leaves = spawn(&gate, move |gate| gate.leave(first));
        let waits = spawn(&gate, move |gate| {
            while !gate.queue.is_turn_of(second) {
                if let Some(first) = gate.queue.first().filter(|t| *t != second) {
                    gate.queue.evict(first, |cell| gate.wake(cell));
                }
                thread::yield_now();
            }
        });
        leaves.join().expect("leaves");
        waits
            .join()
            .expect("its turn comes, and goes to nobody else");
        assert!(gate.queue.holds(second));
    });
}

/// One that goes lets another go along with it, which may go by its turn at the
/// same time: the mark is taken off once.
#[test]
fn a_grant_is_used_or_given_back() {
    explore_up_to(2, || {
        let gate = Gate::new();
        let [first, second] = [(); 2].map(|()| gate.come());
        let granted = Arc::new(AtomicU32::new(0));
        let theirs = granted.clone();
        let waits = spawn(&gate, move |gate| {
            loop {
                if gate.queue.take_grant(second) {
                    theirs.fetch_sub(1, SeqCst);
                    break;
                }
                if gate.queue.is_turn_of(second) {
                    break;
                }
                gate.queue.count(second);
                if let Some((cell, seen)) = gate.queue.sleep_word(second)
                    && !gate.queue.is_turn_of(second)
                {
                    gate.sleep(second, cell, seen);
                }
            }
            let left = gate.queue.leave(second, |cell| gate.wake(cell));
            if left.is_some_and(|left| left.was_granted()) {
                theirs.fetch_sub(1, SeqCst);
            }
        });
        granted.fetch_add(1, SeqCst);
        if !gate.queue.grant(second, |cell| gate.wake(cell)) {
            granted.fetch_sub(1, SeqCst);
        }
        gate.leave(first);
        waits.join().expect("passes");
        assert_eq!(granted.load(SeqCst), 0);
        assert!(gate.queue.is_empty());
    });
}

/// The agent is gone: nobody leaves for the sake of the next, all are called.
fn the_session_ends(look: Look) {
    explore_up_to(2, move || {
        let gate = Gate::new();
        gate.come();
        let waits: Vec<_> = (0..2)
            .map(|_| spawn(&gate, move |gate| gate.pass(gate.come(), look)))
            .collect();
        gate.over.store(1, SeqCst);
        let counted = gate.queue.wake_all(|cell| gate.wake(cell));
        gate.fewer(counted);
        for wait in waits {
            wait.join().expect("runs free");
        }
        assert_eq!(gate.waiting.load(SeqCst), 0);
    });
}

#[test]
fn the_end_of_a_session_frees_everybody() {
    the_session_ends(Look::AfterTheBed);
}

#[test]
#[should_panic(expected = "deadlock")]
fn one_that_looks_for_the_end_before_it_makes_its_bed_misses_it() {
    the_session_ends(Look::BeforeTheBed);
}
