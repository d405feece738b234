//! Device memory, which is memory of the process: a table of allocations and the limit of the device.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::command::Address;
use super::devices::{DeviceIndex, MAX_DEVICES};
use crate::abi::error::{HipError, Result};
use crate::device::ipc::{Name, PAGE, Piece, Target};
use crate::options;

/// What kind of memory the program asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Device,
    Host,
    Managed,
    /// Memory of the program that it registered.
    Registered,
}

/// One allocation.
#[derive(Clone, Copy, Debug)]
pub struct Allocation {
    pub start: Address,
    pub size: usize,
    pub kind: Kind,
    pub flags: u32,
    /// The device that was current.
    pub device: DeviceIndex,
    pub backing: Backing,
}

/// What holds an allocation's bytes.
#[derive(Clone, Copy, Debug)]
pub enum Backing {
    /// The heap, or the program that registered them.
    Process,
    /// As before, but its pages are a piece that other processes can map.
    Exported(Piece),
    /// A piece of another process, opened this many times.
    Imported(Piece, usize),
}

impl Allocation {
    /// Whether it takes room on the device of this process.
    fn takes_room(&self) -> bool {
        self.kind == Kind::Device && !matches!(self.backing, Backing::Imported(..))
    }
}

/// Alignment of the real allocator.
const ALIGNMENT: usize = 256;

static TABLE: Mutex<BTreeMap<usize, Allocation>> = Mutex::new(BTreeMap::new());

/// What [`used`] says, by device: for who must not wait for the table.
static USED: [AtomicU64; MAX_DEVICES] = [const { AtomicU64::new(0) }; MAX_DEVICES];

/// Memory of a device that this process has, bytes.
pub fn used_of(device: DeviceIndex) -> u64 {
    USED[device.number() % MAX_DEVICES].load(Relaxed)
}

fn table() -> MutexGuard<'static, BTreeMap<usize, Allocation>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn used(table: &BTreeMap<usize, Allocation>, device: DeviceIndex) -> u64 {
    table
        .values()
        .filter(|allocation| allocation.takes_room() && allocation.device == device)
        .map(|allocation| allocation.size as u64)
        .sum()
}

/// Device memory has pages of its own, so that it can become shared.
fn layout(size: usize, kind: Kind) -> Result<Layout> {
    let layout = match kind {
        Kind::Device => size
            .max(1)
            .checked_next_multiple_of(PAGE)
            .and_then(|size| Layout::from_size_align(size, PAGE).ok()),
        _ => Layout::from_size_align(size.max(1), ALIGNMENT).ok(),
    };
    layout.ok_or(HipError::OutOfMemory)
}

/// Allocates `size` bytes.
///
/// # Errors
/// `OutOfMemory` beyond the device's size.
pub fn allocate(size: usize, kind: Kind, flags: u32) -> Result<Address> {
    let layout = layout(size, kind)?;
    let device = DeviceIndex::current();
    let mut table = table();
    if kind == Kind::Device
        && used(&table, device).saturating_add(size as u64) > options::get().memory
    {
        return Err(HipError::OutOfMemory);
    }
    // SAFETY: the layout's size is not zero.
    let start = Address::from(unsafe { alloc(layout) });
    if start.0 == 0 {
        return Err(HipError::OutOfMemory);
    }
    let allocation = Allocation {
        start,
        size,
        kind,
        flags,
        device,
        backing: Backing::Process,
    };
    if allocation.takes_room() {
        USED[device.number() % MAX_DEVICES].fetch_add(size as u64, Relaxed);
    }
    table.insert(start.0, allocation);
    Ok(start)
}

/// The allocation that starts at `start`.
pub fn starting_at(start: Address) -> Option<Allocation> {
    table().get(&start.0).copied()
}

/// The allocation that contains `address`.
pub fn containing(address: Address) -> Option<Allocation> {
    let (_, allocation) = table()
        .range(..=address.0)
        .next_back()
        .map(|(start, found)| (*start, *found))?;
    (address.0 - allocation.start.0 < allocation.size.max(1)).then_some(allocation)
}

