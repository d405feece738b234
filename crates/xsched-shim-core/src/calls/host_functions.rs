//! Functions of the program that the runtime calls in stream order. One that
//! runs tells that everything before it on its stream is complete, and for
//! many programs (XLA's) nothing else ever does.
//!
//! The runtime is handed a function of ours and a record that says which one
//! of the program's was meant. Ours notes what is complete, gives the record
//! back and calls the program's: same thread, same arguments. While that runs
//! the thread is marked, because what it launches must not wait for what stands
//! behind it ([`crate::gate`]). Ours calls nothing of the runtime, which such a function may
//! not do.
//!
//! Records come out of a fixed pool, so nothing is allocated; without a free
//! one the program's function is handed over as it is. A record is given back
//! once, by whoever takes it: the run, or the call that failed. One that the
//! runtime never runs stays out, because it may run yet. What is captured is
//! handed over as it is: it runs at every launch of the graph.

use std::ffi::c_void;
use std::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use xsched_common::platform::Register;

use super::hooks::{self, Call};
use super::services::call;
use super::{Runtime, SUCCESS, streams, told};
use crate::groups::Group;
use crate::inflight::Past;
use crate::page::Session;
use crate::process::{process, session};
use crate::{sys, thread};

/// Functions handed over and not run at a time; a runtime's queues hold more,
/// programs do not.
const RECORDS: usize = 1024;

/// Not among what a fork's child finds wiped: whoever else calls one of ours
/// there must still reach the program's function.
static POOL: Pool = Pool {
    next: AtomicUsize::new(0),
    records: [const { Record::new() }; RECORDS],
};

struct Pool {
    /// Where to look first. Around the whole pool, so that a record is taken
    /// again as late as can be.
    next: AtomicUsize,
    records: [Record; RECORDS],
}

struct Record {
    /// Odd while taken; counts, so that whoever gives it back twice gives
    /// back nobody else's.
    uses: AtomicU32,
    function: AtomicUsize,
    data: AtomicUsize,
    /// The session in which it was handed over. The sequence numbers mean
    /// nothing in another: a fork's child has its own.
    session: AtomicPtr<Session>,
    /// It was captured while it was handed over, so it may run again.
    pinned: AtomicU32,
    past: [AtomicU64; Past::NONE.words().len()],
}

/// How the runtime calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `void (*)(void *data)`.
    Function,
    /// `void (*)(stream, int error, void *data)`.
    Callback,
}

impl Record {
    const fn new() -> Record {
        Record {
            uses: AtomicU32::new(0),
            function: AtomicUsize::new(0),
            data: AtomicUsize::new(0),
            session: AtomicPtr::new(std::ptr::null_mut()),
            pinned: AtomicU32::new(0),
            past: [const { AtomicU64::new(0) }; _],
        }
    }

    fn fill(&self, function: u64, data: u64, session: &Session, past: Past) {
        self.function.store(function as usize, Relaxed);
        self.data.store(data as usize, Relaxed);
        for (to, from) in self.past.iter().zip(past.words()) {
            to.store(from, Relaxed);
        }
        let session = std::ptr::from_ref(session).cast_mut();
        self.session.store(session, Release);
    }

    fn give_back(&self, uses: u32) {
        if uses.is_multiple_of(2) || self.pinned.load(Acquire) != 0 {
            return;
        }
        let next = uses.wrapping_add(1);
        let _ = self.uses.compare_exchange(uses, next, Release, Relaxed);
    }
}

impl Pool {
    /// A record and the number of this use of it.
    fn take(&self) -> Option<(&Record, u32)> {
        let first = self.next.fetch_add(1, Relaxed);
        let take = |record: &Record| {
            let free = record.uses.load(Relaxed);
            let taken = free.wrapping_add(1);
            let won = free.is_multiple_of(2)
                && record
                    .uses
                    .compare_exchange(free, taken, Acquire, Relaxed)
                    .is_ok();
            won.then_some(taken)
        };
        (0..RECORDS)
            .filter_map(|i| self.records.get(first.wrapping_add(i) % RECORDS))
            .find_map(|record| Some((record, take(record)?)))
    }
}

/// Hands the program's function over in such a way that its run is noticed.
pub(super) fn hand_over<R: Runtime>(call: &Call<'_>, form: Form) -> u64 {
    let stream = call.stream();
    let function = call.argument(Register::Rsi);
    if function == 0 {
        return call.invoke();
    }
    // No capture begins while the runtime is called.
    let Some(guard) = call.process.captures.forbid() else {
        return call.invoke();
    };
    let unseen = sys::Unseen::new();
    if is_captured::<R>(stream.handle) {
        return call.invoke();
    }
    let place = streams::place::<R>(call.process, Group::PROCESS, stream);
    let Some((_, Some(slot))) = place else {
        return call.invoke();
    };
    let past = call.process.streams.past(slot);
    let Some((record, uses)) = POOL.take() else {
        return call.invoke();
    };
    record.fill(function, call.argument(Register::Rdx), call.session, past);
    drop(unseen);
    let result = call.invoke_with(ours(form), std::ptr::from_ref(record) as u64);
    if hooks::status(result) != SUCCESS {
        record.give_back(uses);
        return result;
    }
    let _unseen = sys::Unseen::new();
    if is_captured::<R>(stream.handle) {
        record.pinned.store(1, Release);
    }
    drop(guard);
    result
}

