//! What makes a platform's library stand alone.
//!
//! Rust's standard library expects a C library, an unwinder and an allocator.
//! A program into which we are loaded has its own, of any age, and whatever
//! interposers it likes. So what the standard library refers to is defined by
//! [`stand_alone!`](crate::stand_alone), for that library alone: nothing of it is
//! exported, and hardly anything is imported (`tests/imports.rs` of the
//! platform's library has the list, with why each is safe).
//!
//! Little of it ever runs. Most is for the report of a panic, which nothing
//! here means to cause; it then ends in [`substitutes`]' `abort`.
//!
//! A macro, because the definitions belong into the platform's library itself:
//! unit tests, which are programs with a C library, have none of them.

mod heap;
mod memory;
pub mod substitutes;
pub mod unwind;

pub use heap::Heap;
pub use unwind::refused;

/// Defines the allocator and all C functions that the standard library refers
/// to, for the library in whose root it stands.
#[macro_export]
macro_rules! stand_alone {
    () => {
        #[global_allocator]
        static HEAP: $crate::standalone::Heap = $crate::standalone::Heap;
        $crate::__substitutes!();
        $crate::__memory!();
        $crate::__unwinder!();
    };
}

/// Defines C functions by the Rust functions of the same names in a module, for
/// this library only.
#[doc(hidden)]
#[macro_export]
macro_rules! __stand_in {
    ($module:ident: $($name:ident),* $(,)?) => {
        $(::std::arch::global_asm!(
            concat!("    .globl ", stringify!($name)),
            concat!("    .hidden ", stringify!($name)),
            concat!("    .type ", stringify!($name), ", @function"),
            concat!(stringify!($name), ":"),
            "    .cfi_startproc",
            "    jmp {function}",
            "    .cfi_endproc",
            concat!("    .size ", stringify!($name), ", . - ", stringify!($name)),
            function = sym $crate::standalone::$module::$name,
        );)*
    };
}
