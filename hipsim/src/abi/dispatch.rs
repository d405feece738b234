//! The dispatch tables of HIP 6.1 and later, which the exports of the `.so.6` and `.so.7` copies go through.
//!
//! As in the real runtimes they are writable memory, `{ size_t size; void (*entries[])(); }`, zero until the first call
//! through an accessor: a local function that every export calls to get the table. A tool that replaces an entry
//! redirects every call, whether it came by symbol or by a pointer.

use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};

use super::exports::{DISPATCH, ROW_COUNTS, ROWS};
use super::trace;
use crate::major::major_version;

/// Rows that the table of Debian's 6.4.3 has. The `.so.6` copy says so; the functions that came later have rows behind.
const ROWS_6: usize = 474;

#[repr(C)]
struct Table<const N: usize> {
    size: AtomicUsize,
    entries: [AtomicPtr<()>; N],
}

impl<const N: usize> Table<N> {
    const fn empty() -> Self {
        Self {
            size: AtomicUsize::new(0),
            entries: [const { AtomicPtr::new(std::ptr::null_mut()) }; N],
        }
    }

    fn fill(&self, rows: &[u16], count: usize) {
        for (entry, row) in self.entries.iter().zip(rows) {
            let body = DISPATCH[usize::from(*row)].load(Ordering::Relaxed);
            entry.store(body, Ordering::Relaxed);
        }
        self.size.store(8 + 8 * count, Ordering::Relaxed);
    }
}

static RUNTIME: Table<{ ROW_COUNTS.0 }> = Table::empty();
static COMPILER: Table<{ ROW_COUNTS.1 }> = Table::empty();
/// What the accessors return.
static RUNTIME_AT: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static COMPILER_AT: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
/// Set once the tables are filled.
static READY: AtomicU8 = AtomicU8::new(0);

// The accessors: the same instructions as the real ones up to the first return. They keep all argument registers, so the
// exports need not save them.
core::arch::global_asm!(
    ".section .text.hipsim.accessors,\"ax\",@progbits",
    ".macro hipsim_accessor name, pointer",
    ".p2align 4",
    ".globl \\name",
    ".hidden \\name",
    ".type \\name,@function",
    "\\name:",
    "endbr64",
    "movzbl {ready}(%rip), %eax",
    "testb %al, %al",
    "je 1f",
    "movq \\pointer(%rip), %rax",
    "ret",
    "1:",
    "pushq %rdi",
    "pushq %rsi",
    "pushq %rdx",
    "pushq %rcx",
    "pushq %r8",
    "pushq %r9",
    "subq $8, %rsp",
    "call {fill}",
    "addq $8, %rsp",
    "popq %r9",
    "popq %r8",
    "popq %rcx",
    "popq %rdx",
    "popq %rsi",
    "popq %rdi",
    "movq \\pointer(%rip), %rax",
    "ret",
    ".size \\name,.-\\name",
    ".endm",
    "hipsim_accessor hipsim_runtime_table, {runtime}",
    "hipsim_accessor hipsim_compiler_table, {compiler}",
    ".purgem hipsim_accessor",
    ".section .text",
    ready = sym READY,
    fill = sym fill,
    runtime = sym RUNTIME_AT,
    compiler = sym COMPILER_AT,
    options(att_syntax)
);

/// Fills both tables, once.
extern "C" fn fill() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        trace::start();
        let rows = if major_version() < 7 {
            ROWS_6
        } else {
            ROW_COUNTS.0
        };
        RUNTIME.fill(ROWS.0, rows);
        COMPILER.fill(ROWS.1, ROW_COUNTS.1);
        RUNTIME_AT.store((&raw const RUNTIME).cast_mut().cast(), Ordering::Relaxed);
        COMPILER_AT.store((&raw const COMPILER).cast_mut().cast(), Ordering::Relaxed);
        READY.store(1, Ordering::Release);
    });
}
