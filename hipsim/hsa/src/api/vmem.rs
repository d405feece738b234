//! Virtual memory management: addresses reserved without memory, memory without addresses, and mapping one at the other.
//! A piece of memory is an anonymous file, which can be mapped at several places and handed to other processes.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use simdevice::device::ipc::PAGE;

use crate::abi::call::{api, list, put};
use crate::abi::status::{Result, Status};
use crate::abi::types::{AccessDescription, AgentHandle, Handle, PoolHandle};
use crate::memory::pool::Pool;
use crate::memory::{self, Allocation, Kind};

/// `HSA_AMD_VMEM_ADDRESS_NO_REGISTER`: the range is not for mapping.
const NO_REGISTER: u64 = 1;

/// Memory without an address of its own, as long as it has handles or mappings.
struct Piece {
    file: File,
    size: usize,
    pool: Pool,
    /// Bytes of it that count as the pool's GPU's: none of another process's memory.
    counted: usize,
    /// How often the program has to release it.
    handles: usize,
    mappings: usize,
}

/// Where one is mapped.
struct Mapping {
    piece: Handle,
    size: usize,
    permissions: u32,
}

struct Tables {
    pieces: BTreeMap<Handle, Piece>,
    mappings: BTreeMap<usize, Mapping>,
    last: Handle,
}

static TABLES: Mutex<Tables> = Mutex::new(Tables {
    pieces: BTreeMap::new(),
    mappings: BTreeMap::new(),
    last: 0x1000,
});

fn tables() -> MutexGuard<'static, Tables> {
    TABLES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tables {
    fn add(&mut self, file: File, size: usize, counted: usize, pool: Pool) -> Handle {
        self.last += 0x10;
        if let Some(gpu) = pool.gpu() {
            memory::note_unaddressed(gpu, counted);
        }
        self.pieces.insert(
            self.last,
            Piece {
                file,
                size,
                pool,
                counted,
                handles: 1,
                mappings: 0,
            },
        );
        self.last
    }

    /// A piece of which the program has a handle.
    fn held(&mut self, handle: Handle) -> Result<&mut Piece> {
        let piece = self.pieces.get_mut(&handle);
        piece
            .filter(|piece| piece.handles > 0)
            .ok_or(Status::INVALID_ALLOCATION)
    }

    /// Frees a piece that has neither handles nor mappings.
    fn tidy(&mut self, handle: Handle) {
        let is_free = |piece: &Piece| piece.handles == 0 && piece.mappings == 0;
        if self.pieces.get(&handle).is_some_and(is_free)
            && let Some(piece) = self.pieces.remove(&handle)
            && let Some(gpu) = piece.pool.gpu()
        {
            memory::forget_unaddressed(gpu, piece.counted);
        }
    }

    /// Whether any mapping lies there.
    fn is_mapped(&self, start: usize, size: usize) -> bool {
        let end = start.saturating_add(size);
        let last = self.mappings.range(..end).next_back();
        last.is_some_and(|(at, mapping)| at + mapping.size > start)
    }
}

/// Pages without access at an address, or anywhere for zero.
fn bare(at: usize, size: usize, fixed: i32) -> Result<usize> {
    // SAFETY: fresh pages; a fixed place is the caller's own.
    let found = unsafe {
        libc::mmap(
            at as *mut c_void,
            size,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | fixed,
            -1,
            0,
        )
    };
    match found {
        libc::MAP_FAILED => Err(Status::OUT_OF_RESOURCES),
        found => Ok(found as usize),
    }
}

