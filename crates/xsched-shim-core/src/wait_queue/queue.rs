//! A queue of threads: first come, first served, each asleep on a word of its
//! own until the one before it has left.
//!
//! A thread takes the next ticket and stands in the cell of that number, modulo
//! the room. The turn is a ticket number too: whoever leaves passes it on, past
//! tickets that have left before, and marks the cell that it comes to as called.
//! The words are the cells themselves: no allocation, and no node on the stack
//! of a thread that a signal handler may jump out of or end.
//!
//! Nothing here waits. Two rules keep a call from being lost (Dekker's pair,
//! hence the sequential consistency): a comer stands in its cell before it looks
//! at the turn, and the turn is passed on before the cell is looked at; a
//! sleeper clears the call before it looks, and sleeps only on the word that it
//! has cleared.
//!
//! `tests/protocols.rs` compiles this very file against loom's atomics.

use crate::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

/// See the module. All bytes zero: nobody has come.
pub struct Queue<const ROOM: usize> {
    /// The next ticket to be given out.
    next: AtomicU64,
    /// Whose turn it is; equal to `next` while nobody stands here.
    turn: AtomicU64,
    /// The next ticket for [`Queue::wake_more`], and in the high bits which
    /// opening of the gate it belongs to.
    ahead: AtomicU64,
    /// By ticket modulo the room: [`word`] of the last ticket that stood there.
    cells: [AtomicU64; ROOM],
}

/// A thread's number in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// It stands there no more.
const LEFT: u64 = 1;
/// Somebody has something to tell it.
const CALLED: u64 = 2;
/// It is counted among those that wait, and may be asleep.
const COUNTED: u64 = 4;
/// It may pass although its turn has not come.
const GRANTED: u64 = 8;
const FLAGS: u32 = 4;
/// What may change while it stands there.
const STATE_BITS: u64 = CALLED | COUNTED | GRANTED;

/// Where the opening begins in `ahead`: tickets do not reach it in a lifetime.
const OPENING: u32 = 48;

/// What a cell holds for a ticket; never zero.
const fn word(ticket: Ticket) -> u64 {
    (ticket.0 + 1) << FLAGS
}

/// What a thread was when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left(u64);

impl Left {
    /// It was counted among those that wait.
    pub const fn was_counted(self) -> bool {
        self.0 & COUNTED != 0
    }

    /// It had a grant that it has not used.
    pub const fn was_granted(self) -> bool {
        self.0 & GRANTED != 0
    }
}

impl<const ROOM: usize> Queue<ROOM> {
    /// A queue made of these atomics, all zero.
    pub const fn of(counters: [AtomicU64; 3], cells: [AtomicU64; ROOM]) -> Self {
        let [next, turn, ahead] = counters;
        Queue {
            next,
            turn,
            ahead,
            cells,
        }
    }

    /// Whether nobody stands here.
    pub fn is_empty(&self) -> bool {
        self.turn.load(SeqCst) == self.next.load(SeqCst)
    }

    /// The next ticket, with which the thread must [`Queue::stand`] at once;
    /// `None` if there is no room.
    pub fn take(&self) -> Option<Ticket> {
        loop {
            // In this order: the turn does not overtake the next ticket.
            let turn = self.turn.load(SeqCst);
            let next = self.next.load(SeqCst);
            if next - turn >= ROOM as u64 {
                return None;
            }
            if self
                .next
                .compare_exchange(next, next + 1, SeqCst, Relaxed)
                .is_ok()
            {
                return Some(Ticket(next));
            }
        }
    }

    /// The thread with this ticket is here. It may find itself evicted, if
    /// it took its time.
    pub fn stand(&self, ticket: Ticket) {
        // The one before it in this cell has left, or there was no room.
        let before = match ticket.0.checked_sub(ROOM as u64) {
            Some(before) => word(Ticket(before)) | LEFT,
            None => 0,
        };
        let _ = self
            .cell(ticket)
            .compare_exchange(before, word(ticket), SeqCst, Relaxed);
    }

    /// Whether it still stands here: nobody has turned it out.
    pub fn holds(&self, ticket: Ticket) -> bool {
        self.seen(ticket).is_some()
    }

