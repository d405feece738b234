//! The shim's thread-local words.
//!
//! Declared in assembly for the initial-exec model: two instructions and no
//! call. `thread_local!` in a shared library goes through `__tls_get_addr`,
//! which may allocate. A preloaded library's block is part of the static TLS
//! area; a library opened later uses the reserve that glibc keeps for this
//! (glibc.rtld.optional_static_tls).

use std::arch::{asm, global_asm};
use std::cell::Cell;
use std::sync::atomic::AtomicU32;

use crate::gate::{AtGate, Mark};

global_asm!(
    "    .section .tbss.xsched_thread,\"awT\",@nobits",
    "    .p2align 3",
    "    .globl xsched_thread",
    "    .hidden xsched_thread",
    "    .type xsched_thread, @object",
    "    .size xsched_thread, 72",
    "xsched_thread:",
    "    .zero 72",
    "    .text",
);

/// A thread's words; zero at its start.
#[repr(C)]
pub struct Thread {
    /// The current device plus one; zero while unknown.
    pub device: Cell<u32>,
    /// Where on its stack the runtime called a function of the program's, in
    /// stream order; zero: nowhere. What is deeper belongs to that function.
    pub in_function: Cell<usize>,
    /// Where such a function counts among those that wait.
    pub counted: Cell<Option<&'static AtomicU32>>,
    /// Where on its stack the thread waits at the gate.
    pub at_gate: Cell<AtGate>,
    /// And its place in line there.
    pub in_line: Mark,
}

const _: () = assert!(size_of::<Thread>() == 72 && align_of::<Thread>() == 8);

/// The calling thread's words.
#[inline(always)]
pub fn with<T>(f: impl FnOnce(&Thread) -> T) -> T {
    // SAFETY: the block is aligned, zero-initialised, as large as `Thread`
    // (both asserted by its declaration) and belongs to this thread alone.
    f(unsafe { &*(address() as *const Thread) })
}

/// Unique among the living threads.
#[inline(always)]
pub fn address() -> u64 {
    let address: u64;
    // SAFETY: the psABI's initial-exec sequence; reads only.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + xsched_thread@GOTTPOFF]",
            "add {0}, qword ptr fs:[0]",
            out(reg) address,
            options(nostack, pure, readonly),
        );
    }
    address
}

/// Where the thread's copy of all of this library's variables begins.
#[cfg(not(test))]
pub fn block() -> u64 {
    let offset: i32;
    // SAFETY: puts a constant of the link into a register.
    unsafe {
        asm!(
            "mov {0:e}, offset xsched_thread@DTPOFF",
            out(reg) offset,
            options(nostack, pure, nomem, preserves_flags),
        );
    }
    address().wrapping_add_signed(-i64::from(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_their_own_words() {
        with(|thread| thread.device.set(7));
        let here = address();
        std::thread::spawn(move || {
            assert_eq!(with(|thread| thread.device.replace(3)), 0);
            assert_ne!(address(), here);
        })
        .join()
        .expect("the thread's assertions hold");
        assert_eq!(with(|thread| thread.device.get()), 7);
    }
}
