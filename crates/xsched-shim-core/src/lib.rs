//! The half of a preload library that knows no vendor: what a platform's
//! library asks at each device command, and what surrounds that.
//!
//! ```text
//! program -> the platform's exports -> gate/ -> the real runtime
//!                  |                    |
//!             callers/ (who)       inflight/ (what is on the device)
//!                  |                    |
//!             lifecycle/ (joining) -> page/ (shared with the agent)
//! ```
//!
//! A platform ([`Platform`]) is a library of its own: its exports, its way of
//! interposition, its fences ([`gate::Fencing`]) and devices. All of it is known
//! at compile time, so that nothing stands between an export and the gate.
//! The platform's library makes itself independent of what it is loaded into
//! with [`stand_alone!`], and catches look-ups by name with
//! [`interpose_lookups!`].
//!
//! The library must never break its program. Whatever fails here means "run
//! as native"; nothing panics on purpose, waits without a bound, or calls
//! what it has hooked.

#![allow(
    clippy::new_without_default,
    reason = "states of statics, which must be constants"
)]

pub mod cache;
pub mod callers;
pub mod calls;
pub mod captures;
pub mod gate;
pub mod groups;
pub mod inflight;
pub mod interpose;
pub mod levers;
pub mod lifecycle;
pub mod loader;
pub mod log;
pub mod options;
pub mod owner;
pub mod page;
pub mod platform;
pub mod process;
#[cfg(not(test))]
#[doc(hidden)]
pub mod standalone;
pub mod sys;
pub mod thread;
pub mod timing;
pub mod tls;
pub mod wait_queue;

pub use platform::{Moment, Platform};

/// A reference to a static of this library, made from where the code stands: rustc
/// goes by the global offset table, which costs a launch another cache line each.
#[macro_export]
macro_rules! near {
    ($it:path, $type:ty) => {{
        let at: *const $type;
        // SAFETY: the address of the static.
        unsafe {
            std::arch::asm!(
                "lea {at}, [rip + {it}]",
                at = out(reg) at,
                it = sym $it,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        let _: &$type = &$it;
        // SAFETY: a static of this type, as the line above says.
        unsafe { &*at }
    }};
}

/// The files of the protocols between threads name their atomics by this
/// path, so that tests can compile them against loom's.
mod atomic {
    pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}
