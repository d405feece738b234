//! What a program says of its own work, through one exported function.
//!
//! `int64_t xsched_hint_v1(uint32_t what, uint64_t first, uint64_t second)`; the
//! header `xsched.h` and the other languages' packages call it. None of it is
//! believed: a class is a wish, about which the agent decides, and marks change
//! what the process shows of itself.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use xsched_common::units::Class;

use super::{Group, of_known};
use crate::loader::Hidden;
use crate::process::{process, session};
use crate::{sys, thread};

/// The calling thread's class: `first` is a class from 0 (low) to 3 (realtime),
/// or anything else for none. Returns the one before, -1 for none.
pub const THREAD_CLASS: u32 = 1;
/// A stream's class: the handle and then as above.
pub const STREAM_CLASS: u32 = 2;
/// A request of the calling thread's begins. Zero.
pub const BURST_BEGIN: u32 = 3;
/// It ends. Zero, or -1: none had begun.
pub const BURST_END: u32 = 4;
/// How the calling thread stands: see [`status`].
pub const STATUS: u32 = 5;

/// No class.
const NONE: i64 = -1;
/// The hint was not understood, or there is no room for it.
const REFUSED: i64 = -2;

/// The same of another platform's shim, of which a program may have one, too.
static NEXT: Hidden = Hidden::new(b"xsched_hint_v1");

/// Takes one, for all shims of the process. What the first of them answers
/// counts; how the thread stands is said by the first that has joined.
pub fn take(what: u32, first: u64, second: u64) -> i64 {
    let _unseen = sys::Unseen::new();
    let own = take_own(what, first, second);
    // Preloaded libraries are there from the beginning: looked for once.
    static ALONE: AtomicBool = AtomicBool::new(false);
    if ALONE.load(Relaxed) {
        return own;
    }
    let Some(next) = NEXT.known_address() else {
        ALONE.store(true, Relaxed);
        return own;
    };
    // SAFETY: the prototype of all functions of this name.
    let next = unsafe {
        let next: extern "C" fn(u32, u64, u64) -> i64 = std::mem::transmute(next);
        next(what, first, second)
    };
    match what {
        STATUS if own & 1 == 0 => next,
        _ => own,
    }
}

fn take_own(what: u32, first: u64, second: u64) -> i64 {
    match what {
        THREAD_CLASS => thread_class(class(first)),
        STREAM_CLASS => stream_class(first, class(second)),
        BURST_BEGIN => burst_begin(),
        BURST_END => burst_end(),
        STATUS => status(),
        _ => REFUSED,
    }
}

fn class(raw: u64) -> Option<Class> {
    u8::try_from(raw).ok().and_then(Class::from_raw)
}

fn thread_class(class: Option<Class>) -> i64 {
    let groups = &process().groups;
    if groups.generation.load(Relaxed) == 0 {
        groups.turn_over();
    }
    thread::with(|thread| {
        let raw = class.map_or(0, |class| class as u32 + 1);
        // No generation has this number so soon: looked at anew.
        thread.membership.set(0);
        i64::from(thread.hint.replace(raw)) - 1
    })
}

fn stream_class(handle: u64, class: Option<Class>) -> i64 {
    let groups = &process().groups;
    let before = groups.streams.set(handle, class);
    groups.turn_over();
    match before {
        Ok(before) => before.map_or(NONE, |class| class as i64),
        Err(_) => REFUSED,
    }
}

fn burst_begin() -> i64 {
    let Some(base) = session() else {
        return 0;
    };
    thread::with(|thread| {
        let now = sys::now();
        let session = of_known(process(), base, thread);
        if let Some(before) = thread.burst_in.replace(Some(session)) {
            // It began another before it ended this one.
            before.marks.end(now);
        }
        session.marks.begin(now);
        thread.burst_began.set(now);
    });
    0
}

fn burst_end() -> i64 {
    thread::with(|thread| {
        let Some(session) = thread.burst_in.take() else {
            return NONE;
        };
        let now = sys::now();
        session.marks.end(now);
        let took = now.since(thread.burst_began.get());
        session.status().bursts.record(took);
        0
    })
}

/// Bit 0: the process has joined an agent. Bits 8 to 15: the class that the
/// thread's commands have, plus one. 16 to 23: the process's. 24 to 31: the
/// class that the thread asked for. 32: it is in a group that has joined.
fn status() -> i64 {
    let hint = thread::with(|thread| i64::from(thread.hint.get())) << 24;
    let Some(base) = session() else {
        return hint;
    };
    let own = thread::with(|thread| of_known(process(), base, thread));
    let class = |class: Option<Class>| class.map_or(0, |class| class as i64 + 1);
    let in_group = i64::from(own.group != Group::PROCESS);
    1 | class(own.class()) << 8 | class(base.class()) << 16 | hint | in_group << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_kept_with_the_thread_and_nonsense_is_refused() {
        assert_eq!(take(THREAD_CLASS, 0, 0), NONE, "it had none");
        assert_eq!(take(THREAD_CLASS, 2, 0), Class::Low as i64);
        assert_eq!(take(STATUS, 0, 0), 3 << 24, "not joined");
        let elsewhere = std::thread::spawn(|| take(THREAD_CLASS, 1, 0));
        assert_eq!(elsewhere.join().expect("no panic"), NONE);
        assert_eq!(take(THREAD_CLASS, u64::MAX, 0), Class::High as i64);
        assert_eq!(take(99, 0, 0), REFUSED);
        assert_eq!(take(BURST_BEGIN, 0, 0), 0);
        assert_eq!(take(BURST_END, 0, 0), NONE, "there is no agent to tell");
        assert_eq!(take(STREAM_CLASS, 0x40, 0), NONE);
        assert_eq!(take(STREAM_CLASS, 0x40, 9), Class::Low as i64);
    }
}
