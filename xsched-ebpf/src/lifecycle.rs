//! Processes that begin another program or end. Raw tracepoints: they need
//! neither tracefs nor kprobes.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use xsched_common::bpf::ProcessChange;

use crate::{counts, maps};

/// After exec, in the process that runs the new program.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(_ctx: RawTracePointContext) -> i32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    maps::lifecycle(tgid, ProcessChange::Exec);
    0
}

/// In each thread that ends; only main threads of counted processes are told
/// of.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(_ctx: RawTracePointContext) -> i32 {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    if tgid == pid_tgid as u32 && counts::is_counted(tgid) {
        maps::lifecycle(tgid, ProcessChange::Exit);
    }
    0
}
