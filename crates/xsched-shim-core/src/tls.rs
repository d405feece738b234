//! The shim's thread-local words, as memory; [`crate::thread`] says what they are.
//!
//! Declared in assembly for the initial-exec model: two instructions and no
//! call. `thread_local!` in a shared library goes through `__tls_get_addr`,
//! which may allocate. A preloaded library's block is part of the static TLS
//! area; a library opened later uses the reserve that glibc keeps for this
//! (glibc.rtld.optional_static_tls).

use std::arch::{asm, global_asm};

global_asm!(
    "    .section .tbss.xsched_thread,\"awT\",@nobits",
    "    .p2align 6",
    "    .globl xsched_thread",
    "    .hidden xsched_thread",
    "    .type xsched_thread, @object",
    "    .size xsched_thread, {len}",
    "xsched_thread:",
    "    .zero {len}",
    "    .text",
    len = const LEN,
);

/// Bytes of a thread's words.
pub const LEN: usize = 112;

/// Where the calling thread's words are, all zero at its start; unique among the
/// living threads.
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
