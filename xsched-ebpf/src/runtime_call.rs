//! The probes on the runtime's functions, for counting.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use xsched_common::bpf::{CallKey, CallRole, Drop};
use xsched_common::units::StreamClass;

use crate::bursts;
use crate::counts;
use crate::entry::{self, Arguments, Unreadable};
use crate::maps;
use crate::route;

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
    let pid_tgid = bpf_get_current_pid_tgid();
    if cookie.role == CallRole::Launch {
        bursts::launched(pid_tgid);
    }
    let (caller, stream) = arguments.caller_and_stream(cookie.stream_at)?;
    let passage = route::of(pid_tgid, caller, &arguments, cookie.api);
    counts::call(&CallKey {
        tgid: (pid_tgid >> 32) as u32,
        api: cookie.api,
        stream: StreamClass::of_handle(stream) as u8,
        route: passage.route as u8,
        caller: passage.caller,
    });
    Ok(())
}

/// A call that drains has returned.
#[uretprobe]
pub fn runtime_return(_ctx: RetProbeContext) -> u32 {
    bursts::drained(bpf_get_current_pid_tgid());
    0
}
