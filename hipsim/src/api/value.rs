//! Stream-ordered writes of a value, and waits for one.

use std::ffi::{c_uint, c_void};

use super::support::{DefaultStream, run, stream, submit};
use crate::abi::error::{HipError, Result};
use crate::abi::types::StreamHandle;
use crate::runtime::command::{Address, Command, Compare, External, Width};
use crate::runtime::memory;

/// The memory must be the runtime's: the real one refuses the program's own (ROCm/clr, hip_stream_ops.cpp).
fn check(of: StreamHandle, at: *mut c_void) -> Result {
    if at.is_null() {
        return Err(HipError::InvalidValue);
    }
    let (runtime, id) = stream(of, DefaultStream::Legacy)?;
    runtime.lock().streams.get(id)?;
    let found = memory::containing(Address::from(at));
    found.map(|_| ()).ok_or(HipError::InvalidValue)
}

fn write(of: StreamHandle, at: *mut c_void, value: u64, width: Width) -> i32 {
    run(|| {
        check(of, at)?;
        let write = External::WriteValue {
            at: Address::from(at),
            value,
            width,
        };
        submit(of, DefaultStream::Legacy, &Command::External(write))
    })
}

fn wait(
    of: StreamHandle,
    at: *mut c_void,
    value: u64,
    flags: c_uint,
    mask: u64,
    width: Width,
) -> i32 {
    run(|| {
        check(of, at)?;
        let compare = match flags {
            0 => Compare::GreaterOrEqual,
            1 => Compare::Equal,
            2 => Compare::And,
            3 => Compare::Nor,
            _ => return Err(HipError::InvalidValue),
        };
        let wait = External::WaitValue {
            at: Address::from(at),
            value,
            mask,
            width,
            compare,
        };
        submit(of, DefaultStream::Legacy, &Command::External(wait))
    })
}

pub unsafe extern "C" fn write_32(
    of: StreamHandle,
    at: *mut c_void,
    value: u32,
    _flags: c_uint,
) -> i32 {
    write(of, at, value.into(), Width::Four)
}

pub unsafe extern "C" fn write_64(
    of: StreamHandle,
    at: *mut c_void,
    value: u64,
    _flags: c_uint,
) -> i32 {
    write(of, at, value, Width::Eight)
}

pub unsafe extern "C" fn wait_32(
    of: StreamHandle,
    at: *mut c_void,
    value: u32,
    flags: c_uint,
    mask: u32,
) -> i32 {
    wait(of, at, value.into(), flags, mask.into(), Width::Four)
}

pub unsafe extern "C" fn wait_64(
    of: StreamHandle,
    at: *mut c_void,
    value: u64,
    flags: c_uint,
    mask: u64,
) -> i32 {
    wait(of, at, value, flags, mask, Width::Eight)
}
