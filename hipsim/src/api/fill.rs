//! `hipMemset*`.

use std::ffi::{c_int, c_void};

use super::copy::{Completion, perform};
use super::support::{DefaultStream, run};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{Extent, MemsetParams, PitchedPtr, StreamHandle};
use crate::runtime::command::{Address, Block, External, Place};

fn fill(to: Place, block: Block, value: u32, unit: usize) -> Result<External> {
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
    let place = Place {
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
    let place = Place {
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
    let place = Place {
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
    let place = Place {
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

/// A form of memset: its own arguments, what it fills, on which stream, and whether it waits.
macro_rules! memset {
    ($name:ident ( $($argument:ident : $type:ty),* ) = $fill:expr, $default:ident) => {
        pub unsafe extern "C" fn $name($($argument: $type),*) -> i32 {
            run(|| perform($fill?, std::ptr::null_mut(), DefaultStream::$default, Completion::Awaited))
        }
    };
    ($name:ident ( $($argument:ident : $type:ty),* ) = $fill:expr, $default:ident, queued) => {
        pub unsafe extern "C" fn $name($($argument: $type),*, of: StreamHandle) -> i32 {
            run(|| perform($fill?, of, DefaultStream::$default, Completion::Queued))
        }
    };
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

/// The driver API's 2D forms, whose width counts elements.
macro_rules! memset_d2d {
    ($awaited:ident, $queued:ident, $value:ty, $unit:literal) => {
        memset!(
            $awaited(to: *mut c_void, pitch: usize, value: $value, width: usize, height: usize)
                = wide_rows(to, pitch, value.into(), $unit, width, height),
            Legacy
        );
        memset!(
            $queued(to: *mut c_void, pitch: usize, value: $value, width: usize, height: usize)
                = wide_rows(to, pitch, value.into(), $unit, width, height),
            Legacy,
            queued
        );
    };
}

memset_d2d!(memset_d2d8, memset_d2d8_async, u8, 1);
memset_d2d!(memset_d2d16, memset_d2d16_async, u16, 2);
memset_d2d!(memset_d2d32, memset_d2d32_async, u32, 4);
memset!(memset(to: *mut c_void, value: c_int, size: usize) = linear(to, value as u32, 1, size), Legacy);
memset!(memset_spt(to: *mut c_void, value: c_int, size: usize) = linear(to, value as u32, 1, size), PerThread);
memset!(memset_async(to: *mut c_void, value: c_int, size: usize) = linear(to, value as u32, 1, size), Legacy, queued);
memset!(
    memset_async_spt(to: *mut c_void, value: c_int, size: usize) = linear(to, value as u32, 1, size),
    PerThread,
    queued
);
memset!(memset_d8(to: *mut c_void, value: u8, count: usize) = linear(to, value.into(), 1, count), Legacy);
memset!(memset_d8_async(to: *mut c_void, value: u8, count: usize) = linear(to, value.into(), 1, count), Legacy, queued);
memset!(memset_d16(to: *mut c_void, value: u16, count: usize) = linear(to, value.into(), 2, count), Legacy);
memset!(
    memset_d16_async(to: *mut c_void, value: u16, count: usize) = linear(to, value.into(), 2, count),
    Legacy,
    queued
);
memset!(memset_d32(to: *mut c_void, value: c_int, count: usize) = linear(to, value as u32, 4, count), Legacy);
memset!(
    memset_d32_async(to: *mut c_void, value: c_int, count: usize) = linear(to, value as u32, 4, count),
    Legacy,
    queued
);
memset!(
    memset_2d(to: *mut c_void, pitch: usize, value: c_int, width: usize, height: usize)
        = rows(to, pitch, value, width, height),
    Legacy
);
memset!(
    memset_2d_spt(to: *mut c_void, pitch: usize, value: c_int, width: usize, height: usize)
        = rows(to, pitch, value, width, height),
    PerThread
);
memset!(
    memset_2d_async(to: *mut c_void, pitch: usize, value: c_int, width: usize, height: usize)
        = rows(to, pitch, value, width, height),
    Legacy,
    queued
);
memset!(
    memset_2d_async_spt(to: *mut c_void, pitch: usize, value: c_int, width: usize, height: usize)
        = rows(to, pitch, value, width, height),
    PerThread,
    queued
);
memset!(memset_3d(to: PitchedPtr, value: c_int, extent: Extent) = boxed(to, value, extent), Legacy);
memset!(memset_3d_spt(to: PitchedPtr, value: c_int, extent: Extent) = boxed(to, value, extent), PerThread);
memset!(memset_3d_async(to: PitchedPtr, value: c_int, extent: Extent) = boxed(to, value, extent), Legacy, queued);
memset!(
    memset_3d_async_spt(to: PitchedPtr, value: c_int, extent: Extent) = boxed(to, value, extent),
    PerThread,
    queued
);
