//! Signals: a value, and what is queued that will change it.
//!
//! A handle is the address of an `amd_signal_t`, as in the real library, since tools read it. Signals are never unmapped, and
//! one that the program destroys is used again only once nothing queued writes into it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::queue::Queue;
use crate::abi::types::{SignalData, SignalHandle};

/// A signal with what the library keeps of it. The data is first: its address is the handle.
#[derive(Debug)]
#[repr(C)]
struct Cell {
    data: SignalData,
    /// Packets and copies queued that complete it.
    pending: AtomicU32,
    /// Whether the host may hold one of them up.
    held: AtomicBool,
    /// Where the last of them is: 0 none, 1 a copy engine, else GPU:8, ring:48 and 2.
    place: AtomicU64,
    cumulative: AtomicU64,
    /// Whether the program has the address of its value.
    watched: AtomicBool,
    /// Whether the program has given it back and it is not free yet.
    abandoned: AtomicBool,
    /// The queue whose doorbell it is.
    doorbell: AtomicPtr<Queue>,
}

/// A valid signal.
#[derive(Clone, Copy, Debug)]
pub struct Signal(&'static Cell);

/// Where what completes a signal is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a ring of a GPU.
    Ring {
        gpu: usize,
        ring: usize,
        cumulative: u64,
    },
    /// On a copy engine.
    Copy,
}

/// What it takes until something that is queued ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Time.
    ByItself,
    /// The host may hold it up.
    WithHost,
}

static FREE: Mutex<Vec<Signal>> = Mutex::new(Vec::new());

impl Signal {
    /// A new one.
    pub fn new(value: i64) -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let signal = free.unwrap_or_else(|| {
            Self(Box::leak(Box::new(Cell {
                data: SignalData::new(),
                pending: AtomicU32::new(0),
                held: AtomicBool::new(false),
                place: AtomicU64::new(0),
                cumulative: AtomicU64::new(0),
                watched: AtomicBool::new(false),
                abandoned: AtomicBool::new(false),
                doorbell: AtomicPtr::new(std::ptr::null_mut()),
            })))
        });
        signal.0.watched.store(false, Ordering::Relaxed);
        signal.0.data.value.store(value, Ordering::SeqCst);
        signal
    }

    /// The program has the address of its value, and may wait by looking there.
    pub fn watch(self) {
        self.0.watched.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::watch`] was called.
    pub fn is_watched(&self) -> bool {
        self.0.watched.load(Ordering::Relaxed)
    }

    /// A queue's doorbell.
    pub fn doorbell() -> Self {
        let signal = Self::new(0);
        // AMD_SIGNAL_KIND_DOORBELL.
        signal.0.data.kind.store(-1, Ordering::Relaxed);
        signal
    }

    /// Makes it ring for this queue.
    pub fn rings(self, queue: &'static Queue) {
        let queue = std::ptr::from_ref(queue).cast_mut();
        self.0.doorbell.store(queue, Ordering::Release);
    }

    /// The queue whose doorbell it is.
    pub fn doorbell_of(self) -> Option<&'static Queue> {
        // SAFETY: queues are never freed.
        unsafe { self.0.doorbell.load(Ordering::Acquire).as_ref() }
    }

    /// The place of its value.
    pub fn word(self) -> &'static AtomicI64 {
        &self.0.data.value
    }

    /// The program has no use for it any more. What is queued for it still counts it down: it is free only then.
    pub fn give_back(self) {
        self.0.abandoned.store(true, Ordering::SeqCst);
        if !self.is_pending() {
            self.free();
        }
    }

    /// Makes it free for its next use, once, if the program has given it back.
    fn free(self) {
        if self.0.abandoned.swap(false, Ordering::SeqCst) {
            FREE.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self);
        }
    }

    /// The signal that a handle names.
    ///
    /// # Safety
    /// The handle is zero or came from this library.
    pub unsafe fn of(handle: SignalHandle) -> Option<Self> {
        let at = handle.0 as *const Cell;
        // Its alignment tells most garbage apart.
        if at.is_null() || !at.is_aligned() {
            return None;
        }
        // SAFETY: the caller's promise; signals are never freed.
        Some(Self(unsafe { &*at }))
    }

    /// As the API names it.
    pub fn handle(self) -> SignalHandle {
        SignalHandle(std::ptr::from_ref(self.0) as u64)
    }

    /// Its value now.
    pub fn value(self) -> i64 {
        self.0.data.value.load(Ordering::SeqCst)
    }

    /// Notes that something is queued that completes it.
    pub fn queued(self, place: Place, ends: Ends) {
        let (word, cumulative) = match place {
            Place::Copy => (1, 0),
            Place::Ring {
                gpu,
                ring,
                cumulative,
            } => ((gpu as u64) << 56 | (ring as u64) << 8 | 2, cumulative),
        };
        self.0.cumulative.store(cumulative, Ordering::Relaxed);
        self.0.place.store(word, Ordering::Relaxed);
        let others = self.0.pending.fetch_add(1, Ordering::SeqCst) > 0;
        let held = ends == Ends::WithHost || others && self.0.held.load(Ordering::Relaxed);
        self.0.held.store(held, Ordering::Relaxed);
    }

    /// Whether something is queued that completes it and needs nothing but time.
    pub fn comes_by_itself(&self) -> bool {
        self.is_pending() && !self.0.held.load(Ordering::Relaxed)
    }

    /// Whether something is queued that completes it.
    pub fn is_pending(&self) -> bool {
        self.0.pending.load(Ordering::SeqCst) > 0
    }

    /// Where the last thing is queued that completes it.
    pub fn place(self) -> Option<Place> {
        if !self.is_pending() {
            return None;
        }
        let word = self.0.place.load(Ordering::Relaxed);
        Some(match word as u8 {
            2 => Place::Ring {
                gpu: (word >> 56) as usize,
                ring: (word >> 8) as usize & 0xffff_ffff,
                cumulative: self.0.cumulative.load(Ordering::Relaxed),
            },
            _ => Place::Copy,
        })
    }

    /// What completes it began at this time, in ns.
    pub fn begin(self, at: u64) {
        self.0.data.start.store(at, Ordering::Relaxed);
    }

    /// What completes it ended at this time, in ns.
    pub fn complete(self, at: u64) {
        self.0.data.end.store(at, Ordering::Relaxed);
        self.0.data.value.fetch_sub(1, Ordering::SeqCst);
        if self.0.pending.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.free();
        }
    }

    /// What was to complete it never will.
    pub fn forsake(self) {
        if self.0.pending.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.free();
        }
    }

    /// Begin and end of what completed it last, in ns.
    pub fn times(self) -> (u64, u64) {
        let data = &self.0.data;
        (
            data.start.load(Ordering::Relaxed),
            data.end.load(Ordering::Relaxed),
        )
    }
}

/// The signals that handles name; zeros are left out.
///
/// # Safety
/// The handles are zero or came from this library.
pub unsafe fn all_of(handles: &[SignalHandle]) -> Vec<Signal> {
    // SAFETY: the caller's promise.
    handles
        .iter()
        .filter_map(|handle| unsafe { Signal::of(*handle) })
        .collect()
}
