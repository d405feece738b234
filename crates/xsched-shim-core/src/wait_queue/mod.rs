//! Who waits at one device's gate, and what its guards remember.

mod queue;

use std::cell::Cell;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};

use xsched_common::gate::{GateWord, Turn};
use xsched_common::units::Nanos;

use crate::sys::{self, Held};
use queue::{Left, Queue, Ticket};

/// Threads that can wait in the queue. The queue lies in memory that is not there
/// until it is used; those beyond look every [`OUTSIDE`] whether there is room,
/// in no order.
const ROOM: usize = 8192;
const OUTSIDE: Nanos = Nanos::from_millis(200);
/// Longest wait of one that finds no room: nobody knows its place, so there is
/// no turn that would end it.
const MOST_OUTSIDE: Nanos = Nanos::from_secs(10);

/// A first in the queue that has not looked for so long is gone: a signal handler
/// jumped out of its wait (siglongjmp), or ended the thread. A living one
/// looks every [`xsched_common::gate::Limits::look`]; one that could not run
/// on a busy machine goes on as one of two that are first.
const GONE: Nanos = Nanos::from_millis(100);

/// Longest sleep behind others, by how many are ahead: the second sees to it
/// that the first is there, the third that these two are, and so on. Nobody
/// sleeps longer than the queue would need to come to him if each of those
/// ahead were gone, and a queue of a thousand is not a thousand timers.
const MOST_AHEAD: u64 = 100;

/// One device's wait queue, and what its guards remember.
pub struct WaitQueue {
    queue: Queue<ROOM>,
    /// When somebody came to the empty queue, or the first in it last looked.
    looked: AtomicU64,
    /// Threads that were let pass and have not passed yet: the marks in the
    /// queue's cells.
    granted: AtomicU64,
    /// When a first in the queue last asked about fences.
    reaped: AtomicU64,
    last_trickle: AtomicU64,
    /// Generation of the word (high half) that the doublings of the cap
    /// (low half) belong to: a new word starts afresh.
    doublings: AtomicU64,
}

/// Where a thread waits in the queue, kept with the thread: if a signal handler
/// jumps out of the wait, its next one goes on from there. A handler that waits
/// amid its thread's wait uses, and gives up, the same place.
#[repr(C)]
pub struct ThreadTicket {
    /// Its ticket plus one, or zero: it has none.
    ticket: Cell<u64>,
    /// When it came.
    arrived: Cell<u64>,
    /// Where it came to; `None` if it stands nowhere.
    wait_queue: Cell<Option<&'static WaitQueue>>,
    /// The status page's count of threads that wait there.
    waiting: Cell<Option<&'static AtomicU32>>,
}

/// A thread's place in a [`WaitQueue`], given up when dropped.
pub struct QueueSlot<'a> {
    wait_queue: &'static WaitQueue,
    waiting: &'static AtomicU32,
    ticket_of_thread: &'a ThreadTicket,
}

/// Where a thread behind others sleeps.
pub struct SleepWord<'a> {
    word: &'a AtomicU64,
    seen: u64,
}

impl SleepWord<'_> {
    /// Sleeps until the thread is called, at most `timeout`; less at will.
    pub fn sleep(&self, timeout: Nanos, held: &Held) {
        sys::futex_wait_private(self.word, self.seen as u32, timeout, held);
    }
}

impl ThreadTicket {
    /// A thread that stands nowhere; all bytes zero.
    #[cfg(test)]
    const fn nowhere() -> ThreadTicket {
        ThreadTicket {
            ticket: Cell::new(0),
            arrived: Cell::new(0),
            wait_queue: Cell::new(None),
            waiting: Cell::new(None),
        }
    }

    /// Forgets the place: the thread is the child of a fork, and the place
    /// its parent's.
    pub fn forget(&self) {
        self.ticket.set(0);
        self.wait_queue.set(None);
        self.waiting.set(None);
    }

    fn ticket(&self) -> Option<Ticket> {
        self.ticket.get().checked_sub(1).map(Ticket)
    }

    /// Whether the place is in this queue, and counted there.
    fn is_in(&self, wait_queue: &WaitQueue, waiting: &AtomicU32) -> bool {
        let same_line = self
            .wait_queue
            .get()
            .is_some_and(|l| std::ptr::eq(l, wait_queue));
        same_line && self.waiting.get().is_some_and(|w| std::ptr::eq(w, waiting))
    }

