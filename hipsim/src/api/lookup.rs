//! Entry points by name.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::support::{put, run};
use crate::abi::error::{HipError, Result};
use crate::abi::exports::address;

/// `hipDriverProcAddressQueryResult`: found, or no such symbol.
const FOUND: c_int = 0;
const NOT_FOUND: c_int = 1;
/// `HIP_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`.
const PER_THREAD: u64 = 2;

unsafe fn find(
    name: *const c_char,
    at: *mut *mut c_void,
    result: *mut c_int,
    per_thread: bool,
) -> Result {
    if name.is_null() || at.is_null() {
        return Err(HipError::InvalidValue);
    }
    // SAFETY: a C string of the program.
    let name = unsafe { CStr::from_ptr(name) }
        .to_str()
        .map_err(|_| HipError::InvalidValue)?;
    let own = per_thread
        .then(|| address(&format!("{name}_spt")))
        .flatten();
    let found = own.or_else(|| address(name));
    // SAFETY: the program's pointers for the results; the status may be null.
    unsafe {
        let _ = put(result, if found.is_some() { FOUND } else { NOT_FOUND });
        put(at, found.unwrap_or(0) as *mut c_void)?;
    }
    found.map(|_| ()).ok_or(HipError::InvalidValue)
}

pub unsafe extern "C" fn proc_address(
    name: *const c_char,
    at: *mut *mut c_void,
    _version: c_int,
    flags: u64,
    result: *mut c_int,
) -> i32 {
    // SAFETY: the program's arguments.
    run(|| unsafe { find(name, at, result, flags & PER_THREAD != 0) })
}

pub unsafe extern "C" fn proc_address_spt(
    name: *const c_char,
    at: *mut *mut c_void,
    _version: c_int,
    _flags: u64,
    result: *mut c_int,
) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { find(name, at, result, true) })
}

/// `hipGetDriverEntryPoint`: the same without a version.
pub unsafe extern "C" fn driver_entry_point(
    name: *const c_char,
    at: *mut *mut c_void,
    flags: u64,
    result: *mut c_int,
) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { find(name, at, result, flags & PER_THREAD != 0) })
}

pub unsafe extern "C" fn driver_entry_point_spt(
    name: *const c_char,
    at: *mut *mut c_void,
    _flags: u64,
    result: *mut c_int,
) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { find(name, at, result, true) })
}
