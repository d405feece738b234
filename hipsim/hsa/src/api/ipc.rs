//! Memory of two processes: a handle names a file beside the device's, as with hipsim's own HIP face.

use std::ffi::c_void;

use simdevice::device::ipc::{Name, PAGE, Piece, Target};
use simdevice::places;

use crate::abi::call::{api, put};
use crate::abi::status::Status;
use crate::abi::types::AgentHandle;
use crate::machine::MACHINE;
use crate::memory::pool::Pool;
use crate::memory::{self, Allocation, Kind};

/// `hsa_amd_ipc_memory_t`, 32 bytes that another process hands back.
#[derive(Clone, Copy)]
#[repr(C)]
struct Shared {
    name: Name,
    size: u64,
    place: u32,
    mark: u32,
}

const _: () = assert!(size_of::<Shared>() == 32);
const MARK: u32 = u32::from_le_bytes(*b"hsa1");

api! {
    /// `hsa_amd_ipc_memory_create`: the allocation's pages become shared, while nothing writes them.
    fn create(at: *mut c_void, _length: usize, handle: *mut c_void) {
        let mut table = memory::table();
        let entry = table.get_mut(&(at as usize)).filter(|entry| entry.kind == Kind::Pool);
        let entry = entry.ok_or(Status::INVALID_ARGUMENT)?;
        let gpu = entry.pool.gpu().ok_or(Status::INVALID_ARGUMENT)?;
        let place = *memory::places().get(gpu).ok_or(Status::INVALID_AGENT)?;
        let piece = match entry.piece {
            Some(piece) => piece,
            None => MACHINE.quietly(|state| {
                state.gpu(gpu)?.clock.note_export();
                // SAFETY: the allocation's own pages, and no work of a device runs. A program that writes them itself
                // meanwhile has no answer from the real library either.
                let made = unsafe {
                    Piece::create(&places::path(place), entry.size, Target::Over(entry.start))
                };
                made.map_err(|error| {
                    eprintln!("hsasim: cannot share memory between processes: {error}");
                    Status::OUT_OF_RESOURCES
                })
            })?,
        };
        entry.piece = Some(piece);
        let shared = Shared { name: piece.name, size: piece.size as u64, place: place as u32, mark: MARK };
        put(handle.cast(), shared)
    }

    /// `hsa_amd_ipc_memory_attach`.
    fn attach(handle: *const c_void, _length: usize, _count: u32, _agents: *const AgentHandle, at: *mut *mut c_void) {
        if handle.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        let shared = handle.cast::<Shared>().read_unaligned();
        let (size, place) = (shared.size as usize, shared.place as usize);
        if shared.mark != MARK || size == 0 || !size.is_multiple_of(PAGE) || place >= places::MAX_DEVICES {
            return Err(Status::INVALID_ARGUMENT);
        }
        let piece = Piece::open(&places::path(place), shared.name, size).map_err(|_| Status::INVALID_ARGUMENT)?;
        let gpu = memory::places().iter().position(|own| *own == place).unwrap_or(0);
        let start = piece.start.as_ptr() as usize;
        let pool = Pool::of_gpu(gpu);
        let entry = Allocation { start, size, kind: Kind::Attached, pool, piece: Some(piece), users: 1 };
        memory::table().insert(start, entry);
        put(at, start as *mut c_void)
    }

    /// `hsa_amd_ipc_memory_detach`.
    fn detach(at: *mut c_void) {
        let mut table = memory::table();
        let entry = table.get(&(at as usize)).filter(|entry| entry.kind == Kind::Attached);
        let entry = *entry.ok_or(Status::INVALID_ARGUMENT)?;
        table.remove(&entry.start);
        if let Some(piece) = entry.piece {
            // Not the piece's own end: this process may have attached what it exports itself.
            libc::munmap(piece.start.as_ptr().cast(), piece.size);
        }
        Ok(())
    }
}
