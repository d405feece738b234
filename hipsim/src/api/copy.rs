//! Copies of a run of bytes.

use std::ffi::{c_int, c_void};

use super::forms::forms;
use crate::abi::error::{HipError, Result};
use crate::runtime::command::{Address, Block, External, RowLayout};

/// Largest `hipMemcpyKind`: the host-to-host .. default kinds, and device-to-device without compute units (1024).
pub fn check_kind(kind: c_int) -> Result {
    if (0..=4).contains(&kind) || kind == 1024 {
        Ok(())
    } else {
        Err(HipError::InvalidMemcpyDirection)
    }
}

/// The copy of `size` bytes.
///
/// # Errors
/// Null pointers or an unknown kind.
pub fn linear_work(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: c_int,
) -> Result<External> {
    check_kind(kind)?;
    if size > 0 && (to.is_null() || from.is_null()) {
        return Err(HipError::InvalidValue);
    }
    let place = |start| RowLayout {
        start,
        row_pitch: size,
        plane_pitch: size,
    };
    let block = Block {
        width: size,
        rows: 1,
        planes: 1,
    };
    Ok(External::Copy {
        from: place(Address::from(from)),
        to: place(Address::from(to)),
        block,
    })
}

/// Where the kind is not said.
pub const DEFAULT_KIND: c_int = 4;

fn any(to: *mut c_void, from: *const c_void, size: usize) -> Result<External> {
    linear_work(to, from, size, DEFAULT_KIND)
}

forms!((to: *mut c_void, from: *const c_void, size: usize, kind: c_int) = linear_work(to, from, size, kind);
    memcpy(Legacy, Awaited), memcpy_spt(PerThread, Awaited), memcpy_async(Legacy, Queued),
    memcpy_async_spt(PerThread, Queued), memcpy_with_stream(Legacy, AwaitedOn));
// The three forms with the direction in their name differ in nothing else here.
forms!((to: *mut c_void, from: *const c_void, size: usize) = any(to, from, size);
    driver_copy(Legacy, Awaited), driver_copy_async(Legacy, Queued));
forms!((to: *mut c_void, _to_device: c_int, from: *const c_void, _from_device: c_int, size: usize) = any(to, from, size);
    memcpy_peer(Legacy, Awaited), memcpy_peer_async(Legacy, Queued));
