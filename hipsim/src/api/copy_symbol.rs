//! Copies to and from variables of device code, and questions about those.

use std::ffi::{c_int, c_void};

use super::copy::linear_work;
use super::forms::forms;
use super::support::{api, put};
use crate::abi::error::{HipError, Result};
use crate::runtime::command::{Address, External};
use crate::runtime::kernels;

/// The device address of a part of a variable.
///
/// # Errors
/// No such variable, or it is smaller.
pub fn symbol_part(symbol: *const c_void, size: usize, offset: usize) -> Result<*mut c_void> {
    let (device, length) = kernels::variable(symbol).ok_or(HipError::InvalidSymbol)?;
    match offset.checked_add(size) {
        Some(end) if end <= length => Ok(Address(device.0 + offset).pointer()),
        _ => Err(HipError::InvalidValue),
    }
}

fn into(
    symbol: *const c_void,
    from: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
) -> Result<External> {
    linear_work(symbol_part(symbol, size, offset)?, from, size, kind)
}

fn out_of(
    to: *mut c_void,
    symbol: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
) -> Result<External> {
    linear_work(to, symbol_part(symbol, size, offset)?, size, kind)
}

forms!((symbol: *const c_void, from: *const c_void, size: usize, offset: usize, kind: c_int)
    = into(symbol, from, size, offset, kind);
    to_symbol(Legacy, Awaited), to_symbol_spt(PerThread, Awaited), to_symbol_async(Legacy, Queued),
    to_symbol_async_spt(PerThread, Queued));
forms!((to: *mut c_void, symbol: *const c_void, size: usize, offset: usize, kind: c_int)
    = out_of(to, symbol, size, offset, kind);
    from_symbol(Legacy, Awaited), from_symbol_spt(PerThread, Awaited), from_symbol_async(Legacy, Queued),
    from_symbol_async_spt(PerThread, Queued));

api! {
    fn symbol_address(at: *mut *mut c_void, symbol: *const c_void) { put(at, symbol_part(symbol, 0, 0)?) }

    fn symbol_size(at: *mut usize, symbol: *const c_void) {
        let (_, size) = kernels::variable(symbol).ok_or(HipError::InvalidSymbol)?;
        put(at, size)
    }
}
