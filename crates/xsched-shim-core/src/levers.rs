//! What the agent may ask of a vendor's runtime beside the gate: the priority of
//! its hardware queues.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use xsched_common::page::QueuePriority;

use crate::Platform;
use crate::page::Session;

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

/// Does what the agent asks. Not while a gate is passed: it may make system calls.
#[cold]
pub fn follow(priority: QueuePriority) {
    let follow = FOLLOW.load(Relaxed);
    if follow != 0 {
        // SAFETY: `register` has put a function of this type there.
        let follow = unsafe { std::mem::transmute::<usize, Follow>(follow) };
        follow(priority);
    }
}