fn reserve_at(va: *mut *mut c_void, size: usize, wish: u64, alignment: u64, flags: u64) -> Result {
    let alignment = (alignment as usize).max(PAGE);
    if va.is_null() || size == 0 || !size.is_multiple_of(PAGE) || !alignment.is_power_of_two() {
        return Err(Status::INVALID_ARGUMENT);
    }
    // The wish is a hint. Room for the alignment is taken and what is too much given back.
    let room = size
        .checked_add(alignment)
        .ok_or(Status::OUT_OF_RESOURCES)?;
    let found = bare(wish as usize, room, 0)?;
    let start = found.next_multiple_of(alignment);
    for (at, size) in [
        (found, start - found),
        (start + size, found + room - start - size),
    ] {
        if size > 0 {
            // SAFETY: a part of the pages just made.
            unsafe { libc::munmap(at as *mut c_void, size) };
        }
    }
    if flags & NO_REGISTER != 0 {
        // For managed memory, which the program uses at once; the device follows the pages.
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the pages just made.
        unsafe { libc::mprotect(start as *mut c_void, size, protection) };
    }
    let entry = Allocation {
        start,
        size,
        kind: Kind::Reserved,
        pool: Pool::HOST,
        piece: None,
        users: 1,
    };
    memory::reservations().insert(start, entry);
    // SAFETY: not null; the caller of the API gave a place for the address.
    unsafe { put(va, start as *mut c_void) }
}

