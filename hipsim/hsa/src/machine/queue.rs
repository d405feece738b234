//! A queue: what the runtime writes packets into, and how far they were taken and done.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::signal::Signal;
use crate::abi::status::{Result, Status};
use crate::abi::types::{AmdQueue, PACKET, QueueCallback, QueueData};

/// What a queue is made of.
pub struct Parts {
    /// `hsa_queue_type_t`.
    pub kind: u32,
    /// Address of its packets, whose headers are invalid.
    pub packets: usize,
    /// How many, a power of two.
    pub size: u32,
    /// The GPU, by its number in this process.
    pub gpu: usize,
    /// Its ring there.
    pub ring: usize,
    /// Told when it fails, with the data's address.
    pub callback: Option<QueueCallback>,
    /// See `callback`.
    pub data: usize,
}

/// A queue with what the library keeps of it. The C structure is first: its address is what the program has.
#[derive(Debug)]
#[repr(C)]
pub struct Queue {
    amd: AmdQueue,
    /// The GPU, by its number in this process.
    pub gpu: usize,
    /// Its ring there.
    pub ring: usize,
    /// Index of the next packet to take. Changed under the machine's lock.
    taken: AtomicU64,
    /// Units of the mask that are on, of all; zero of zero without a mask.
    mask: [AtomicU32; 2],
    /// Zero while it runs, else an [`End`]. Changed under the machine's lock.
    end: AtomicU8,
    callback: Option<QueueCallback>,
    data: usize,
}

// SAFETY: the pointers in it are addresses that belong to the queue for good; what changes is atomic.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

/// Why a queue takes no packets any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// One of its packets cannot be run.
    Failed = 1,
    /// The program destroyed it: its packets are gone.
    Destroyed = 2,
}

/// `HSA_PACKET_TYPE_INVALID`.
pub const INVALID: u16 = 1;

impl Queue {
    /// A queue that stays for good.
    pub fn new(parts: Parts) -> &'static Self {
        let doorbell = Signal::doorbell();
        let made: &'static Self = Box::leak(Box::new(Self {
            amd: AmdQueue::new(QueueData {
                kind: parts.kind,
                // HSA_QUEUE_FEATURE_KERNEL_DISPATCH.
                features: 1,
                base: parts.packets as *mut c_void,
                doorbell: doorbell.handle(),
                size: parts.size,
                reserved: 0,
                id: new_id(),
            }),
            gpu: parts.gpu,
            ring: parts.ring,
            taken: AtomicU64::new(0),
            mask: [AtomicU32::new(0), AtomicU32::new(0)],
            end: AtomicU8::new(0),
            callback: parts.callback,
            data: parts.data,
        }));
        doorbell.rings(made);
        made
    }

    /// What the program has of it.
    pub fn data(&self) -> *mut QueueData {
        std::ptr::from_ref(&self.amd.queue).cast_mut()
    }

    /// Indices of the next packet and of the oldest that is not done.
    pub fn indices(&self) -> (&AtomicU64, &AtomicU64) {
        (&self.amd.write_index, &self.amd.read_index)
    }

    /// Packets it holds.
    pub fn size(&self) -> u64 {
        u64::from(self.amd.queue.size)
    }

    /// Lets kernels use `on` of `all` units.
    pub fn set_units(&self, on: u32, all: u32) {
        self.mask[1].store(all, Ordering::Relaxed);
        self.mask[0].store(if on == all { 0 } else { on }, Ordering::Relaxed);
    }

    /// The queue that a pointer of the program names.
    ///
    /// # Safety
    /// The pointer is null or [`Self::data`] of a queue.
    ///
    /// # Errors
    /// `INVALID_QUEUE` for null and for a queue that was destroyed.
    pub unsafe fn of(queue: *const QueueData) -> Result<&'static Self> {
        // SAFETY: the caller's promise; queues are never freed, and the C structure is the first field.
        let queue = unsafe { queue.cast::<Self>().as_ref() };
        queue
            .filter(|queue| !queue.is_destroyed())
            .ok_or(Status::INVALID_QUEUE)
    }

    /// Whether it takes packets.
    pub fn is_running(&self) -> bool {
        self.end.load(Ordering::Acquire) == 0
    }

    /// Whether the program has destroyed it.
    pub fn is_destroyed(&self) -> bool {
        self.end.load(Ordering::Acquire) == End::Destroyed as u8
    }

    /// It takes no packets any more.
    pub fn end(&self, end: End) {
        self.end.store(end as u8, Ordering::Release);
    }

    /// Address and bytes of its packets.
    pub fn pages(&self) -> (*mut c_void, usize) {
        (self.amd.queue.base, self.size() as usize * PACKET)
    }

    /// Where the packet of this index is.
    pub fn packet(&self, index: u64) -> *mut u8 {
        let slot = index % self.size();
        // Not past the end: there are `size` packets.
        (self.amd.queue.base as usize + slot as usize * PACKET) as *mut u8
    }

    /// Indices of packets not taken that may be complete.
    pub fn fresh(&self) -> std::ops::Range<u64> {
        let taken = self.taken.load(Ordering::Relaxed);
        let size = self.size();
        taken
            ..self
                .amd
                .write_index
                .load(Ordering::Acquire)
                .min(taken + size)
    }

    /// The packet of this index was taken.
    pub fn took(&self, index: u64) {
        self.taken.store(index + 1, Ordering::Relaxed);
    }

    /// The packet of this index is done.
    pub fn passed(&self, index: u64) {
        self.amd.read_index.fetch_max(index + 1, Ordering::AcqRel);
    }

    /// How long a kernel takes here that takes `service` ns on the whole device.
    pub fn scaled(&self, service: u64) -> u64 {
        let [on, all] = [0, 1].map(|at| u64::from(self.mask[at].load(Ordering::Relaxed)));
        if on == 0 {
            return service;
        }
        service.saturating_mul(all) / on
    }

    /// Tells the program that the queue failed. The HIP runtime aborts.
    pub fn fail(&self, status: Status, why: &str) {
        eprintln!("hsasim: queue {}: {why}", self.amd.queue.id);
        if let Some(callback) = self.callback {
            // SAFETY: the program gave the function and its argument for this.
            unsafe { callback(status, self.data(), self.data as *mut c_void) };
        }
    }
}

fn new_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
