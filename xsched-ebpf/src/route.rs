//! Whether one call passed a shim's function before the runtime's.
//!
//! A shim that tail-jumps leaves thread, stack pointer and return address as
//! it found them, so these are the same at both entries. A shim that calls
//! needs no note: its return address lies in the shim.

use xsched_common::bpf::CallRoute;

use crate::entry::Arguments;
use crate::maps::{self, ShimEntry};

/// The route of a call that the runtime's function was entered by, and when
/// it entered the shim's.
#[inline(always)]
pub fn of(pid_tgid: u64, caller: u64, arguments: &Arguments, api: u16) -> (CallRoute, u64) {
    let entry = ShimEntry {
        caller,
        stack_pointer: arguments.stack_pointer,
        api: u64::from(api),
        time_ns: 0,
    };
    match maps::take_shim_entry(pid_tgid, &entry) {
        Some(time_ns) => (CallRoute::Shim, time_ns),
        None => (CallRoute::Direct, 0),
    }
}
