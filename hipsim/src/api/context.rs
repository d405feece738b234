//! Contexts. There is one, the device's primary context; it is current on every thread.

use std::ffi::{c_int, c_uint, c_void};

use super::support::{put, run};
use crate::abi::error::{HipError, Result};
use crate::runtime;

/// The one context's handle: a never mapped address.
const PRIMARY: usize = 0x55 << 40;

fn check(context: *mut c_void) -> Result {
    runtime::get()?;
    // Null makes no context current; the next call that needs one gets the primary, as with the real runtime.
    if context.is_null() || context as usize == PRIMARY {
        Ok(())
    } else {
        Err(HipError::InvalidContext)
    }
}

unsafe fn give<T>(at: *mut T, value: T) -> i32 {
    run(|| {
        runtime::get()?;
        // SAFETY: the program's pointer for the result.
        unsafe { put(at, value) }
    })
}

pub unsafe extern "C" fn create(at: *mut *mut c_void, _flags: c_uint, device: c_int) -> i32 {
    if device != 0 {
        return run(|| Err(HipError::InvalidDevice));
    }
    // SAFETY: as above.
    unsafe { give(at, PRIMARY as *mut c_void) }
}

pub unsafe extern "C" fn use_context(context: *mut c_void) -> i32 {
    run(|| check(context))
}

pub unsafe extern "C" fn current(at: *mut *mut c_void) -> i32 {
    // SAFETY: as above.
    unsafe { give(at, PRIMARY as *mut c_void) }
}

pub unsafe extern "C" fn retain(at: *mut *mut c_void, device: c_int) -> i32 {
    // SAFETY: the same arguments.
    unsafe { create(at, 0, device) }
}

pub unsafe extern "C" fn device(at: *mut c_int) -> i32 {
    // SAFETY: as above.
    unsafe { give(at, 0) }
}

pub unsafe extern "C" fn api_version(context: *mut c_void, at: *mut c_int) -> i32 {
    run(|| {
        check(context)?;
        // SAFETY: as above.
        unsafe { put(at, 4) }
    })
}

pub unsafe extern "C" fn flags(at: *mut c_uint) -> i32 {
    // SAFETY: as above.
    unsafe { give(at, 0) }
}

pub unsafe extern "C" fn state(device: c_int, flags: *mut c_uint, active: *mut c_int) -> i32 {
    run(|| {
        runtime::get()?;
        if device != 0 {
            return Err(HipError::InvalidDevice);
        }
        // SAFETY: as above.
        unsafe { put(flags, 0).and_then(|()| put(active, 1)) }
    })
}