    /// Whether it is this ticket's turn.
    pub fn is_turn_of(&self, ticket: Ticket) -> bool {
        self.turn.load(SeqCst) == ticket.0
    }

    /// How many tickets are before this one; those that have left count.
    pub fn ahead_of(&self, ticket: Ticket) -> u64 {
        ticket.0.saturating_sub(self.turn.load(SeqCst))
    }

    /// Whether the thread is counted.
    pub fn counts(&self, ticket: Ticket) -> bool {
        self.seen(ticket).is_some_and(|seen| seen & COUNTED != 0)
    }

    /// Marks the thread as counted; whether it was not before and is now.
    pub fn count(&self, ticket: Ticket) -> bool {
        while let Some(seen) = self.seen(ticket) {
            if seen & COUNTED != 0 {
                return false;
            }
            if self.swap(ticket, seen, seen | COUNTED) {
                return true;
            }
        }
        false
    }

    /// The word to sleep on, and what it is while there is nothing new; `None`
    /// if the thread was evicted or has a grant. Whatever else a call may be
    /// about must be looked at *after* this.
    pub fn sleep_word(&self, ticket: Ticket) -> Option<(&AtomicU64, u64)> {
        loop {
            let seen = self.seen(ticket).filter(|seen| seen & GRANTED == 0)?;
            let quiet = seen & !CALLED;
            if seen == quiet || self.swap(ticket, seen, quiet) {
                return Some((self.cell(ticket), quiet));
            }
        }
    }

    /// Where a thread without a ticket sleeps: nobody wakes it but
    /// [`Queue::wake_all`].
    pub fn outside(&self) -> (&AtomicU64, u64) {
        (&self.turn, self.turn.load(SeqCst))
    }

    /// The thread leaves, wherever it stands; `wake` wakes who sleeps on a
    /// cell. `None` if it had been evicted.
    pub fn leave(&self, ticket: Ticket, wake: impl Fn(&AtomicU64)) -> Option<Left> {
        loop {
            let seen = self.seen(ticket)?;
            if self.swap(ticket, seen, word(ticket) | LEFT) {
                self.pass_on(ticket, wake);
                return Some(Left(seen));
            }
        }
    }

    /// Whose turn it is; `None` if nobody stands here.
    pub fn first(&self) -> Option<Ticket> {
        let turn = self.turn.load(SeqCst);
        (turn != self.next.load(SeqCst)).then_some(Ticket(turn))
    }

    /// Evicts `first` if it is still its turn: it is gone. Whether it was
    /// counted; `None` if it has left by itself.
    pub fn evict(&self, first: Ticket, wake: impl Fn(&AtomicU64)) -> Option<Left> {
        let seen = self.cell(first).load(SeqCst);
        let mut evicted = None;
        if seen != word(first) | LEFT {
            // One that took its ticket and never came is not in the cell; one of
            // a later number means that the turn has moved on.
            let later = seen >= word(Ticket(first.0 + 1));
            if later || !self.swap(first, seen, word(first) | LEFT) {
                return None;
            }
            if seen >= word(first) {
                evicted = Some(Left(seen));
                // It may be alive and not know that its turn had come.
                wake(self.cell(first));
            }
        }
        // Also for one that has left and was ended before it passed the turn on.
        self.pass_on(first, wake);
        evicted
    }

    /// Lets the thread pass although its turn has not come; whether it stands
    /// there and was not let before.
    pub fn grant(&self, ticket: Ticket, wake: impl Fn(&AtomicU64)) -> bool {
        self.tell(ticket, CALLED | GRANTED, wake)
    }

    /// Takes the thread's grant away, which it uses or gives back; whether it
    /// had one.
    pub fn take_grant(&self, ticket: Ticket) -> bool {
        while let Some(seen) = self.seen(ticket) {
            if seen & GRANTED == 0 {
                return false;
            }
            if self.swap(ticket, seen, seen & !GRANTED) {
                return true;
            }
        }
        false
    }

    /// Tickets behind this one that have been given out.
    pub fn behind(&self, ticket: Ticket) -> impl Iterator<Item = Ticket> {
        (ticket.0 + 1..self.next.load(SeqCst)).map(Ticket)
    }

