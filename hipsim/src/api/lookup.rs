//! Entry points by name.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::support::{api, put};
use crate::abi::error::{HipError, Result};
use crate::abi::exports::address;
use crate::options;

/// `hipDriverProcAddressQueryResult`: found, or no such symbol.
const FOUND: c_int = 0;
const NOT_FOUND: c_int = 1;
/// `HIP_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`.
const PER_THREAD: u64 = 2;

/// Functions whose name means another since HIP 6, whose header renames them (ROCm/clr, hip_device.cpp, hipGetProcAddress).
const RENAMED: [(&str, &str); 2] = [
    ("hipGetDeviceProperties", "hipGetDevicePropertiesR0600"),
    ("hipChooseDevice", "hipChooseDeviceR0600"),
];

/// The name that a program of this version means: 600 and more is HIP 6, in any of the ways to write it.
fn meant(name: &str, version: c_int) -> &str {
    let renamed = RENAMED
        .iter()
        .find(|(old, _)| *old == name && version >= 600);
    renamed.map_or(name, |(_, new)| new)
}

unsafe fn find(
    name: *const c_char,
    version: c_int,
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
    let name = meant(name, version);
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

api! {
    fn proc_address(name: *const c_char, at: *mut *mut c_void, version: c_int, flags: u64, result: *mut c_int) {
        find(name, version, at, result, flags & PER_THREAD != 0)
    }

    fn proc_address_spt(
        name: *const c_char, at: *mut *mut c_void, version: c_int, _flags: u64, result: *mut c_int
    ) {
        find(name, version, at, result, true)
    }

    /// `hipGetDriverEntryPoint`: the same for the runtime's own version.
    fn driver_entry_point(name: *const c_char, at: *mut *mut c_void, flags: u64, result: *mut c_int) {
        find(
            name,
            options::version(),
            at,
            result,
            flags & PER_THREAD != 0,
        )
    }

    fn driver_entry_point_spt(name: *const c_char, at: *mut *mut c_void, _flags: u64, result: *mut c_int) {
        find(name, options::version(), at, result, true)
    }
}
