//! What makes the library stand alone.
//!
//! Rust's standard library expects a C library, an unwinder and an allocator.
//! A program into which we are loaded has its own, of any age, and whatever
//! interposers it likes. So what the standard library refers to is defined
//! here, for our library alone: nothing of it is exported, and hardly anything
//! is imported (`tests/imports.rs` has the list, with why each is safe).
//!
//! Little of it ever runs. Most is for the report of a panic, which nothing
//! here means to cause; it then ends in [`substitutes`]' `abort`.

mod heap;
mod memory;
mod substitutes;
mod unwind;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap;

/// Defines C functions by the Rust functions of the same names in scope, for
/// this library only.
macro_rules! stand_in {
    ($($name:ident),* $(,)?) => {
        $(std::arch::global_asm!(
            concat!("    .globl ", stringify!($name)),
            concat!("    .hidden ", stringify!($name)),
            concat!("    .type ", stringify!($name), ", @function"),
            concat!(stringify!($name), ":"),
            "    .cfi_startproc",
            "    jmp {function}",
            "    .cfi_endproc",
            concat!("    .size ", stringify!($name), ", . - ", stringify!($name)),
            function = sym $name,
        );)*
    };
}
use stand_in;
