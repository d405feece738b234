//! Bursts of each thread: first launch after idle to the return of a call
//! that drains.
//!
//! Only whole bursts count. What a thread did before the probes came into
//! place is not known, so it counts from its first return of a wait on; the
//! agent starts a new epoch whenever it sets probes.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use xsched_common::bpf::{BurstKey, Drop, ThreadBurst};
use xsched_common::buckets::bucket_of;
use xsched_common::units::Nanos;

use crate::{counts, maps};

/// A launch begins a burst if its thread was idle.
#[inline(always)]
pub fn launched(pid_tgid: u64) {
    let Some(thread) = maps::thread_burst(pid_tgid) else {
        return;
    };
    // SAFETY: `thread` comes from a map look-up under RCU; only this thread
    // writes the element. One that is recycled meanwhile costs its new owner
    // a burst.
    unsafe {
        if (*thread).since_ns == 0 && (*thread).epoch == maps::epoch() {
            (*thread).since_ns = bpf_ktime_get_ns();
        }
    }
}

/// A call that drains has returned.
#[inline(always)]
pub fn drained(pid_tgid: u64) {
    let epoch = maps::epoch();
    let Some(thread) = maps::thread_burst(pid_tgid) else {
        maps::note_thread_burst(pid_tgid, &ThreadBurst { epoch, since_ns: 0 });
        return;
    };
    // SAFETY: as in `launched`.
    let before = unsafe {
        let before = *thread;
        *thread = ThreadBurst { epoch, since_ns: 0 };
        before
    };
    if before.epoch != epoch || before.since_ns == 0 {
        return;
    }
    // SAFETY: a helper without arguments.
    let length = unsafe { bpf_ktime_get_ns() }.saturating_sub(before.since_ns);
    let counted = counts::burst(&BurstKey {
        tgid: (pid_tgid >> 32) as u32,
        bucket: bucket_of(Nanos(length)) as u32,
    });
    if !counted {
        maps::dropped(Drop::BurstsFull);
    }
}
