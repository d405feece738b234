//! What the shim knows of the calling thread.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;

use xsched_common::units::Nanos;

use crate::page::Session;
use crate::wait_queue::ThreadTicket;
use crate::{sys, tls};

/// A thread's words, those of each launch first; zero at its start.
#[repr(C)]
pub struct Thread {
    /// The current device plus one; zero while unknown.
    pub device: Cell<u32>,
    /// The stream that it last launched on: its key and its slot
    /// ([`StreamTable::find`](crate::inflight::StreamTable::find)).
    pub last_slot: Cell<u32>,
    /// As above.
    pub last_stream: Cell<u64>,
    /// The [`Group`](crate::groups::Group) it is in, and above that the
    /// generation in which that was found.
    pub membership: Cell<u64>,
    /// Where on its stack the runtime called a function of the program's, in
    /// stream order; zero: nowhere. What is deeper belongs to that function.
    pub in_function: Cell<usize>,
    /// Where such a function counts among those that wait.
    pub counted: Cell<Option<&'static AtomicU32>>,
    /// Where on its stack the thread waits at the gate.
    pub at_gate: Cell<AtGate>,
    /// And its place in the queue there.
    pub queue_ticket: ThreadTicket,
    /// When the program began a request here, and in which session.
    pub burst_began: Cell<Nanos>,
    /// As above; `None`: it did not.
    pub burst_in: Cell<Option<&'static Session>>,
    /// The class that the program asked for, plus one; zero for none.
    pub hint: Cell<u32>,
    _padding: u32,
}

const _: () = assert!(size_of::<Thread>() == tls::LEN && align_of::<Thread>() == 8);

/// The calling thread's words.
#[inline(always)]
pub fn with<T>(f: impl FnOnce(&Thread) -> T) -> T {
    // SAFETY: the block is aligned, zero-initialised, as large as `Thread`
    // (both asserted by its declaration) and belongs to this thread alone.
    f(unsafe { &*(tls::address() as *const Thread) })
}

/// The thread is the child of a fork: its place in the queue and the function that
/// it is in are its parent's.
pub fn forget_waits() {
    with(|thread| {
        thread.queue_ticket.forget();
        thread.in_function.set(0);
        thread.counted.set(None);
        thread.membership.set(0);
        thread.burst_in.set(None);
    });
}

/// Where on its stack a thread waits at the gate, if it does: a signal handler
/// that launches must not wait for the very thread that it interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AtGate {
    /// Zero: nowhere.
    stack: usize,
    /// When the wait last went round.
    looked: Nanos,
}

impl AtGate {
    /// A handler of this age is none: it jumped out of the wait (siglongjmp)
    /// and left a mark that means nothing. One that does take so long waits
    /// at its thread's own place.
    const MOST: Nanos = Nanos::from_millis(200);

    /// A wait begins at this place of the stack.
    pub const fn new(stack: usize) -> AtGate {
        AtGate {
            stack,
            looked: Nanos::ZERO,
        }
    }

    /// The wait goes round.
    pub const fn looks(self, now: Nanos) -> AtGate {
        AtGate {
            looked: now,
            ..self
        }
    }

    /// Whether the thread, which is `here` on its stack, is in a handler amid
    /// this wait.
    pub fn is_around(self, here: usize, now: impl FnOnce() -> Nanos) -> bool {
        self.stack != 0
            && now().since(self.looked) < AtGate::MOST
            && (here < self.stack || sys::on_signal_stack())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handler is called amid a wait; one that jumped out of it is not
    /// known to have done so, but not for long, however deep the thread is.
    #[test]
    fn a_mark_of_a_wait_that_was_left_means_nothing_soon() {
        let now = Nanos::from_secs(7);
        let mark = AtGate::new(0x7000).looks(now);
        let within = now + Nanos(AtGate::MOST.0 - 1);
        assert!(mark.is_around(0x6000, || within));
        assert!(!mark.is_around(0x8000, || within), "jumped out");
        assert!(!mark.is_around(0x6000, || now + AtGate::MOST));
        let nowhere = AtGate::new(0);
        assert!(!nowhere.is_around(0x6000, || unreachable!("an open gate asks nothing")));
    }

    #[test]
    fn threads_have_their_own_words() {
        with(|thread| thread.device.set(7));
        let here = tls::address();
        std::thread::spawn(move || {
            assert_eq!(with(|thread| thread.device.replace(3)), 0);
            assert_ne!(tls::address(), here);
        })
        .join()
        .expect("the thread's assertions hold");
        assert_eq!(with(|thread| thread.device.get()), 7);
    }
}
