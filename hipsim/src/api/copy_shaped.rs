//! Copies of rows and boxes.

use std::ffi::{c_int, c_void};

use super::copy::check_kind;
use super::forms::forms;
use crate::abi::error::{HipError, Result};
use crate::abi::types::{Memcpy3dParams, PitchedPtr, Position};
use crate::runtime::command::{Address, Block, External, RowLayout};

/// The copy of rows; none of empty ones, which need no memory.
fn rows_work(
    (to, to_pitch): (*mut c_void, usize),
    (from, from_pitch): (*const c_void, usize),
    (width, height): (usize, usize),
    kind: c_int,
) -> Result<Option<External>> {
    check_kind(kind)?;
    if width == 0 || height == 0 {
        return Ok(None);
    }
    if to.is_null() || from.is_null() {
        return Err(HipError::InvalidValue);
    }
    if width > to_pitch || width > from_pitch {
        return Err(HipError::InvalidPitchValue);
    }
    let place = |start, row_pitch| RowLayout {
        start,
        row_pitch,
        plane_pitch: 0,
    };
    Ok(Some(External::Copy {
        from: place(Address::from(from), from_pitch),
        to: place(Address::from(to), to_pitch),
        block: Block {
            width,
            rows: height,
            planes: 1,
        },
    }))
}

forms!((to: *mut c_void, to_pitch: usize, from: *const c_void, from_pitch: usize, width: usize, height: usize, kind: c_int)
    = rows_work((to, to_pitch), (from, from_pitch), (width, height), kind);
    memcpy_2d(Legacy, Awaited), memcpy_2d_spt(PerThread, Awaited), memcpy_2d_async(Legacy, Queued),
    memcpy_2d_async_spt(PerThread, Queued));

fn corner(of: PitchedPtr, at: Position) -> Result<RowLayout> {
    let plane_pitch = of
        .pitch
        .checked_mul(of.y_size)
        .ok_or(HipError::InvalidValue)?;
    let offset =
        at.z.checked_mul(plane_pitch)
            .zip(at.y.checked_mul(of.pitch));
    let offset = offset.and_then(|(plane, row)| plane.checked_add(row)?.checked_add(at.x));
    let start = (of.pointer as usize).checked_add(offset.ok_or(HipError::InvalidValue)?);
    Ok(RowLayout {
        start: Address(start.ok_or(HipError::InvalidValue)?),
        row_pitch: of.pitch,
        plane_pitch,
    })
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

fn of_program(params: *const Memcpy3dParams) -> Result<External> {
    // SAFETY: the program's structure, null or valid.
    unsafe { box_work(params) }
}

forms!((params: *const Memcpy3dParams) = of_program(params);
    memcpy_3d(Legacy, Awaited), memcpy_3d_spt(PerThread, Awaited), memcpy_3d_async(Legacy, Queued),
    memcpy_3d_async_spt(PerThread, Queued));
