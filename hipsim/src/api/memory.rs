//! Allocation, registration and questions about addresses.

use std::ffi::{c_int, c_uint, c_void};

use super::support::{api, put};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{Extent, PitchedPtr, PointerAttributes};
use crate::major::major_version;
use crate::options;
use crate::runtime;
use crate::runtime::command::Address;
use crate::runtime::memory::{self, Kind};

/// Row pitch of pitched allocations.
const PITCH: usize = 256;

pub(super) unsafe fn allocate(
    at: *mut *mut c_void,
    size: usize,
    kind: Kind,
    flags: c_uint,
) -> Result {
    runtime::get()?;
    if at.is_null() {
        return Err(HipError::InvalidValue);
    }
    let pointer = match size {
        // An empty allocation succeeds with a null pointer.
        0 => std::ptr::null_mut(),
        _ => memory::allocate(size, kind, flags)?.pointer(),
    };
    // SAFETY: the program's pointer for the result.
    unsafe { put(at, pointer) }
}

api! {
    fn malloc(at: *mut *mut c_void, size: usize) { allocate(at, size, Kind::Device, 0) }

    fn malloc_with_flags(at: *mut *mut c_void, size: usize, flags: c_uint) {
        allocate(at, size, Kind::Device, flags)
    }

    fn malloc_managed(at: *mut *mut c_void, size: usize, flags: c_uint) {
        allocate(at, size, Kind::Managed, flags)
    }

    fn host_malloc(at: *mut *mut c_void, size: usize, flags: c_uint) { allocate(at, size, Kind::Host, flags) }
    fn malloc_host(at: *mut *mut c_void, size: usize) { allocate(at, size, Kind::Host, 0) }

    fn malloc_pitch(at: *mut *mut c_void, pitch: *mut usize, width: usize, height: usize) {
        let row = width
            .checked_next_multiple_of(PITCH)
            .ok_or(HipError::OutOfMemory)?;
        put(pitch, row)?;
        allocate(
            at,
            row.checked_mul(height).ok_or(HipError::OutOfMemory)?,
            Kind::Device,
            0,
        )
    }

    fn malloc_3d(at: *mut PitchedPtr, extent: Extent) {
        let pitch = extent
            .width
            .checked_next_multiple_of(PITCH)
            .ok_or(HipError::OutOfMemory)?;
        let size = pitch
            .checked_mul(extent.height)
            .and_then(|plane| plane.checked_mul(extent.depth));
        let mut pointer = std::ptr::null_mut();
        allocate(
            &raw mut pointer,
            size.ok_or(HipError::OutOfMemory)?,
            Kind::Device,
            0,
        )?;
        put(
            at,
            PitchedPtr {
                pointer,
                pitch,
                x_size: extent.width,
                y_size: extent.height,
            },
        )
    }
}

/// Frees after everything queued has finished, as the real runtime does.
fn free_after_all(pointer: *mut c_void, allowed: &[Kind]) -> Result {
    runtime::get()?;
    if pointer.is_null() {
        return Ok(());
    }
    let start = Address::from(pointer);
    match memory::starting_at(start) {
        Some(allocation) if allowed.contains(&allocation.kind) => {
            runtime::on(allocation.device)?.wait_all();
            memory::release(start);
            Ok(())
        }
        _ => Err(HipError::InvalidValue),
    }
}

api! {
    fn free(pointer: *mut c_void) { free_after_all(pointer, &[Kind::Device, Kind::Managed]) }
    fn host_free(pointer: *mut c_void) { free_after_all(pointer, &[Kind::Host]) }

    fn host_register(pointer: *mut c_void, size: usize, flags: c_uint) {
        runtime::get()?;
        if pointer.is_null() || size == 0 {
            return Err(HipError::InvalidValue);
        }
        memory::register(Address::from(pointer), size, flags);
        Ok(())
    }

    fn host_unregister(pointer: *mut c_void) { free_after_all(pointer, &[Kind::Registered]) }

    fn host_device_pointer(at: *mut *mut c_void, host: *mut c_void, _flags: c_uint) {
        match memory::containing(Address::from(host)) {
            Some(_) => put(at, host),
            None => Err(HipError::InvalidValue),
        }
    }

    fn host_flags(flags: *mut c_uint, host: *mut c_void) {
        match memory::containing(Address::from(host)) {
            Some(allocation) if allocation.kind != Kind::Device => put(flags, allocation.flags),
            _ => Err(HipError::InvalidValue),
        }
    }

    fn info(free: *mut usize, total: *mut usize) {
        runtime::get()?;
        let (left, all) = memory::info();
        let _ = put(free, left as usize);
        let _ = put(total, all as usize);
        Ok(())
    }

    fn pointer_size(pointer: *mut c_void, size: *mut usize) {
        match memory::starting_at(Address::from(pointer)) {
            Some(allocation) => put(size, allocation.size),
            None => Err(HipError::InvalidValue),
        }
    }

    fn address_range(base: *mut *mut c_void, size: *mut usize, address: *mut c_void) {
        let found = memory::containing(Address::from(address)).ok_or(HipError::NotFound)?;
        let _ = put(base, found.start.pointer());
        let _ = put(size, found.size);
        Ok(())
    }
}

/// `hipInvalidDeviceId`.
pub const NO_DEVICE: c_int = -2;

/// `hipMemoryType` was renumbered in HIP 6: Host/Device/Managed are 0/1/- before and 1/2/3 since.
pub fn type_code(kind: Kind) -> c_int {
    let six = major_version() >= 6;
    match kind {
        Kind::Host | Kind::Registered => c_int::from(six),
        Kind::Device => 1 + c_int::from(six),
        Kind::Managed => {
            if six {
                3
            } else {
                1
            }
        }
    }
}

api! {
    fn pointer_attributes(at: *mut PointerAttributes, pointer: *const c_void) {
        runtime::get()?;
        if at.is_null() || pointer.is_null() {
            return Err(HipError::InvalidValue);
        }
        let Some(found) = memory::containing(Address::from(pointer)) else {
            // Since HIP 6 memory of the program is no error, but of no device.
            if options::version() < 60_000_000 {
                return Err(HipError::InvalidValue);
            }
            let unregistered = PointerAttributes {
                device: NO_DEVICE,
                ..PointerAttributes::default()
            };
            return put(at, unregistered);
        };
        let host = if found.kind == Kind::Device {
            std::ptr::null_mut()
        } else {
            pointer.cast_mut()
        };
        let attributes = PointerAttributes {
            memory_type: type_code(found.kind),
            device: found.device.number() as c_int,
            device_pointer: pointer.cast_mut(),
            host_pointer: host,
            is_managed: c_int::from(found.kind == Kind::Managed),
            allocation_flags: found.flags,
        };
        put(at, attributes)
    }
}
