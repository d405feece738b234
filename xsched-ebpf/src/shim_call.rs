//! The probe on a shim's exports.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use crate::entry::{self, Arguments};
use crate::maps::{self, ShimEntry};

/// Notes who called the shim, for the probe on the runtime's function. Counts
/// nothing: a call that the shim keeps to itself never reached the runtime.
#[uprobe]
pub fn shim_call(ctx: ProbeContext) -> u32 {
    note(&ctx, 0);
    0
}

/// The same with the time, for a trace.
#[uprobe]
pub fn record_shim_call(ctx: ProbeContext) -> u32 {
    // SAFETY: a helper without arguments.
    note(&ctx, unsafe { bpf_ktime_get_ns() });
    0
}

#[inline(always)]
fn note(ctx: &ProbeContext, time_ns: u64) {
    let arguments = Arguments::of(ctx);
    if let Ok(caller) = arguments.caller() {
        maps::note_shim_entry(
            bpf_get_current_pid_tgid(),
            &ShimEntry {
                caller,
                stack_pointer: arguments.stack_pointer,
                address: entry::address(ctx),
                api: u64::from(entry::cookie(ctx).api),
                time_ns,
            },
        );
    }
}
