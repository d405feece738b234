//! Events that several processes share: a page with the last records of all of them.
//!
//! As in the real runtime (ROCm/clr, hip_event_ipc.cpp) a record has one of 32 places, so 32 of them may be under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::devices::DeviceIndex;
use crate::abi::error::{HipError, Result};
use crate::device::file::owner_word;
use crate::device::ipc::{Name, PAGE, Piece, Target};

const PLACES: usize = 32;

/// One record.
#[repr(C)]
struct RecordCell {
    /// Number of the last record here that was reached.
    reached: AtomicU64,
    /// Who recorded last, and where it is on the device; meant for the record with this number.
    owner: AtomicU64,
    slot: AtomicU64,
    number: AtomicU64,
}

/// What the processes share.
#[repr(C)]
struct Page {
    /// Number of the last record; zero when there was none.
    recorded: AtomicU64,
    places: [RecordCell; PLACES],
}

const _: () = assert!(size_of::<Page>() <= PAGE);

/// An event that other processes can open.
#[derive(Debug)]
pub struct SharedEvent {
    piece: Piece,
    device: DeviceIndex,
}

/// One record of a shared event.
#[derive(Clone, Debug)]
pub struct Mark {
    event: Arc<SharedEvent>,
    number: u64,
}

impl SharedEvent {
    /// A new event of this process's device.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no room for its file.
    pub fn create(device: DeviceIndex) -> Result<Arc<Self>> {
        // SAFETY: nothing is replaced.
        let piece = unsafe { Piece::create(&device.path(), PAGE, Target::Anywhere) };
        let piece = piece.map_err(|error| {
            eprintln!("hipsim: cannot share an event between processes: {error}");
            HipError::OutOfMemory
        })?;
        Ok(Arc::new(Self { piece, device }))
    }

    /// The event that another process made.
    ///
    /// # Errors
    /// `InvalidValue` when there is no such event (any more).
    pub fn open(device: DeviceIndex, name: Name) -> Result<Arc<Self>> {
        let piece = Piece::open(&device.path(), name, PAGE).map_err(|_| HipError::InvalidValue)?;
        Ok(Arc::new(Self { piece, device }))
    }

    /// What a handle has to say.
    pub fn name(&self) -> (DeviceIndex, Name) {
        (self.device, self.piece.name)
    }

    fn page(&self) -> &Page {
        // SAFETY: the piece is a page, mapped until `drop`, of atomics for which any content is valid.
        unsafe { self.piece.start.cast().as_ref() }
    }

    /// Begins a record by the process in `slot`.
    pub fn record(self: &Arc<Self>, slot: usize) -> Mark {
        let number = self
            .page()
            .recorded
            .fetch_add(1, Ordering::SeqCst)
            .wrapping_add(1);
        let mark = Mark {
            event: self.clone(),
            number,
        };
        let place = mark.place();
        place.owner.store(owner_word(), Ordering::SeqCst);
        place.slot.store(slot as u64, Ordering::SeqCst);
        place.number.store(number, Ordering::SeqCst);
        mark
    }

    /// The last record of any process.
    pub fn last(self: &Arc<Self>) -> Option<Mark> {
        let number = self.page().recorded.load(Ordering::SeqCst);
        (number > 0).then(|| Mark {
            event: self.clone(),
            number,
        })
    }
}

impl Drop for SharedEvent {
    fn drop(&mut self) {
        // SAFETY: nobody refers to the page any more.
        unsafe { self.piece.unmap() };
    }
}

impl Mark {
    fn place(&self) -> &RecordCell {
        &self.event.page().places[self.number as usize % PLACES]
    }

    /// Tells everybody that the work before the record is done.
    pub fn reach(&self) {
        self.place()
            .reached
            .fetch_max(self.number, Ordering::SeqCst);
    }

    /// Whether the work before the record is done, or can never be because its process has died.
    pub fn is_reached(&self) -> bool {
        let place = self.place();
        if place.reached.load(Ordering::SeqCst) >= self.number {
            return true;
        }
        let (slot, owner) = (
            place.slot.load(Ordering::SeqCst),
            place.owner.load(Ordering::SeqCst),
        );
        place.number.load(Ordering::SeqCst) == self.number
            && super::on(self.event.device)
                .is_ok_and(|runtime| !runtime.lock().clock.lives(slot as usize, owner))
    }
}
