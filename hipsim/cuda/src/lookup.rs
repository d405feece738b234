//! `cuGetProcAddress`: the newest form of a function that a version of CUDA has.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::code::{Code, Result};
use crate::exports::{self, Default};
use crate::support::{api, offer, put};

/// Flags: the legacy default stream, or the calling thread's.
const LEGACY: u64 = 1;
const PER_THREAD: u64 = 2;

/// `CUdriverProcAddressQueryResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
enum Status {
    Success = 0,
    SymbolNotFound = 1,
    VersionNotSufficient = 2,
}

/// The export that a name, a version and flags mean: the newest form. A function that has a twin for the per-thread default stream
/// is not handed out in its place, however old the version is that is asked for (seen on driver 580.159.04).
fn find(name: &str, version: c_int, flags: u64) -> std::result::Result<usize, Status> {
    let rows = || exports::look_ups(name);
    if rows().next().is_none() {
        return Err(Status::SymbolNotFound);
    }
    let has_twin = rows().any(|row| row.stream == Default::PerThread);
    let wanted = match flags & PER_THREAD {
        PER_THREAD if has_twin => Default::PerThread,
        _ => Default::Legacy,
    };
    let fits = |row: &&exports::LookUp| row.since <= version && row.stream == wanted;
    let found = rows().filter(fits).max_by_key(|row| row.since);
    found
        .map(|row| row.index)
        .ok_or(Status::VersionNotSufficient)
}

unsafe fn asked(
    name: *const c_char,
    at: *mut *mut c_void,
    version: c_int,
    flags: u64,
) -> Result<std::result::Result<usize, Status>> {
    if name.is_null() || at.is_null() || flags > (LEGACY | PER_THREAD) {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: a C string of the program.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default();
    Ok(find(name, version, flags))
}

api! {
    /// What is not found is an error, and nothing is written.
    fn get(name: *const c_char, at: *mut *mut c_void, version: c_int, flags: u64) {
        let index = asked(name, at, version, flags)?.map_err(|_| Code::NOT_FOUND)?;
        put(at, exports::address(index) as *mut c_void)
    }

    /// What is not found is a null pointer, and the status says why.
    fn get_with_status(
        name: *const c_char, at: *mut *mut c_void, version: c_int, flags: u64, status: *mut c_int,
    ) {
        let found = asked(name, at, version, flags)?;
        offer(status, found.map_or_else(|status| status, |_| Status::Success) as c_int);
        put(at, found.map_or(0, exports::address) as *mut c_void)
    }
}
