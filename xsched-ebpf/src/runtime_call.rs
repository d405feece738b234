//! The probe on the runtime's functions.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use xsched_common::bpf::{CallKey, CallRoute, Drop};

use crate::entry::{self, Arguments, Unreadable};
use crate::maps::{self, ShimEntry};

/// Counts a call by process, function, caller, stream class and route.
#[uprobe]
pub fn runtime_call(ctx: ProbeContext) -> u32 {
    maps::event();
    if count(&ctx).is_err() {
        maps::dropped(Drop::StackUnreadable);
    }
    0
}

#[inline(always)]
fn count(ctx: &ProbeContext) -> Result<(), Unreadable> {
    let cookie = entry::cookie(ctx);
    let arguments = Arguments::of(ctx);
    let caller = arguments.caller()?;
    let stream = arguments.stream(cookie.stream_at)?;
    let pid_tgid = bpf_get_current_pid_tgid();

    // A shim that tail-jumps leaves the stack as it found it. One that calls
    // needs no note: its return address lies in the shim.
    let through_shim = maps::take_shim_entry(
        pid_tgid,
        &ShimEntry {
            caller,
            stack_pointer: arguments.stack_pointer,
            api: u64::from(cookie.api),
        },
    );
    let route = if through_shim {
        CallRoute::Shim
    } else {
        CallRoute::Direct
    };
    maps::call(&CallKey {
        tgid: (pid_tgid >> 32) as u32,
        api: cookie.api,
        stream: stream as u8,
        route: route as u8,
        caller,
    });
    Ok(())
}
