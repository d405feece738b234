//! What the agent may ask of a vendor's runtime beside the gate: the priority of
//! its hardware queues.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use xsched_common::page::QueuePriority;

use crate::Platform;
use crate::page::Session;
use crate::process;

type Follow = fn(QueuePriority);

static FOLLOW: AtomicUsize = AtomicUsize::new(0);

/// Says whose runtime it is.
pub fn register<P: Platform>() {
    let follow: Follow = P::set_queue_priority;
    FOLLOW.store(follow as usize, Relaxed);
}

/// The word of a page by which changes are noticed.
#[inline(always)]
pub fn asked(session: &Session) -> QueuePriority {
    QueuePriority::from_raw(session.control().queue_priority.load(Relaxed))
}

/// Does what the agent asks, or nothing more without one. Not while a gate is
/// passed: it may make system calls.
#[cold]
pub fn follow() {
    let asked_now = || process::session().map_or(QueuePriority::Leave, asked);
    settle(asked_now, set);
}

/// Again where what is asked has changed meanwhile: another thread may have done
/// what is asked since, and this one then undone it. It does not change often.
fn settle(asked_now: impl Fn() -> QueuePriority, set: impl Fn(QueuePriority)) {
    const MOST: usize = 16;
    for _ in 0..MOST {
        let asked = asked_now();
        set(asked);
        if asked_now() == asked {
            return;
        }
    }
}

fn set(priority: QueuePriority) {
    let follow = FOLLOW.load(Relaxed);
    if follow != 0 {
        // SAFETY: `register` has put a function of this type there.
        let follow = unsafe { std::mem::transmute::<usize, Follow>(follow) };
        follow(priority);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// The process leaves its agent after the thread has looked.
    #[test]
    fn what_a_thread_was_late_with_is_put_right() {
        let asked = Cell::new(QueuePriority::High);
        let done = RefCell::new(Vec::new());
        let set = |priority| {
            asked.set(QueuePriority::Leave);
            done.borrow_mut().push(priority);
        };
        settle(|| asked.get(), set);
        let expected = [QueuePriority::High, QueuePriority::Leave];
        assert_eq!(*done.borrow(), expected);
    }
}
