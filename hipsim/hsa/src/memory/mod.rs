//! The process's memory as its agents know it: a table of what was allocated, locked or attached. Device memory is memory of
//! the process.
//!
//! Locks are taken in this order, each at most once: `api::vmem`'s tables, [`reservations`], [`table`], the machine's.

pub mod pool;
pub mod reach;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use simdevice::device::ipc::Piece;
use simdevice::{options, places};

use self::pool::Pool;
use crate::abi::status::{Result, Status};

/// What kind of entry it is; the numbers of `hsa_amd_pointer_type_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pool = 1,
    /// Memory of the program.
    Locked = 2,
    /// Memory of another process.
    Attached = 4,
    /// Addresses without memory.
    Reserved = 5,
    /// Memory mapped at reserved addresses.
    Mapped = 6,
}

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct Allocation {
    pub start: usize,
    /// As asked for.
    pub size: usize,
    pub kind: Kind,
    pub pool: Pool,
    /// Set when other processes can map its pages.
    pub piece: Option<Piece>,
    /// How often it was locked or attached.
    pub users: usize,
}

type Table = BTreeMap<usize, Allocation>;

static TABLE: Mutex<Table> = Mutex::new(BTreeMap::new());
static RESERVATIONS: Mutex<Table> = Mutex::new(BTreeMap::new());

/// All memory.
pub fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reserved addresses, whose parts can be mapped to memory.
pub fn reservations() -> MutexGuard<'static, Table> {
    RESERVATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entry that an address lies in: memory, or reserved addresses without. Of several the one that begins last.
pub fn containing(at: usize) -> Option<Allocation> {
    let within = |table: &Table| {
        for (_, entry) in table.range(..=at).rev() {
            if at - entry.start < entry.size {
                return Some(*entry);
            }
            // Only what the program locks lies within other entries.
            if entry.kind != Kind::Locked {
                break;
            }
        }
        None
    };
    // Not in one expression: the first lock would be held while the second is taken.
    let memory = within(&table());
    memory.or_else(|| within(&reservations()))
}

/// The first address behind `at` at which an entry begins.
pub fn next_begin(at: usize) -> Option<usize> {
    let next = |table: &Table| {
        table
            .range(at.saturating_add(1)..)
            .next()
            .map(|(start, _)| *start)
    };
    let memory = next(&table());
    let reserved = next(&reservations());
    memory.into_iter().chain(reserved).min()
}

/// Bytes of each GPU's memory without an address of its own (`api::vmem`).
static UNADDRESSED: [AtomicU64; places::MAX_DEVICES] =
    [const { AtomicU64::new(0) }; places::MAX_DEVICES];

/// Memory of a GPU was made without an address.
pub fn note_unaddressed(gpu: usize, bytes: usize) {
    UNADDRESSED[gpu % places::MAX_DEVICES].fetch_add(bytes as u64, Ordering::SeqCst);
}

/// It is gone.
pub fn forget_unaddressed(gpu: usize, bytes: usize) {
    UNADDRESSED[gpu % places::MAX_DEVICES].fetch_sub(bytes as u64, Ordering::SeqCst);
}

/// Bytes of a GPU's memory that are free.
pub fn available(gpu: usize) -> u64 {
    let table = table();
    let own = |entry: &&Allocation| entry.kind == Kind::Pool && entry.pool.gpu() == Some(gpu);
    let used: u64 = table
        .values()
        .filter(own)
        .map(|entry| entry.size as u64)
        .sum();
    let unaddressed = UNADDRESSED[gpu % places::MAX_DEVICES].load(Ordering::SeqCst);
    options::get()
        .memory
        .saturating_sub(used)
        .saturating_sub(unaddressed)
}

/// Places on the machine of the GPUs that this process sees.
pub fn places() -> &'static [usize] {
    static PLACES: OnceLock<Vec<usize>> = OnceLock::new();
    PLACES.get_or_init(|| places::visible(&["ROCR_VISIBLE_DEVICES"]))
}

/// Fresh pages that read as zero and take memory only once they are used.
///
/// # Errors
/// `OUT_OF_RESOURCES`.
pub fn pages(size: usize) -> Result<usize> {
    // SAFETY: fresh private pages of the kernel's choice.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    match at {
        libc::MAP_FAILED => Err(Status::OUT_OF_RESOURCES),
        at => Ok(at as usize),
    }
}
