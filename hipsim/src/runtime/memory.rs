//! Device memory, which is memory of the process: a table of allocations and the limit of the device.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::command::Address;
use super::devices::DeviceIndex;
use crate::abi::error::{HipError, Result};
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
}

/// Alignment of the real allocator.
const ALIGNMENT: usize = 256;

static TABLE: Mutex<BTreeMap<usize, Allocation>> = Mutex::new(BTreeMap::new());

fn table() -> MutexGuard<'static, BTreeMap<usize, Allocation>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn used(table: &BTreeMap<usize, Allocation>, device: DeviceIndex) -> u64 {
    table
        .values()
        .filter(|allocation| allocation.kind == Kind::Device && allocation.device == device)
        .map(|allocation| allocation.size as u64)
        .sum()
}

fn layout(size: usize) -> Result<Layout> {
    Layout::from_size_align(size.max(1), ALIGNMENT).map_err(|_| HipError::OutOfMemory)
}

/// Allocates `size` bytes.
///
/// # Errors
/// `OutOfMemory` beyond the device's size.
pub fn allocate(size: usize, kind: Kind, flags: u32) -> Result<Address> {
    let layout = layout(size)?;
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
    table.insert(
        start.0,
        Allocation {
            start,
            size,
            kind,
            flags,
            device,
        },
    );
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
    let removed = table().remove(&start.0);
    if let Some(allocation) = removed
        && allocation.kind != Kind::Registered
        && let Ok(layout) = layout(allocation.size)
    {
        // SAFETY: it came from `alloc` with this layout, and is in the table no more.
        unsafe { dealloc(start.pointer(), layout) };
    }
}

/// Notes memory of the program as registered; registering it twice keeps the first entry.
pub fn register(start: Address, size: usize, flags: u32) {
    table().entry(start.0).or_insert(Allocation {
        start,
        size,
        kind: Kind::Registered,
        flags,
        device: DeviceIndex::current(),
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