api! {
    /// `hsa_amd_vmem_address_reserve`.
    fn reserve(va: *mut *mut c_void, size: usize, address: u64, flags: u64) {
        reserve_at(va, size, address, 0, flags)
    }

    /// `hsa_amd_vmem_address_reserve_align`.
    fn reserve_aligned(va: *mut *mut c_void, size: usize, address: u64, alignment: u64, flags: u64) {
        reserve_at(va, size, address, alignment, flags)
    }

    /// `hsa_amd_vmem_address_free`.
    fn free_address(va: *mut c_void, size: usize) {
        let tables = tables();
        let mut table = memory::reservations();
        let entry = table.get(&(va as usize));
        if entry.is_none_or(|entry| entry.size != size) {
            return Err(Status::INVALID_ALLOCATION);
        }
        if tables.is_mapped(va as usize, size) {
            return Err(Status::RESOURCE_FREE);
        }
        table.remove(&(va as usize));
        libc::munmap(va, size);
        Ok(())
    }

    /// `hsa_amd_vmem_handle_create`.
    fn create(pool: PoolHandle, size: usize, _kind: u32, _flags: u64, handle: *mut Handle) {
        let pool = Pool::new(pool)?;
        if size == 0 || !size.is_multiple_of(PAGE) {
            return Err(Status::INVALID_ARGUMENT);
        }
        if pool.gpu().is_some_and(|gpu| memory::available(gpu) < size as u64) {
            return Err(Status::OUT_OF_RESOURCES);
        }
        let number = libc::memfd_create(c"hsasim".as_ptr(), libc::MFD_CLOEXEC);
        if number < 0 {
            return Err(Status::OUT_OF_RESOURCES);
        }
        let file = File::from_raw_fd(number);
        file.set_len(size as u64).map_err(|_| Status::OUT_OF_RESOURCES)?;
        put(handle, tables().add(file, size, size, pool))
    }

    /// `hsa_amd_vmem_handle_release`. Mappings keep the memory.
    fn release(handle: Handle) {
        let mut tables = tables();
        tables.held(handle)?.handles -= 1;
        tables.tidy(handle);
        Ok(())
    }

    /// `hsa_amd_vmem_map`: without access until that is set.
    fn map(va: *mut c_void, size: usize, offset: usize, handle: Handle, _flags: u64) {
        let mut tables = tables();
        let is_mapped = tables.is_mapped(va as usize, size);
        let piece = tables.held(handle)?;
        let within = offset.checked_add(size).is_some_and(|end| end <= piece.size);
        let is_reserved = memory::reservations().range(..=va as usize).next_back().is_some_and(|(start, entry)| {
            va as usize - start < entry.size && size <= entry.size - (va as usize - start)
        });
        let in_pages = [va as usize, size, offset].iter().all(|number| number.is_multiple_of(PAGE));
        if size == 0 || !within || !is_reserved || is_mapped || !in_pages {
            return Err(Status::INVALID_ARGUMENT);
        }
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        let found = libc::mmap(va, size, libc::PROT_NONE, flags, piece.file.as_raw_fd(), offset as i64);
        if found == libc::MAP_FAILED {
            return Err(Status::OUT_OF_RESOURCES);
        }
        piece.mappings += 1;
        let start = va as usize;
        let entry = Allocation { start, size, kind: Kind::Mapped, pool: piece.pool, piece: None, users: 1 };
        tables.mappings.insert(start, Mapping { piece: handle, size, permissions: 0 });
        memory::table().insert(start, entry);
        Ok(())
    }

    /// `hsa_amd_vmem_unmap`.
    fn unmap(va: *mut c_void, size: usize) {
        let start = va as usize;
        let mut tables = tables();
        let mapping = tables.mappings.get(&start).filter(|mapping| mapping.size == size);
        let piece = mapping.ok_or(Status::INVALID_ALLOCATION)?.piece;
        bare(start, size, libc::MAP_FIXED)?;
        tables.mappings.remove(&start);
        if let Some(piece) = tables.pieces.get_mut(&piece) {
            piece.mappings -= 1;
        }
        tables.tidy(piece);
        memory::table().remove(&start);
        Ok(())
    }

    /// `hsa_amd_vmem_set_access`: what any agent may do, all may.
    fn set_access(va: *mut c_void, size: usize, wanted: *const AccessDescription, count: usize) {
        let mut tables = tables();
        let start = va as usize;
        let within = start..start.saturating_add(size);
        let wanted = list(wanted, count).iter().fold(0, |all, one| all | one.permissions & 3);
        let mut any = false;
        for (at, mapping) in tables.mappings.range_mut(within) {
            let mut protection = if wanted == 0 { libc::PROT_NONE } else { libc::PROT_READ };
            if wanted & 2 != 0 {
                protection |= libc::PROT_WRITE;
            }
            libc::mprotect(*at as *mut c_void, mapping.size, protection);
            mapping.permissions = wanted;
            any = true;
        }
        any.then_some(()).ok_or(Status::INVALID_ALLOCATION)
    }

    /// `hsa_amd_vmem_get_access`.
    fn get_access(va: *mut c_void, permissions: *mut u32, _agent: AgentHandle) {
        let tables = tables();
        let (start, mapping) = tables.mappings.range(..=va as usize).next_back().ok_or(Status::INVALID_ALLOCATION)?;
        if va as usize - start >= mapping.size {
            return Err(Status::INVALID_ALLOCATION);
        }
        put(permissions, mapping.permissions)
    }

    /// `hsa_amd_vmem_export_shareable_handle`.
    fn export(descriptor: *mut i32, handle: Handle, _flags: u64) {
        let mut tables = tables();
        let piece = tables.held(handle)?;
        let copy = piece.file.try_clone().map_err(|_| Status::OUT_OF_RESOURCES)?;
        put(descriptor, copy.into_raw_fd())
    }

    /// `hsa_amd_vmem_import_shareable_handle`: the descriptor stays the program's.
    fn import(descriptor: i32, handle: *mut Handle) {
        let copy = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0);
        if copy < 0 {
            return Err(Status::INVALID_ARGUMENT);
        }
        let file = File::from_raw_fd(copy);
        let size = file.metadata().map_err(|_| Status::INVALID_ARGUMENT)?.len() as usize;
        if size == 0 {
            return Err(Status::INVALID_ARGUMENT);
        }
        put(handle, tables().add(file, size, 0, Pool::of_gpu(0)))
    }

    /// `hsa_amd_vmem_retain_alloc_handle`.
    fn retain(handle: *mut Handle, at: *mut c_void) {
        let mut tables = tables();
        let piece = tables.mappings.get(&(at as usize)).ok_or(Status::INVALID_ALLOCATION)?.piece;
        let found = tables.pieces.get_mut(&piece).ok_or(Status::INVALID_ALLOCATION)?;
        found.handles += 1;
        put(handle, piece)
    }
}
