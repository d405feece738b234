//! Contexts: each device has its primary one, and no other. A thread's current context is that of its current device.

use std::ffi::{c_int, c_uint, c_void};

use super::support::{put, run};
use crate::abi::error::{HipError, Result};
use crate::runtime;
use crate::runtime::devices::{self, DeviceIndex};

/// Handle of the first device's context, a never mapped address; the others follow.
const PRIMARY: usize = 0x55 << 40;
const STEP: usize = 16;

fn handle(device: DeviceIndex) -> *mut c_void {
    (PRIMARY + device.number() * STEP) as *mut c_void
}

/// The device of a context. Null makes no context current; the next call that needs one gets the primary of the current
/// device, as with the real runtime.
fn check(context: *mut c_void) -> Result<DeviceIndex> {
    runtime::get()?;
    if context.is_null() {
        return Ok(DeviceIndex::current());
    }
    device_of(context).ok_or(HipError::InvalidContext)
}

/// The device of a context that is not null.
pub fn device_of(context: *mut c_void) -> Option<DeviceIndex> {
    devices::all().find(|device| handle(*device) == context)
}

unsafe fn give<T>(at: *mut T, value: T) -> i32 {
    run(|| {
        runtime::get()?;
        // SAFETY: the program's pointer for the result.
        unsafe { put(at, value) }
    })
}

/// Makes the device current, too.
pub unsafe extern "C" fn create(at: *mut *mut c_void, _flags: c_uint, device: c_int) -> i32 {
    run(|| {
        let device = DeviceIndex::new(device)?;
        runtime::on(device)?;
        // SAFETY: as above.
        unsafe { put(at, handle(device)) }?;
        device.make_current();
        Ok(())
    })
}

pub unsafe extern "C" fn use_context(context: *mut c_void) -> i32 {
    run(|| {
        check(context)?.make_current();
        Ok(())
    })
}

/// The primary context stays whatever is destroyed.
pub unsafe extern "C" fn destroy(context: *mut c_void) -> i32 {
    run(|| check(context).map(|_| ()))
}

pub unsafe extern "C" fn current(at: *mut *mut c_void) -> i32 {
    // SAFETY: as above.
    unsafe { give(at, handle(DeviceIndex::current())) }
}

pub unsafe extern "C" fn retain(at: *mut *mut c_void, device: c_int) -> i32 {
    run(|| {
        let device = DeviceIndex::new(device)?;
        runtime::on(device)?;
        // SAFETY: as above.
        unsafe { put(at, handle(device)) }
    })
}

/// Release, reset and flags of a device's primary context: there is nothing to do.
pub unsafe extern "C" fn primary(device: c_int) -> i32 {
    run(|| DeviceIndex::new(device).and_then(runtime::on).map(|_| ()))
}

pub unsafe extern "C" fn device(at: *mut c_int) -> i32 {
    // SAFETY: as above.
    unsafe { give(at, DeviceIndex::current().number() as c_int) }
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
        runtime::on(DeviceIndex::new(device)?)?;
        // SAFETY: as above.
        unsafe { put(flags, 0).and_then(|()| put(active, 1)) }
    })
}
