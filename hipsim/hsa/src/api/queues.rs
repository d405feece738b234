//! The C functions of queues, and their doorbell.

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use simdevice::device::clock;

use super::{agents, gpu_info};
use crate::abi::call::{self, api, list, put};
use crate::abi::status::{Result, Status};
use crate::abi::types::{AgentHandle, PACKET, QueueCallback, QueueData};
use crate::machine::queue::{End, INVALID, Parts, Queue};
use crate::machine::{Driver, MACHINE, packets};
use crate::memory::pages;

/// The doorbell: takes the packets that are complete.
pub fn ring(queue: &'static Queue) {
    let mut state = MACHINE.lock();
    let taken = packets::take(queue, &mut state);
    MACHINE.notify(state, Driver::Program);
    if let Err((status, why)) = taken {
        queue.fail(status, &why);
    }
}

api! {
    /// `hsa_queue_create`.
    fn create(
        agent: AgentHandle, size: u32, kind: u32, callback: Option<QueueCallback>, data: *mut c_void,
        _private: u32, _group: u32, queue: *mut *mut QueueData,
    ) {
        let gpu = agents::gpu(agent)?;
        if queue.is_null() || !size.is_power_of_two() {
            return Err(Status::INVALID_ARGUMENT);
        }
        if kind > 2 || size > gpu_info::QUEUE_MAX {
            return Err(Status::INVALID_QUEUE_CREATION);
        }
        let ring = MACHINE.lock().gpu(gpu)?.take_ring();
        let base = pages(size as usize * PACKET);
        let base = base.inspect_err(|_| {
            if let Ok(gpu) = MACHINE.lock().gpu(gpu) {
                gpu.give_back(ring);
            }
        })?;
        for slot in 0..size as usize {
            // SAFETY: within the pages just made, aligned.
            unsafe { ((base + slot * PACKET) as *mut u16).write(INVALID) };
        }
        let (packets, data) = (base, data as usize);
        put(queue, Queue::new(Parts { kind, packets, size, gpu, ring, callback, data }).data())
    }

    /// `hsa_queue_destroy`: what is left in it has no effect any more. The structure stays, as effects and late callers know
    /// its address; its packets are freed.
    fn destroy(queue: *const QueueData) {
        let queue = Queue::of(queue)?;
        // Once no effect of it is under way.
        MACHINE.quietly(|state| {
            if queue.is_destroyed() {
                return Err(Status::INVALID_QUEUE);
            }
            queue.end(End::Destroyed);
            let gpu = state.gpu(queue.gpu)?;
            gpu.advance(clock::now());
            gpu.give_back(queue.ring);
            let (packets, bytes) = queue.pages();
            // SAFETY: the queue's own pages; who takes packets does so under this lock and only from a queue that runs.
            unsafe { libc::munmap(packets, bytes) };
            Ok(())
        })?;
        // What waited for a packet of this queue goes on.
        MACHINE.signal_changed();
        Ok(())
    }

    /// `hsa_amd_queue_set_priority`.
    fn set_priority(queue: *const QueueData, priority: u32) {
        let queue = Queue::of(queue)?;
        if priority > 2 {
            return Err(Status::INVALID_ARGUMENT);
        }
        let mut state = MACHINE.lock();
        let gpu = state.gpu(queue.gpu)?;
        // Until now what runs has had its former priority.
        let now = clock::now();
        gpu.advance(now);
        gpu.set_priority(queue.ring, priority as u8, now);
        MACHINE.notify(state, Driver::Program);
        Ok(())
    }

    /// `hsa_amd_queue_cu_set_mask`: kernels take longer by as much as the mask leaves out. A mask of nothing is none.
    fn set_mask(queue: *const QueueData, bits: u32, mask: *const u32) {
        let queue = Queue::of(queue)?;
        if !bits.is_multiple_of(32) {
            return Err(Status::INVALID_ARGUMENT);
        }
        let units = gpu_info::units();
        let on: u32 = list(mask, bits as usize / 32).iter().enumerate().map(|(word, bits)| {
            let left = units.saturating_sub(word as u32 * 32).min(32);
            (u64::from(*bits) & ((1 << left) - 1)).count_ones()
        }).sum();
        queue.set_units(on, units);
        Ok(())
    }
}

/// `hsa_queue_add_write_index_*`: the index before.
///
/// # Safety
/// As [`Queue::of`]; so for all that follow.
pub unsafe extern "C" fn add_write_index(queue: *const QueueData, by: u64) -> u64 {
    // SAFETY: the caller's promise.
    let queue = unsafe { Queue::of(queue) };
    queue.map_or(0, |queue| queue.indices().0.fetch_add(by, Ordering::AcqRel))
}

/// `hsa_queue_load_write_index_*`.
pub unsafe extern "C" fn load_write_index(queue: *const QueueData) -> u64 {
    // SAFETY: the caller's promise.
    let queue = unsafe { Queue::of(queue) };
    queue.map_or(0, |queue| queue.indices().0.load(Ordering::Acquire))
}

/// `hsa_queue_load_read_index_*`. An older index is as good as long as there is room: the device is asked only then.
pub unsafe extern "C" fn load_read_index(queue: *const QueueData) -> u64 {
    // SAFETY: the caller's promise.
    let Ok(queue) = (unsafe { Queue::of(queue) }) else {
        return 0;
    };
    let (write, read) = queue.indices();
    let seen = read.load(Ordering::Acquire);
    let used = write.load(Ordering::Acquire).wrapping_sub(seen);
    if used < queue.size() / 2 || call::forked() {
        return seen;
    }
    call::run(|| -> Result {
        MACHINE.look();
        Ok(())
    });
    read.load(Ordering::Acquire)
}
