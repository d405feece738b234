//! Copies of rows and boxes.

use std::ffi::{c_int, c_void};

use super::copy::{Completion, check_kind, perform};
use super::support::{DefaultStream, run};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{Memcpy3dParams, PitchedPtr, Position, StreamHandle};
use crate::runtime::command::{Address, Block, External, Place};

struct Rows {
    to: *mut c_void,
    to_pitch: usize,
    from: *const c_void,
    from_pitch: usize,
    width: usize,
    height: usize,
    kind: c_int,
}

impl Rows {
    fn copy(self, of: StreamHandle, default: DefaultStream, completion: Completion) -> Result {
        check_kind(self.kind)?;
        if self.width == 0 || self.height == 0 {
            return Ok(());
        }
        if self.to.is_null() || self.from.is_null() {
            return Err(HipError::InvalidValue);
        }
        if self.width > self.to_pitch || self.width > self.from_pitch {
            return Err(HipError::InvalidPitchValue);
        }
        let place = |start, row_pitch| Place {
            start,
            row_pitch,
            plane_pitch: 0,
        };
        let copy = External::Copy {
            from: place(Address::from(self.from), self.from_pitch),
            to: place(Address::from(self.to), self.to_pitch),
            block: Block {
                width: self.width,
                rows: self.height,
                planes: 1,
            },
        };
        perform(copy, of, default, completion)
    }
}

/// The two synchronous and two asynchronous forms of a 2D copy.
macro_rules! copy_2d {
    ($name:ident, $default:ident) => {
        pub unsafe extern "C" fn $name(
            to: *mut c_void,
            to_pitch: usize,
            from: *const c_void,
            from_pitch: usize,
            width: usize,
            height: usize,
            kind: c_int,
        ) -> i32 {
            let rows = Rows {
                to,
                to_pitch,
                from,
                from_pitch,
                width,
                height,
                kind,
            };
            run(|| {
                rows.copy(
                    std::ptr::null_mut(),
                    DefaultStream::$default,
                    Completion::Awaited,
                )
            })
        }
    };
    ($name:ident, $default:ident, queued) => {
        pub unsafe extern "C" fn $name(
            to: *mut c_void,
            to_pitch: usize,
            from: *const c_void,
            from_pitch: usize,
            width: usize,
            height: usize,
            kind: c_int,
            of: StreamHandle,
        ) -> i32 {
            let rows = Rows {
                to,
                to_pitch,
                from,
                from_pitch,
                width,
                height,
                kind,
            };
            run(|| rows.copy(of, DefaultStream::$default, Completion::Queued))
        }
    };
}

copy_2d!(memcpy_2d, Legacy);
copy_2d!(memcpy_2d_spt, PerThread);
copy_2d!(memcpy_2d_async, Legacy, queued);
copy_2d!(memcpy_2d_async_spt, PerThread, queued);

fn corner(of: PitchedPtr, at: Position) -> Result<Place> {
    let plane_pitch = of
        .pitch
        .checked_mul(of.y_size)
        .ok_or(HipError::InvalidValue)?;
    let offset =
        at.z.checked_mul(plane_pitch)
            .zip(at.y.checked_mul(of.pitch));
    let offset = offset.and_then(|(plane, row)| plane.checked_add(row)?.checked_add(at.x));
    let start = (of.pointer as usize).checked_add(offset.ok_or(HipError::InvalidValue)?);
    Ok(Place {
        start: Address(start.ok_or(HipError::InvalidValue)?),
        row_pitch: of.pitch,
        plane_pitch,
    })
}

unsafe fn boxed(
    params: *const Memcpy3dParams,
    of: StreamHandle,
    default: DefaultStream,
    completion: Completion,
) -> Result {
    // SAFETY: the caller's promise.
    perform(unsafe { box_work(params) }?, of, default, completion)
}

/// The copy that the parameters of a 3D copy ask for.
///
/// # Safety
/// `params` is null or valid.
///
/// # Errors
/// Null or unknown values; arrays.
pub unsafe fn box_work(params: *const Memcpy3dParams) -> Result<External> {
    // SAFETY: the program's structure, null or valid.
    let params = unsafe { params.as_ref() }.ok_or(HipError::InvalidValue)?;
    check_kind(params.kind)?;
    if !params.source_array.is_null() || !params.target_array.is_null() {
        return Err(HipError::NotSupported);
    }
    if params.source.pointer.is_null() || params.target.pointer.is_null() {
        return Err(HipError::InvalidValue);
    }
    Ok(External::Copy {
        from: corner(params.source, params.source_position)?,
        to: corner(params.target, params.target_position)?,
        block: Block {
            width: params.extent.width,
            rows: params.extent.height,
            planes: params.extent.depth,
        },
    })
}

pub unsafe extern "C" fn memcpy_3d(params: *const Memcpy3dParams) -> i32 {
    // SAFETY: the program's structure.
    run(|| unsafe {
        boxed(
            params,
            std::ptr::null_mut(),
            DefaultStream::Legacy,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn memcpy_3d_spt(params: *const Memcpy3dParams) -> i32 {
    // SAFETY: as above.
    run(|| unsafe {
        boxed(
            params,
            std::ptr::null_mut(),
            DefaultStream::PerThread,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn memcpy_3d_async(params: *const Memcpy3dParams, of: StreamHandle) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { boxed(params, of, DefaultStream::Legacy, Completion::Queued) })
}

pub unsafe extern "C" fn memcpy_3d_async_spt(
    params: *const Memcpy3dParams,
    of: StreamHandle,
) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { boxed(params, of, DefaultStream::PerThread, Completion::Queued) })
}
