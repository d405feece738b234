//! `hipMemset*`.

use std::ffi::{c_int, c_void};

use super::forms::forms;
use crate::abi::error::{HipError, Result};
use crate::abi::types::{Extent, MemsetParams, PitchedPtr};
use crate::runtime::command::{Address, Block, External, RowLayout};

fn fill(to: RowLayout, block: Block, value: u32, unit: usize) -> Result<External> {
    if to.start.0 == 0 && block.width * block.rows * block.planes > 0 {
        return Err(HipError::InvalidValue);
    }
    Ok(External::Fill {
        to,
        block,
        value,
        unit,
    })
}

/// The fill that the parameters of a graph node ask for.
///
/// # Errors
/// A unit that is not 1, 2 or 4 bytes, or an impossible pitch.
pub fn node_work(params: &MemsetParams) -> Result<External> {
    let unit = params.element_size as usize;
    let width = params
        .width
        .checked_mul(unit)
        .ok_or(HipError::InvalidValue)?;
    if !matches!(unit, 1 | 2 | 4) || (params.height > 1 && width > params.pitch) {
        return Err(HipError::InvalidValue);
    }
    let place = RowLayout {
        start: Address::from(params.target),
        row_pitch: params.pitch,
        plane_pitch: 0,
    };
    let block = Block {
        width,
        rows: params.height,
        planes: 1,
    };
    fill(place, block, params.value, unit)
}

fn linear(to: *mut c_void, value: u32, unit: usize, count: usize) -> Result<External> {
    let width = count.checked_mul(unit).ok_or(HipError::InvalidValue)?;
    let place = RowLayout {
        start: Address::from(to),
        row_pitch: 0,
        plane_pitch: 0,
    };
    fill(
        place,
        Block {
            width,
            rows: 1,
            planes: 1,
        },
        value,
        unit,
    )
}

fn rows(
    to: *mut c_void,
    pitch: usize,
    value: c_int,
    width: usize,
    height: usize,
) -> Result<External> {
    if width > pitch {
        return Err(HipError::InvalidValue);
    }
    let place = RowLayout {
        start: Address::from(to),
        row_pitch: pitch,
        plane_pitch: 0,
    };
    fill(
        place,
        Block {
            width,
            rows: height,
            planes: 1,
        },
        value as u32,
        1,
    )
}

fn boxed(to: PitchedPtr, value: c_int, extent: Extent) -> Result<External> {
    let plane_pitch = to
        .pitch
        .checked_mul(to.y_size)
        .ok_or(HipError::InvalidValue)?;
    let place = RowLayout {
        start: Address::from(to.pointer),
        row_pitch: to.pitch,
        plane_pitch,
    };
    fill(
        place,
        Block {
            width: extent.width,
            rows: extent.height,
            planes: extent.depth,
        },
        value as u32,
        1,
    )
}

fn wide_rows(
    to: *mut c_void,
    pitch: usize,
    value: u32,
    unit: u32,
    width: usize,
    height: usize,
) -> Result<External> {
    node_work(&MemsetParams {
        target: to,
        element_size: unit,
        height,
        pitch,
        value,
        width,
    })
}

forms!((to: *mut c_void, value: c_int, size: usize) = linear(to, value as u32, 1, size);
    memset(Legacy, Awaited), memset_spt(PerThread, Awaited), memset_async(Legacy, Queued),
    memset_async_spt(PerThread, Queued));
forms!((to: *mut c_void, value: u8, count: usize) = linear(to, value.into(), 1, count);
    memset_d8(Legacy, Awaited), memset_d8_async(Legacy, Queued));
forms!((to: *mut c_void, value: u16, count: usize) = linear(to, value.into(), 2, count);
    memset_d16(Legacy, Awaited), memset_d16_async(Legacy, Queued));
forms!((to: *mut c_void, value: c_int, count: usize) = linear(to, value as u32, 4, count);
    memset_d32(Legacy, Awaited), memset_d32_async(Legacy, Queued));
forms!((to: *mut c_void, pitch: usize, value: c_int, width: usize, height: usize) = rows(to, pitch, value, width, height);
    memset_2d(Legacy, Awaited), memset_2d_spt(PerThread, Awaited), memset_2d_async(Legacy, Queued),
    memset_2d_async_spt(PerThread, Queued));
forms!((to: PitchedPtr, value: c_int, extent: Extent) = boxed(to, value, extent);
    memset_3d(Legacy, Awaited), memset_3d_spt(PerThread, Awaited), memset_3d_async(Legacy, Queued),
    memset_3d_async_spt(PerThread, Queued));
// The driver API's 2D forms, whose width counts elements.
forms!((to: *mut c_void, pitch: usize, value: u8, width: usize, height: usize)
    = wide_rows(to, pitch, value.into(), 1, width, height);
    memset_d2d8(Legacy, Awaited), memset_d2d8_async(Legacy, Queued));
forms!((to: *mut c_void, pitch: usize, value: u16, width: usize, height: usize)
    = wide_rows(to, pitch, value.into(), 2, width, height);
    memset_d2d16(Legacy, Awaited), memset_d2d16_async(Legacy, Queued));
forms!((to: *mut c_void, pitch: usize, value: u32, width: usize, height: usize)
    = wide_rows(to, pitch, value, 4, width, height);
    memset_d2d32(Legacy, Awaited), memset_d2d32_async(Legacy, Queued));
