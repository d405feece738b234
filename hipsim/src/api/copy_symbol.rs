//! Copies to and from variables of device code, and questions about those.

use std::ffi::{c_int, c_void};

use super::copy::{Completion, linear};
use super::support::{DefaultStream, put, run};
use crate::abi::error::{HipError, Result};
use crate::abi::types::StreamHandle;
use crate::runtime::command::Address;
use crate::runtime::kernels;

const NULL: StreamHandle = std::ptr::null_mut();

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

pub unsafe extern "C" fn to_symbol(
    symbol: *const c_void,
    from: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
) -> i32 {
    run(|| {
        let to = symbol_part(symbol, size, offset)?;
        linear(
            to,
            from,
            size,
            kind,
            NULL,
            DefaultStream::Legacy,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn to_symbol_spt(
    symbol: *const c_void,
    from: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
) -> i32 {
    run(|| {
        let to = symbol_part(symbol, size, offset)?;
        linear(
            to,
            from,
            size,
            kind,
            NULL,
            DefaultStream::PerThread,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn to_symbol_async(
    symbol: *const c_void,
    from: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
    of: StreamHandle,
) -> i32 {
    run(|| {
        let to = symbol_part(symbol, size, offset)?;
        linear(
            to,
            from,
            size,
            kind,
            of,
            DefaultStream::Legacy,
            Completion::Queued,
        )
    })
}

pub unsafe extern "C" fn to_symbol_async_spt(
    symbol: *const c_void,
    from: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
    of: StreamHandle,
) -> i32 {
    run(|| {
        let to = symbol_part(symbol, size, offset)?;
        linear(
            to,
            from,
            size,
            kind,
            of,
            DefaultStream::PerThread,
            Completion::Queued,
        )
    })
}

pub unsafe extern "C" fn from_symbol(
    to: *mut c_void,
    symbol: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
) -> i32 {
    run(|| {
        let from = symbol_part(symbol, size, offset)?;
        linear(
            to,
            from,
            size,
            kind,
            NULL,
            DefaultStream::Legacy,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn from_symbol_spt(
    to: *mut c_void,
    symbol: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
) -> i32 {
    run(|| {
        let from = symbol_part(symbol, size, offset)?;
        linear(
            to,
            from,
            size,
            kind,
            NULL,
            DefaultStream::PerThread,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn from_symbol_async(
    to: *mut c_void,
    symbol: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
    of: StreamHandle,
) -> i32 {
    run(|| {
        let from = symbol_part(symbol, size, offset)?;
        linear(
            to,
            from,
            size,
            kind,
            of,
            DefaultStream::Legacy,
            Completion::Queued,
        )
    })
}

pub unsafe extern "C" fn from_symbol_async_spt(
    to: *mut c_void,
    symbol: *const c_void,
    size: usize,
    offset: usize,
    kind: c_int,
    of: StreamHandle,
) -> i32 {
    run(|| {
        let from = symbol_part(symbol, size, offset)?;
        linear(
            to,
            from,
            size,
            kind,
            of,
            DefaultStream::PerThread,
            Completion::Queued,
        )
    })
}

pub unsafe extern "C" fn symbol_address(at: *mut *mut c_void, symbol: *const c_void) -> i32 {
    // SAFETY: the program's pointer for the result.
    run(|| unsafe { put(at, symbol_part(symbol, 0, 0)?) })
}

pub unsafe extern "C" fn symbol_size(at: *mut usize, symbol: *const c_void) -> i32 {
    run(|| {
        let (_, size) = kernels::variable(symbol).ok_or(HipError::InvalidSymbol)?;
        // SAFETY: as above.
        unsafe { put(at, size) }
    })
}