    /// Calls two more, where order does not count any more: if each of those
    /// calls two more, all are called soon. Each `opening` of the gate begins
    /// anew with whoever's turn it is.
    pub fn wake_more(&self, opening: u16, wake: impl Fn(&AtomicU64)) {
        let mut called = 0;
        while called < 2 {
            let Some(next) = self.next_ahead(opening) else {
                return;
            };
            if self.call(next, &wake) {
                called += 1;
            }
        }
    }

    /// Whom nobody has called in this opening; `None` if there is nobody left.
    fn next_ahead(&self, opening: u16) -> Option<Ticket> {
        loop {
            let seen = self.ahead.load(SeqCst);
            let called = match seen >> OPENING == u64::from(opening) {
                true => seen & ((1 << OPENING) - 1),
                false => 0,
            };
            let ticket = called.max(self.turn.load(SeqCst));
            if ticket >= self.next.load(SeqCst) {
                return None;
            }
            let ahead = u64::from(opening) << OPENING | (ticket + 1);
            if self
                .ahead
                .compare_exchange(seen, ahead, SeqCst, Relaxed)
                .is_ok()
            {
                return Some(Ticket(ticket));
            }
        }
    }

    /// Calls everybody, for good: nobody who stands here is counted any more.
    /// How many were. Whoever comes later must find out by itself why.
    pub fn wake_all(&self, wake: impl Fn(&AtomicU64)) -> u32 {
        let end = self.next.load(SeqCst);
        let mut counted = 0;
        for ticket in (self.turn.load(SeqCst)..end).map(Ticket) {
            while let Some(seen) = self.seen(ticket) {
                if self.swap(ticket, seen, (seen | CALLED) & !COUNTED) {
                    // Whoever called it before has woken it.
                    if seen & (COUNTED | CALLED) == COUNTED {
                        wake(self.cell(ticket));
                    }
                    counted += u32::from(seen & COUNTED != 0);
                    break;
                }
            }
        }
        wake(&self.turn);
        counted
    }

    /// Passes the turn on from `ticket`, if it is that one's, to the next one
    /// that has not left. One that has a ticket and is not in its cell yet
    /// looks at the turn when it is.
    fn pass_on(&self, ticket: Ticket, wake: impl Fn(&AtomicU64)) {
        let mut from = ticket.0;
        while self
            .turn
            .compare_exchange(from, from + 1, SeqCst, Relaxed)
            .is_ok()
        {
            from += 1;
            self.call(Ticket(from), &wake);
            if self.cell(Ticket(from)).load(SeqCst) != word(Ticket(from)) | LEFT {
                return;
            }
        }
    }

    /// Tells the thread to look, and wakes it if it may sleep; whether it
    /// stands there and had not been told.
    fn call(&self, ticket: Ticket, wake: impl Fn(&AtomicU64)) -> bool {
        self.tell(ticket, CALLED, wake)
    }

    /// Marks the cell; whether its thread stands there and had not been told.
    fn tell(&self, ticket: Ticket, what: u64, wake: impl Fn(&AtomicU64)) -> bool {
        while let Some(seen) = self.seen(ticket) {
            if seen & what == what {
                return false;
            }
            if self.swap(ticket, seen, seen | what) {
                // Whoever called it before has woken it.
                if seen & (COUNTED | CALLED) == COUNTED {
                    wake(self.cell(ticket));
                }
                return true;
            }
        }
        false
    }

    /// What the cell holds for the ticket, while it stands there.
    fn seen(&self, ticket: Ticket) -> Option<u64> {
        let seen = self.cell(ticket).load(SeqCst);
        (seen & !STATE_BITS == word(ticket)).then_some(seen)
    }

    fn swap(&self, ticket: Ticket, seen: u64, new: u64) -> bool {
        self.cell(ticket)
            .compare_exchange(seen, new, SeqCst, Relaxed)
            .is_ok()
    }

    #[allow(
        clippy::indexing_slicing,
        reason = "a remainder of the length is inside of it"
    )]
    fn cell(&self, ticket: Ticket) -> &AtomicU64 {
        &self.cells[(ticket.0 % ROOM as u64) as usize]
    }
}
