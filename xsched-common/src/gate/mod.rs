//! The gate: how a launch is admitted, as pure data and pure decisions.
//!
//! The agent writes a [`GateWord`] per process and device; the launching
//! thread reads it and, unless it is open, asks [`decide`] what to do. The
//! shim wraps this with atomics and futexes; tests and the policy's
//! virtual-time model drive the very same code.

mod decide;
mod measure;
mod pace;
mod word;

pub use decide::{
    Decision, GateView, Guard, Limits, Sibling, ThreadKind, Turn, Waiter, decide, room,
    sibling_stalls_at, stall_limit, trickle_interval,
};
pub use measure::{
    Evidence, FENCES, GAPS, GAPS_PER_LOOK, LONGEST_GAP, fence_batch, gap_p95, kernel_time,
};
pub use pace::{Pace, Stamp, Took};
pub use word::{GateMode, GateWord, MAX_CAP};
