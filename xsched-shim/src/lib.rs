//! `libxsched_shim.so`: preloaded into a HIP program, it asks at each device
//! command whether the agent lets it through.
//!
//! ```text
//! program -> hip/ (exports, trampolines) -> gate/ -> the real runtime
//!                      |                     |
//!                 callers/ (who)       inflight/ (what is on the device)
//!                      |                     |
//!                 lifecycle/ (joining) -> page/ (shared with the agent)
//! ```
//!
//! Only `hip` knows HIP: a platform is a table of entry points, its way of
//! interposition, a fence and a device identity. The rest is about commands,
//! streams and devices in general.
//!
//! The library must never break its program. Whatever fails here means "run
//! as native"; nothing panics on purpose, waits without a bound, or calls
//! what it has hooked.

#![cfg_attr(
    test,
    expect(
        dead_code,
        reason = "unit tests leave out the exports, from which all code is reached"
    )
)]

mod callers;
mod captures;
mod gate;
mod hip;
mod inflight;
mod lifecycle;
mod loader;
mod log;
mod options;
mod packed;
mod page;
mod process;
#[cfg(not(test))]
mod standalone;
mod sys;
mod tls;

/// The files of the protocols between threads name their atomics by this
/// path, so that tests can compile them against loom's.
mod atomic {
    pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}

use xsched_common::note::{NOTE_LEN, ShimNote};

/// Says to those who examine the library or a process which ABI it speaks.
#[used]
#[unsafe(link_section = ".note.xsched")]
static NOTE: Note = Note(ShimNote::of_this_build().encode());

/// Notes lie at multiples of four.
#[repr(C, align(4))]
struct Note([u8; NOTE_LEN]);

#[cfg(not(test))]
mod constructor {
    extern "C" fn construct() {
        crate::hip::start();
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCT: extern "C" fn() = construct;
}
