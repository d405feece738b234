//! All state that a fork must not inherit, in one zeroed block.
//!
//! The child of a fork has no work on the device, no queue at the gate and
//! no business in its parent's status page. The block is therefore marked
//! `MADV_WIPEONFORK`: the kernel gives the child zeros, and all-zero is the
//! state of a process that has not joined. This holds even for a raw
//! `clone` that runs no fork handlers; where the kernel refuses, the fork
//! handler (`lifecycle::fork`) wipes the block.

mod leaving;

pub use leaving::{RETRY, State, detach, disable, leave_group, remember, remembered};

use std::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{Acquire, SeqCst},
};

use xsched_common::page::{MAX_DEVICES, MAX_GROUPS};
use xsched_common::units::DeviceIndex;

use crate::captures::Captures;
use crate::groups::{Group, Groups};
use crate::inflight::{DeviceWork, EventTable, StreamTable};
use crate::near;
use crate::owner::Owner;
use crate::page::Session;
use crate::sys::{self, Call};
use crate::timing::Timing;
use crate::wait_queue::WaitQueue;

/// See the module.
#[repr(C, align(4096))]
pub struct Process {
    /// The pages, while joined: the hot path's first load.
    pub session: AtomicPtr<Session>,
    /// Who counts alone; on the hot path, as the next two.
    pub owner: Owner,
    /// Streams being captured.
    pub captures: Captures,
    /// A [`State`].
    pub state: AtomicU32,
    /// When to try to join (again); zero: at once.
    pub next_attempt: AtomicU64,
    /// Which threads and streams have classes of their own; on the hot path too.
    pub groups: Groups,
    /// By group and device: who waits.
    wait_queues: [[WaitQueue; MAX_DEVICES]; MAX_GROUPS],
    /// By group and device: activity and times.
    devices: [[DeviceWork; MAX_DEVICES]; MAX_GROUPS],
    /// What is in flight on each stream.
    pub streams: StreamTable,
    /// Which work an event stands behind.
    pub events: EventTable,
    /// What the program measures.
    pub timing: Timing,
    /// By device: events to fence with.
    pub fence_pools: [[AtomicU64; FENCE_POOL]; MAX_DEVICES],
    /// By device: events to stamp with.
    pub stamp_pools: [[AtomicU64; FENCE_POOL]; MAX_DEVICES],
}

/// Idle events of each kind kept per device.
pub const FENCE_POOL: usize = 32;

static PROCESS: Process = Process {
    session: AtomicPtr::new(std::ptr::null_mut()),
    owner: Owner::new(),
    captures: Captures::of(
        AtomicU32::new(0),
        AtomicU32::new(0),
        [const { AtomicU64::new(0) }; _],
    ),
    state: AtomicU32::new(0),
    next_attempt: AtomicU64::new(0),
    groups: Groups::new(),
    wait_queues: [const { [const { WaitQueue::new() }; MAX_DEVICES] }; MAX_GROUPS],
    devices: [const { [const { DeviceWork::new() }; MAX_DEVICES] }; MAX_GROUPS],
    streams: StreamTable::new(),
    events: EventTable::new(),
    timing: Timing::new(),
    fence_pools: [const { [const { AtomicU64::new(0) }; FENCE_POOL] }; MAX_DEVICES],
    stamp_pools: [const { [const { AtomicU64::new(0) }; FENCE_POOL] }; MAX_DEVICES],
};

impl Process {
    /// A group's activity and times on a device.
    #[inline(always)]
    pub fn work(&self, group: Group, device: DeviceIndex) -> Option<&DeviceWork> {
        self.devices.get(group.index())?.get(usize::from(device.0))
    }

    /// Who of a group waits at a device's gate.
    pub fn wait_queue(&self, group: Group, device: DeviceIndex) -> Option<&WaitQueue> {
        self.wait_queues
            .get(group.index())?
            .get(usize::from(device.0))
    }

    /// All wait queues of a group.
    fn wait_queues(&self, group: Group) -> &[WaitQueue] {
        self.wait_queues.get(group.index()).map_or(&[], |of| of)
    }
}

/// The process's state.
#[inline(always)]
pub fn process() -> &'static Process {
    near!(PROCESS, Process)
}

/// The session, while joined.
#[inline(always)]
pub fn session() -> Option<&'static Session> {
    let session = process().session.load(Acquire);
    // SAFETY: null or a session, and sessions are never freed.
    unsafe { session.as_ref() }
}

/// The same, in one order with what its leaving writes: for whoever is about to
/// sleep.
pub fn session_now() -> Option<&'static Session> {
    let session = PROCESS.session.load(SeqCst);
    // SAFETY: as above.
    unsafe { session.as_ref() }
}

/// Asks the kernel to zero the block in children; whether it will.
pub fn wipe_on_fork() -> bool {
    let start = &raw const PROCESS as usize;
    let wipe = libc::MADV_WIPEONFORK as usize;
    // SAFETY: the block is page-aligned and a multiple of a page long, so
    // nothing else is affected.
    unsafe { sys::call(Call::Madvise, [start, size_of::<Process>(), wipe]) }.is_ok()
}

/// Zeroes the block.
///
/// # Safety
/// Only in the child of a fork, where no other thread exists.
pub unsafe fn wipe() {
    // SAFETY: all fields are atomics, for which zero is valid; the caller
    // guarantees that nobody looks.
    unsafe {
        std::ptr::write_bytes(
            (&raw const PROCESS).cast_mut().cast::<u8>(),
            0,
            size_of::<Process>(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures<const ROOM: usize>() -> Captures<ROOM> {
        Captures::of(
            AtomicU32::new(0),
            AtomicU32::new(0),
            [const { AtomicU64::new(0) }; ROOM],
        )
    }

    #[test]
    fn are_counted_per_stream() {
        let captures = captures::<4>();
        captures.begin(0x10);
        captures.begin(0x20);
        assert!(captures.any() && captures.holds(0x10));
        captures.end(0x30);
        captures.end(0x10);
        assert!(captures.any() && !captures.holds(0x10));
        captures.end(0x20);
        assert!(!captures.any());
    }

    #[test]
    fn exclude_fences() {
        let captures = captures::<4>();
        let fence = captures.forbid().expect("no capture");
        captures.begin(0x10);
        assert!(!captures.is_quiet());
        drop(fence);
        assert!(captures.is_quiet());
        assert!(captures.forbid().is_none());
        assert!(captures.is_quiet(), "a refusal leaves nothing behind");
        captures.end(0x10);
        assert!(captures.forbid().is_some());
    }

    /// The runtime refuses to capture it.
    #[test]
    fn an_attempt_on_the_default_stream_ends() {
        let captures = captures::<4>();
        captures.begin(0);
        assert!(captures.any());
        captures.end(0);
        assert!(captures.forbid().is_some());
    }

    #[test]
    fn beyond_the_room_end_fences_for_good() {
        let captures = captures::<1>();
        captures.begin(0x10);
        captures.begin(0x20);
        captures.end(0x20);
        captures.end(0x10);
        assert!(captures.forbid().is_none());
    }

    #[test]
    fn the_block_is_whole_pages() {
        assert_eq!(size_of::<Process>() % 4096, 0);
    }
}
