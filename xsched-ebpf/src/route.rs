//! Whether one call passed a shim's function before the runtime's, and who
//! made it.
//!
//! A shim that tail-jumps leaves thread, stack pointer and return address as
//! it found them, so these are the same at both entries. A shim that calls,
//! because it has to know when the call returns, is the runtime's caller
//! itself: then the return address lies in the shim, and the stack has grown
//! by the shim's few frames. Its note says who called it.

use xsched_common::bpf::{CallRoute, SHIM_FRAMES};

use crate::entry::Arguments;
use crate::maps::{self, ShimEntry};

/// Code of a shim lies so close to each of its functions, bytes: ours has
/// 0.4 MiB of it.
const SHIM_CODE: u64 = 1 << 20;

/// How a call reached the runtime.
pub struct Passage {
    pub route: CallRoute,
    /// The return address of who called the shim, or else the runtime.
    pub caller: u64,
    /// When it entered the shim's function, as far as that is recorded.
    pub entered_ns: u64,
}

/// The passage of a call that entered the runtime's function and returns to
/// `caller`.
#[inline(always)]
pub fn of(pid_tgid: u64, caller: u64, arguments: &Arguments, api: u16) -> Passage {
    let stack_pointer = arguments.stack_pointer;
    let entry = maps::take_shim_entry(pid_tgid, |entry| {
        let jumped = entry.caller == caller && entry.stack_pointer == stack_pointer;
        entry.api == u64::from(api) && (jumped || called(entry, caller, stack_pointer))
    });
    match entry {
        Some(entry) => Passage {
            route: CallRoute::Shim,
            caller: entry.caller,
            entered_ns: entry.time_ns,
        },
        None => Passage {
            route: CallRoute::Direct,
            caller,
            entered_ns: 0,
        },
    }
}

/// Whether the shim's function that `entry` is about is in the act of calling
/// what returns to `caller`.
#[inline(always)]
fn called(entry: &ShimEntry, caller: u64, stack_pointer: u64) -> bool {
    let from_start = caller.wrapping_sub(entry.address.wrapping_sub(SHIM_CODE));
    let grown = entry.stack_pointer.wrapping_sub(stack_pointer);
    from_start < 2 * SHIM_CODE && grown != 0 && grown < SHIM_FRAMES
}