    /// Gives the place up, if there is one.
    fn leave(&self) {
        if let (Some(wait_queue), Some(ticket)) = (self.wait_queue.get(), self.ticket()) {
            let left = wait_queue.queue.leave(ticket, wake);
            wait_queue.settle(left, self.waiting.get());
        }
        self.forget();
    }
}

/// Wakes all that sleep on the word: one thread, or none.
fn wake(cell: &AtomicU64) {
    sys::futex_wake_private(cell);
}

/// So many fewer wait. A count that is shared with threads which may be jumped
/// out of their waits can be too low by a few for a while; it never wraps.
pub fn fewer(waiting: &AtomicU32, n: u32) {
    let _ = waiting.fetch_update(SeqCst, SeqCst, |w| Some(w.saturating_sub(n)));
}

impl WaitQueue {
    /// An empty queue; all bytes zero.
    pub const fn new() -> WaitQueue {
        WaitQueue {
            queue: Queue::of(
                [const { AtomicU64::new(0) }; _],
                [const { AtomicU64::new(0) }; ROOM],
            ),
            looked: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            reaped: AtomicU64::new(0),
            last_trickle: AtomicU64::new(0),
            doublings: AtomicU64::new(0),
        }
    }

    /// Queues the thread whose mark this is; it counts in `waiting` once it
    /// sleeps. A wait at this gate that it was jumped out of goes on: one that
    /// is interrupted over and over must end as well. A place at another gate
    /// is given up.
    pub fn enter<'a>(
        &'static self,
        now: Nanos,
        waiting: &'static AtomicU32,
        ticket_of_thread: &'a ThreadTicket,
    ) -> QueueSlot<'a> {
        let place = QueueSlot {
            wait_queue: self,
            waiting,
            ticket_of_thread,
        };
        let goes_on = ticket_of_thread.is_in(self, waiting);
        if goes_on
            && ticket_of_thread
                .ticket()
                .is_some_and(|t| self.queue.holds(t))
        {
            return place;
        }
        let arrived = if goes_on {
            ticket_of_thread.arrived.get()
        } else {
            now.0
        };
        ticket_of_thread.arrived.set(arrived);
        place.stand(now);
        place
    }

    /// Takes the first in the queue away if it is gone.
    fn evict(&self, now: Nanos, waiting: &AtomicU32) {
        let first = self.queue.first();
        // In this order: whoever passes the turn on has looked before.
        let looked = Nanos(self.looked.load(SeqCst));
        let Some(first) = first.filter(|_| now.since(looked) >= GONE) else {
            return;
        };
        self.looked.store(now.0, SeqCst);
        self.settle(self.queue.evict(first, wake), Some(waiting));
    }

    /// Gives back what a thread that has left or was evicted had.
    fn settle(&self, left: Option<Left>, waiting: Option<&AtomicU32>) {
        let Some(left) = left else {
            return;
        };
        if left.was_granted() {
            self.grant_ends();
        }
        if let Some(waiting) = waiting.filter(|_| left.was_counted()) {
            fewer(waiting, 1);
        }
    }

    fn grant_ends(&self) {
        let one_fewer = |granted: u64| granted.checked_sub(1);
        let _ = self.granted.fetch_update(SeqCst, SeqCst, one_fewer);
    }

    /// What was granted so far counts no more: nobody is left who could use
    /// it, or it would have been used by now.
    pub fn forget_grants(&self) {
        self.granted.store(0, SeqCst);
    }

    /// Threads that were let pass and have not passed yet.
    pub fn granted(&self) -> u64 {
        self.granted.load(SeqCst)
    }

    /// Wakes everybody; what they are to notice has been written before.
    /// Nobody of them counts in `waiting` any more.
    pub fn wake_all(&self, waiting: &AtomicU32) {
        fewer(waiting, self.queue.wake_all(wake));
    }

    /// When a first in the queue last asked about fences.
    pub fn last_reap(&self) -> Nanos {
        Nanos(self.reaped.load(Relaxed))
    }

    /// One does now.
    pub fn reaped(&self, now: Nanos) {
        self.reaped.store(now.0, Relaxed);
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

impl QueueSlot<'_> {
    /// When the thread came.
    pub fn arrived(&self) -> Nanos {
        Nanos(self.ticket_of_thread.arrived.get())
    }

    /// The thread's ticket for this queue. A signal handler may have waited
    /// here or at another gate meanwhile, and have left the mark behind.
    fn ticket(&self) -> Option<Ticket> {
        let here = self.ticket_of_thread.is_in(self.wait_queue, self.waiting);
        self.ticket_of_thread.ticket().filter(|_| here)
    }

    /// Takes a place, if there is room.
    fn stand(&self, now: Nanos) {
        self.ticket_of_thread.leave();
        self.ticket_of_thread.wait_queue.set(Some(self.wait_queue));
        self.ticket_of_thread.waiting.set(Some(self.waiting));
        // Only by the first to come: whoever joins a queue must not vouch for
        // one in it that is gone.
        if self.wait_queue.queue.is_empty() {
            self.wait_queue.looked.store(now.0, SeqCst);
            self.wait_queue.forget_grants();
        }
        if let Some(ticket) = self.wait_queue.queue.take() {
            self.ticket_of_thread.ticket.set(ticket.0 + 1);
            self.wait_queue.queue.stand(ticket);
        }
    }

    /// Whether it has waited so long without finding room that it must go.
    pub fn has_waited_outside_too_long(&self, now: Nanos) -> bool {
        self.ticket().is_none() && now.since(self.arrived()) >= MOST_OUTSIDE
    }

    /// Whether this thread is the first in the queue; takes one away that is gone.
    pub fn turn(&self, now: Nanos) -> Turn {
        if self.ticket().is_none() {
            self.stand(now);
        }
        let turn = self.turn_now();
        match turn {
            Turn::First => self.wait_queue.looked.store(now.0, SeqCst),
            Turn::Behind => self.wait_queue.evict(now, self.waiting),
        }
        turn
    }

    /// One that was evicted had been the first: it was late, not gone.
    fn turn_now(&self) -> Turn {
        let queue = &self.wait_queue.queue;
        match self.ticket() {
            Some(ticket) if queue.is_turn_of(ticket) || !queue.holds(ticket) => Turn::First,
            _ => Turn::Behind,
        }
    }

    /// The thread is about to sleep: counts it as waiting, once for each place
    /// that it has had.
    pub fn sleeps(&self) {
        let Some(ticket) = self.ticket().filter(|t| !self.wait_queue.queue.counts(*t)) else {
            return;
        };
        self.waiting.fetch_add(1, SeqCst);
        if !self.wait_queue.queue.count(ticket) {
            fewer(self.waiting, 1);
        }
    }

    /// Where it sleeps behind others, once it is counted; `None` if it is not
    /// behind others any more, or has a grant. What else it may be called for is to be looked at
    /// after this.
    pub fn sleep_word(&self) -> Option<SleepWord<'_>> {
        let queue = &self.wait_queue.queue;
        let (word, seen) = match self.ticket() {
            Some(ticket) => queue.sleep_word(ticket)?,
            None => queue.outside(),
        };
        (self.turn_now() == Turn::Behind).then_some(SleepWord { word, seen })
    }

    /// Lets up to `most` of those behind this thread pass along with it, each
    /// woken from here: one that wakes the next takes as long per launch as a
    /// processor needs to wake, and short kernels do not.
    pub fn grant(&self, most: u32) {
        let Some(ticket) = self.ticket() else {
            return;
        };
        let mut left = most;
        for next in self.wait_queue.queue.behind(ticket) {
            if left == 0 {
                break;
            }
            // Before the mark: whoever has the mark takes it off again.
            self.wait_queue.granted.fetch_add(1, SeqCst);
            if self.wait_queue.queue.grant(next, wake) {
                left -= 1;
            } else {
                self.wait_queue.grant_ends();
            }
        }
    }

    /// Takes the thread's grant, if it has one.
    pub fn take_grant(&self) -> bool {
        let ticket = self.ticket();
        let taken = ticket.is_some_and(|ticket| self.wait_queue.queue.take_grant(ticket));
        if taken {
            self.wait_queue.grant_ends();
        }
        taken
    }

    /// The gate that `word` has opened is open to whoever stands behind, too.
    pub fn wake_more(&self, word: GateWord) {
        self.wait_queue.queue.wake_more(word.generation(), wake);
    }

    /// How long it may sleep there.
    pub fn sleep_limit(&self) -> Nanos {
        match self.ticket() {
            Some(ticket) => GONE.times(self.wait_queue.queue.ahead_of(ticket).clamp(1, MOST_AHEAD)),
            None => OUTSIDE,
        }
    }
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.ticket_of_thread.leave();
    }
}

#[cfg(test)]
mod tests;
