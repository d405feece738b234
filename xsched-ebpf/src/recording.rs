//! The probes on the runtime's functions, for a trace of every call.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use xsched_common::bpf::{CallMoment, CallRecord, CallRoute, Drop};

use crate::entry::{self, Arguments, Unreadable};
use crate::maps;
use crate::route;

/// Records a call's entry.
#[uprobe]
pub fn record_call(ctx: ProbeContext) -> u32 {
    maps::event();
    if record(&ctx).is_err() {
        maps::dropped(Drop::StackUnreadable);
    }
    0
}

#[inline(always)]
fn record(ctx: &ProbeContext) -> Result<(), Unreadable> {
    // SAFETY: a helper without arguments.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    let cookie = entry::cookie(ctx);
    let arguments = Arguments::of(ctx);
    let (caller, stream) = arguments.caller_and_stream(cookie.stream_at)?;
    let pid_tgid = bpf_get_current_pid_tgid();
    let passage = route::of(pid_tgid, caller, &arguments, cookie.api);
    maps::record(&CallRecord {
        time_ns,
        caller: passage.caller,
        stream,
        kernel: arguments.kernel(cookie.stream_at),
        since_shim_ns: match passage.route {
            CallRoute::Shim => time_ns.saturating_sub(passage.entered_ns),
            CallRoute::Direct => 0,
        },
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        api: cookie.api,
        moment: CallMoment::Entry as u8,
        route: passage.route as u8,
        reserved: 0,
    });
    Ok(())
}

/// Records the return of a call.
#[uretprobe]
pub fn record_return(ctx: RetProbeContext) -> u32 {
    maps::event();
    let pid_tgid = bpf_get_current_pid_tgid();
    maps::record(&CallRecord {
        // SAFETY: a helper without arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        caller: 0,
        stream: 0,
        kernel: 0,
        since_shim_ns: 0,
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        api: entry::cookie(&ctx).api,
        moment: CallMoment::Return as u8,
        route: CallRoute::Direct as u8,
        reserved: 0,
    });
    0
}

/// Notes that a kernel is being looked up by name.
#[uprobe]
pub fn kernel_lookup(ctx: ProbeContext) -> u32 {
    let (handle, name) = Arguments::of(&ctx).handle_and_name();
    maps::note_lookup(bpf_get_current_pid_tgid(), handle, name);
    0
}

/// Tells which handle it got.
#[uretprobe]
pub fn kernel_lookup_return(_ctx: RetProbeContext) -> u32 {
    let pid_tgid = bpf_get_current_pid_tgid();
    if let Some((handle_at, name_at)) = maps::take_lookup(pid_tgid)
        && let Ok(handle) = entry::read_user(handle_at)
    {
        maps::kernel_name((pid_tgid >> 32) as u32, handle, name_at);
    }
    0
}
