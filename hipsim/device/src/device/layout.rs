//! Layout of the device file. Everything is an atomic: other processes write it at any time.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::model::share::{LEVELS, MAX_PROCESSES, Snapshot};

/// First word of a device file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"HIPSIM\0\x03");
/// Snapshots each process can publish; two would do, the others make overwriting a just-read one rarer.
pub const SNAPSHOTS: usize = 4;

/// One published snapshot of the service clock.
#[repr(C)]
pub struct SharedSnapshot {
    /// Real time in ns, see [`super::time`].
    pub at: AtomicU64,
    /// Service clocks by level, ns.
    pub service: [AtomicU64; LEVELS],
    /// Active slots by level.
    pub active: [AtomicU64; LEVELS],
}

impl SharedSnapshot {
    /// What it says. Whole only if it was not written meanwhile.
    pub fn load(&self) -> Snapshot {
        let all = |of: &[AtomicU64; LEVELS]| of.each_ref().map(|one| one.load(SeqCst));
        Snapshot {
            at: self.at.load(SeqCst),
            service: all(&self.service),
            active: all(&self.active),
        }
    }

    /// Writes it; its owner only.
    pub fn store(&self, snapshot: &Snapshot) {
        self.at.store(snapshot.at, SeqCst);
        for level in 0..LEVELS {
            self.service[level].store(snapshot.service[level], SeqCst);
            self.active[level].store(snapshot.active[level], SeqCst);
        }
    }
}

/// One attached process. Written by its owner, and by whoever reaps it once its lock is free.
#[repr(C, align(128))]
pub struct Slot {
    /// Random word of the owner; zero when free.
    pub owner: AtomicU64,
    /// `amd`: service at which its announced work ends, by the clock of its level. `fifo`: its unfinished reservations in ns.
    pub end: AtomicU64,
    /// Its snapshots. Only the owner writes them, and never the one the header names.
    pub snapshots: [SharedSnapshot; SNAPSHOTS],
    /// Pieces of memory the owner has shared by name ([`super::ipc`]), which are to be removed after its death.
    pub exports: AtomicU64,
    /// Memory that the owner had when it last announced work, bytes.
    pub memory: AtomicU64,
}

/// The file.
#[repr(C)]
pub struct Device {
    /// [`MAGIC`], written last by whoever creates the file.
    pub magic: AtomicU64,
    /// Size of this structure.
    pub size: AtomicU32,
    /// Discipline in force: 0 not chosen, 1 amd, 2 fifo.
    pub discipline: AtomicU32,
    /// Current snapshot: generation:32 | slot:16 | snapshot:16.
    pub current: AtomicU64,
    /// `fifo`: device time at which the last reservation ends.
    pub busy_until: AtomicU64,
    /// `fifo`: device time minus real time.
    pub skipped: AtomicU64,
    /// The processes.
    pub slots: [Slot; MAX_PROCESSES],
}

const _: () = assert!(size_of::<Slot>() == 256);
const _: () = assert!(size_of::<Device>() == 128 + 256 * MAX_PROCESSES);