/// Asked of the runtime, which knows also of captures that began past us. The
/// two names of the default stream cannot be captured. An error that the
/// program has yet to read is kept or replaced by its own call in any case.
fn is_captured<R: Runtime>(stream: u64) -> bool {
    if stream < 2 {
        return false;
    }
    let mut status = 0i32;
    let asked = call!(
        R::services().is_capturing,
        fn(u64, *mut i32) -> i32,
        stream,
        &raw mut status
    );
    asked != Some(SUCCESS) || status != 0
}

/// What the trampolines jump to, and with what.
#[repr(C)]
pub struct Target {
    function: usize,
    data: usize,
}

/// A function runs whose record this is.
///
/// # Safety
/// Called by the trampolines below only, with the record that was handed to
/// the runtime and a word of their own frame, which is the thread's mark until
/// the function returns and keeps the mark before it.
#[cfg_attr(test, expect(dead_code, reason = "unit tests run without trampolines"))]
pub unsafe extern "C-unwind" fn runs(record: *const c_void, frame: *mut usize) -> Target {
    // SAFETY: the caller's; records are static.
    let record = unsafe { &*record.cast::<Record>() };
    let handed_in = record.session.load(Acquire).cast_const();
    let uses = record.uses.load(Relaxed);
    let target = Target {
        function: record.function.load(Relaxed),
        data: record.data.load(Relaxed),
    };
    let mut past = Past::NONE.words();
    for (to, from) in past.iter_mut().zip(&record.past) {
        *to = from.load(Relaxed);
    }
    record.give_back(uses);
    let outer = thread::with(|thread| thread.in_function.replace(frame as usize));
    // SAFETY: the caller's.
    unsafe { frame.write(outer) };
    if let Some(session) = session()
        && std::ptr::eq(session, handed_in)
    {
        let _unseen = sys::Unseen::new();
        told::told(process(), session, &Past::of_words(past));
    }
    target
}

/// The program's function has returned.
#[cfg_attr(test, expect(dead_code, reason = "unit tests run without trampolines"))]
unsafe extern "C-unwind" fn returned(outer: usize) {
    thread::with(|thread| thread.in_function.set(outer));
}

#[cfg(not(test))]
fn ours(form: Form) -> u64 {
    unsafe extern "C" {
        fn xsched_host_function();
        fn xsched_callback();
    }
    match form {
        Form::Function => xsched_host_function as *const () as u64,
        Form::Callback => xsched_callback as *const () as u64,
    }
}

/// Unit tests run without trampolines.
#[cfg(test)]
fn ours(_form: Form) -> u64 {
    0
}

#[cfg(not(test))]
std::arch::global_asm!(
    "    .section .text.xsched_host_functions,\"ax\",@progbits",
    "    .p2align 4",
    "    .hidden xsched_host_function",
    "    .globl xsched_host_function",
    "    .type xsched_host_function, @function",
    "xsched_host_function:",
    "    .cfi_startproc",
    "    sub rsp, 8",
    "    .cfi_adjust_cfa_offset 8",
    "    mov rsi, rsp",
    "    call {runs}",
    "    mov rdi, rdx",
    "    call rax",
    "    mov rdi, qword ptr [rsp]",
    "    call {returned}",
    "    add rsp, 8",
    "    .cfi_adjust_cfa_offset -8",
    "    ret",
    "    .cfi_endproc",
    "    .size xsched_host_function, . - xsched_host_function",
    "    .p2align 4",
    "    .hidden xsched_callback",
    "    .globl xsched_callback",
    "    .type xsched_callback, @function",
    "xsched_callback:",
    "    .cfi_startproc",
    "    sub rsp, 24",
    "    .cfi_adjust_cfa_offset 24",
    "    mov qword ptr [rsp + 8], rsi",
    "    mov qword ptr [rsp + 16], rdi",
    "    mov rdi, rdx",
    "    mov rsi, rsp",
    "    call {runs}",
    "    mov rsi, qword ptr [rsp + 8]",
    "    mov rdi, qword ptr [rsp + 16]",
    "    call rax",
    "    mov rdi, qword ptr [rsp]",
    "    call {returned}",
    "    add rsp, 24",
    "    .cfi_adjust_cfa_offset -24",
    "    ret",
    "    .cfi_endproc",
    "    .size xsched_callback, . - xsched_callback",
    "    .text",
    runs = sym runs,
    returned = sym returned,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_given_out_once_and_come_back_late() {
        let pool = Box::new(Pool {
            next: AtomicUsize::new(0),
            records: [const { Record::new() }; RECORDS],
        });
        let taken: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(taken.len(), RECORDS);
        let mut places: Vec<_> = taken
            .iter()
            .map(|(record, _)| &raw const **record)
            .collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), RECORDS);
        let (record, uses) = taken[5];
        record.give_back(uses);
        let (again, next) = pool.take().expect("one is free");
        assert!(std::ptr::eq(again, record));
        // A second time, it is another's.
        record.give_back(uses);
        assert!(pool.take().is_none());
        again.give_back(next);
        assert!(pool.take().is_some());
    }
}