/// Frees an allocation; unknown addresses are ignored (the API has refused them before).
pub fn release(start: Address) {
    let mut table = table();
    if let Some(Allocation {
        backing: Backing::Imported(_, references @ 2..),
        ..
    }) = table.get_mut(&start.0)
    {
        *references -= 1;
        return;
    }
    let Some(allocation) = table.remove(&start.0) else {
        return;
    };
    if allocation.takes_room() {
        let used = &USED[allocation.device.number() % MAX_DEVICES];
        used.fetch_sub(allocation.size as u64, Relaxed);
    }
    match allocation.backing {
        Backing::Process => {}
        // SAFETY: it is in the table no more, and the API has waited for its users.
        Backing::Imported(piece, _) => return unsafe { piece.unmap() },
        Backing::Exported(piece) => {
            if !make_private(piece) {
                // Better lost than given back to the heap while other processes write there.
                return;
            }
        }
    }
    if allocation.kind != Kind::Registered
        && let Ok(layout) = layout(allocation.size, allocation.kind)
    {
        // SAFETY: it came from `alloc` with this layout, and is in the table no more.
        unsafe { dealloc(start.pointer(), layout) };
    }
}

/// Puts the heap's own pages back where a piece was; what they hold is lost.
fn make_private(piece: Piece) -> bool {
    // SAFETY: exactly the pages that `export` replaced. Nothing uses the allocation any more.
    unsafe {
        piece.forget();
        let pages = libc::mmap(
            piece.start.as_ptr().cast(),
            piece.size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        );
        pages != libc::MAP_FAILED
    }
}

/// Makes the device memory that contains `address` a piece that other processes can map; again gives the same one. No work
/// of this process touches memory meanwhile ([`super::quietly`]). The piece, and where in it the address lies.
///
/// # Errors
/// `InvalidValue` for anything but this process's own device memory, or when no file can be made.
pub fn export(address: Address) -> Result<(Piece, usize)> {
    let mut table = table();
    let (_, allocation) = table
        .range_mut(..=address.0)
        .next_back()
        .ok_or(HipError::InvalidValue)?;
    let offset = address.0 - allocation.start.0;
    if offset >= allocation.size || !allocation.takes_room() {
        return Err(HipError::InvalidValue);
    }
    if let Backing::Exported(piece) = allocation.backing {
        return Ok((piece, offset));
    }
    let over = Target::Over(allocation.start.0);
    // SAFETY: the pages are the allocation's alone (`layout`), and nobody writes there meanwhile by the caller's promise.
    let piece = unsafe { Piece::create(&allocation.device.path(), allocation.size, over) };
    let piece = piece.map_err(|error| {
        eprintln!("hipsim: cannot share memory between processes: {error}");
        HipError::InvalidValue
    })?;
    allocation.backing = Backing::Exported(piece);
    Ok((piece, offset))
}

/// Maps a piece of another process as memory of `device`; a piece that is mapped gets another user.
///
/// # Errors
/// `InvalidDevicePointer` when there is no such piece (any more).
pub fn import(device: DeviceIndex, of: DeviceIndex, name: Name, size: usize) -> Result<Address> {
    let mut table = table();
    for allocation in table.values_mut() {
        if let Backing::Imported(piece, references) = &mut allocation.backing
            && (piece.name, piece.size) == (name, size)
        {
            *references += 1;
            return Ok(allocation.start);
        }
    }
    let piece = Piece::open(&of.path(), name, size).map_err(|_| HipError::InvalidDevicePointer)?;
    let start = Address::from(piece.start.as_ptr());
    table.insert(
        start.0,
        Allocation {
            start,
            size,
            kind: Kind::Device,
            flags: 0,
            device,
            backing: Backing::Imported(piece, 1),
        },
    );
    Ok(start)
}

/// Notes memory of the program as registered; registering it twice keeps the first entry.
pub fn register(start: Address, size: usize, flags: u32) {
    table().entry(start.0).or_insert(Allocation {
        start,
        size,
        kind: Kind::Registered,
        flags,
        device: DeviceIndex::current(),
        backing: Backing::Process,
    });
}

/// Free and total bytes of the current device.
pub fn info() -> (u64, u64) {
    let total = options::get().memory;
    (
        total.saturating_sub(used(&table(), DeviceIndex::current())),
        total,
    )
}
