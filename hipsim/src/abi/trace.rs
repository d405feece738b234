//! `HIPSIM_TRACE=1`: every call of the API, with its first six integer arguments, on standard error.
//!
//! Tracing replaces the functions behind the exports by thunks that log and go on, so it costs nothing when off.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::exports::{COUNT, DISPATCH, NAMES};
use crate::options;

/// Bytes from one trace thunk to the next.
const THUNK: usize = 16;

unsafe extern "C" {
    static hipsim_trace_thunks: u8;
}

static BODIES: OnceLock<[usize; COUNT]> = OnceLock::new();

// The thunk pushed its index: at the call below the stack holds six saved registers, the index, the return address and one
// floating-point argument (a helper of the compiler has one), and is aligned to 16 as the ABI asks.
core::arch::global_asm!(
    ".section .text.hipsim.trace,\"ax\",@progbits",
    ".globl hipsim_trace_common",
    ".hidden hipsim_trace_common",
    "hipsim_trace_common:",
    "pushq %r9",
    "pushq %r8",
    "pushq %rcx",
    "pushq %rdx",
    "pushq %rsi",
    "pushq %rdi",
    "movq 48(%rsp), %rdi",
    "movq %rsp, %rsi",
    "subq $16, %rsp",
    "movups %xmm0, (%rsp)",
    "call {log}",
    "movups (%rsp), %xmm0",
    "addq $16, %rsp",
    "popq %rdi",
    "popq %rsi",
    "popq %rdx",
    "popq %rcx",
    "popq %r8",
    "popq %r9",
    "addq $8, %rsp",
    "jmpq *%rax",
    ".section .text",
    log = sym log,
    options(att_syntax)
);

/// Logs one call and returns the body to go on with.
unsafe extern "C" fn log(index: usize, arguments: *const [usize; 6]) -> usize {
    // SAFETY: the thunk passes the address of six saved registers on its stack.
    let arguments = unsafe { *arguments };
    let mut line = format!("hipsim: {}(", NAMES[index]);
    for (position, argument) in arguments.iter().enumerate() {
        let comma = if position == 0 { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(line, "{comma}{argument:#x}");
    }
    eprintln!("{line})");
    BODIES.get().map_or(0, |bodies| bodies[index])
}

/// Switches tracing on when the environment asks for it. Runs when the library is loaded, or before, when a constructor of
/// another library calls this one first.
pub extern "C" fn start() {
    if !options::trace_requested() {
        return;
    }
    let bodies = std::array::from_fn(|index| DISPATCH[index].load(Ordering::Relaxed) as usize);
    if BODIES.set(bodies).is_ok() {
        for (index, entry) in DISPATCH.iter().enumerate() {
            let thunk = (&raw const hipsim_trace_thunks).wrapping_add(index * THUNK);
            entry.store(thunk.cast_mut().cast(), Ordering::Relaxed);
        }
    }
}

#[used]
// SAFETY: an entry of .init_array is a function pointer the loader calls once; `start` takes no arguments.
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;
