//! Copies in the driver API's forms, between devices, and several in one call.

use std::ffi::{c_int, c_uint, c_void};

use super::copy::{DEFAULT_KIND, linear_work};
use super::copy_shaped::box_work;
use super::forms::{Completion, forms, perform};
use super::support::{DefaultStream, api, run};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{
    Extent, Memcpy2d, Memcpy3d, Memcpy3dParams, Memcpy3dPeerParams, PitchedPtr, Position,
    StreamHandle,
};
use crate::major::major_version;
use crate::runtime::command::External;

/// The pointer that a description of one side means. `hipMemoryType` was renumbered in HIP 6.
fn pointer(memory_type: c_int, host: *mut c_void, device: *mut c_void) -> Result<*mut c_void> {
    let (host_type, array_type) = if major_version() >= 6 {
        (1, 10)
    } else {
        (0, 2)
    };
    match memory_type {
        found if found == array_type => Err(HipError::NotSupported),
        found if found == host_type => Ok(host),
        _ if device.is_null() => Ok(host),
        _ => Ok(device),
    }
}

fn side(pointer: *mut c_void, pitch: usize, rows: usize) -> PitchedPtr {
    PitchedPtr {
        pointer,
        pitch,
        x_size: pitch,
        y_size: rows,
    }
}

fn boxed(
    (from, from_at): (PitchedPtr, Position),
    (to, to_at): (PitchedPtr, Position),
    extent: Extent,
) -> Result<External> {
    let params = Memcpy3dParams {
        source_array: std::ptr::null_mut(),
        source_position: from_at,
        source: from,
        target_array: std::ptr::null_mut(),
        target_position: to_at,
        target: to,
        extent,
        kind: DEFAULT_KIND,
    };
    // SAFETY: a local structure.
    unsafe { box_work(&raw const params) }
}

/// The copy that a `hip_Memcpy2D` asks for.
fn rows_work(params: *const Memcpy2d) -> Result<External> {
    // SAFETY: the program's structure, null or valid.
    let p = unsafe { params.as_ref() }.ok_or(HipError::InvalidValue)?;
    let from = pointer(p.source_type, p.source_host.cast_mut(), p.source_device)?;
    let to = pointer(p.target_type, p.target_host, p.target_device)?;
    // A pitch of 0 means rows without a gap.
    let pitch = |pitch: usize| if pitch == 0 { p.width } else { pitch };
    let at = |x, y| Position { x, y, z: 0 };
    boxed(
        (
            side(from, pitch(p.source_pitch), 0),
            at(p.source_x, p.source_y),
        ),
        (
            side(to, pitch(p.target_pitch), 0),
            at(p.target_x, p.target_y),
        ),
        Extent {
            width: p.width,
            height: p.height,
            depth: 1,
        },
    )
}

/// The copy that a `HIP_MEMCPY3D` asks for.
///
/// # Errors
/// Null, arrays, or impossible values.
pub fn driver_box_work(params: *const Memcpy3d) -> Result<External> {
    // SAFETY: the program's structure, null or valid.
    let p = unsafe { params.as_ref() }.ok_or(HipError::InvalidValue)?;
    let from = pointer(p.source_type, p.source_host.cast_mut(), p.source_device)?;
    let to = pointer(p.target_type, p.target_host, p.target_device)?;
    let pitch = |pitch: usize| if pitch == 0 { p.width } else { pitch };
    let rows = |rows: usize| if rows == 0 { p.height } else { rows };
    let at = |x, y, z| Position { x, y, z };
    boxed(
        (
            side(from, pitch(p.source_pitch), rows(p.source_height)),
            at(p.source_x, p.source_y, p.source_z),
        ),
        (
            side(to, pitch(p.target_pitch), rows(p.target_height)),
            at(p.target_x, p.target_y, p.target_z),
        ),
        Extent {
            width: p.width,
            height: p.height,
            depth: p.depth,
        },
    )
}

fn peer_work(params: *const Memcpy3dPeerParams) -> Result<External> {
    // SAFETY: the program's structure, null or valid.
    let p = unsafe { params.as_ref() }.ok_or(HipError::InvalidValue)?;
    if !p.source_array.is_null() || !p.target_array.is_null() {
        return Err(HipError::NotSupported);
    }
    boxed(
        (p.source, p.source_position),
        (p.target, p.target_position),
        p.extent,
    )
}

forms!((params: *const Memcpy2d) = rows_work(params); memcpy_2d(Legacy, Awaited), memcpy_2d_async(Legacy, Queued));
forms!((params: *const Memcpy3d) = driver_box_work(params);
    memcpy_3d(Legacy, Awaited), memcpy_3d_async(Legacy, Queued));
forms!((params: *const Memcpy3dPeerParams) = peer_work(params);
    memcpy_3d_peer(Legacy, Awaited), memcpy_3d_peer_async(Legacy, Queued));

api! {
    /// The attributes say where the memory is and may be used early; copies keep the order of the stream all the same.
    fn memcpy_batch_async(
        to: *const *mut c_void, from: *const *mut c_void, sizes: *const usize, count: usize,
        _attributes: *mut c_void, _attribute_indices: *mut usize, _attribute_count: usize,
        failed: *mut usize, of: StreamHandle
    ) {
        if to.is_null() || from.is_null() || sizes.is_null() || count == 0 {
            return Err(HipError::InvalidValue);
        }
        for index in 0..count {
            let (to, from, size) = (*to.add(index), *from.add(index), *sizes.add(index));
            let queued = linear_work(to, from, size, DEFAULT_KIND)
                .and_then(|work| perform(work, of, DefaultStream::Legacy, Completion::Queued));
            if queued.is_err() && !failed.is_null() {
                failed.write(index);
            }
            queued?;
        }
        Ok(())
    }
}

/// A `hipStreamBatchMemOpParams`: one of the value operations.
#[repr(C)]
pub struct ValueOperation {
    operation: c_uint,
    address: *mut c_void,
    value: u64,
    flags: c_uint,
    alias: *mut c_void,
    padding: u64,
}

const _: () = assert!(size_of::<ValueOperation>() == 48);

/// `hipStreamBatchMemOpType` of the operations that the real runtime has.
const WAIT_32: c_uint = 1;
const WRITE_32: c_uint = 2;
const WAIT_64: c_uint = 4;
const WRITE_64: c_uint = 5;

pub unsafe extern "C" fn value_batch(
    of: StreamHandle,
    count: c_uint,
    operations: *const ValueOperation,
    flags: c_uint,
) -> i32 {
    // Most operations of one call, as in the real runtime.
    const MOST: c_uint = 256;
    if operations.is_null() || count == 0 || count > MOST || flags != 0 {
        return run(|| Err(HipError::InvalidValue));
    }
    // SAFETY: the program passes that many.
    for one in unsafe { std::slice::from_raw_parts(operations, count as usize) } {
        let (at, value, flags) = (one.address, one.value, one.flags);
        // SAFETY: the same arguments.
        let code = unsafe {
            match one.operation {
                WAIT_32 => super::value::wait_32(of, at, value as u32, flags, u32::MAX),
                WRITE_32 => super::value::write_32(of, at, value as u32, flags),
                WAIT_64 => super::value::wait_64(of, at, value, flags, u64::MAX),
                WRITE_64 => super::value::write_64(of, at, value, flags),
                _ => run(|| Err(HipError::InvalidValue)),
            }
        };
        if code != crate::abi::error::SUCCESS {
            return code;
        }
    }
    crate::abi::error::SUCCESS
}
