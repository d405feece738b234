//! Contexts: each device has its primary one, and no other. A thread's current context is that of its current device.

use std::ffi::{c_int, c_uint, c_void};

use super::support::{api, put};
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

unsafe fn give<T>(at: *mut T, value: T) -> Result {
    runtime::get()?;
    // SAFETY: the program's pointer for the result.
    unsafe { put(at, value) }
}

api! {
    /// Makes the device current, too.
    fn create(at: *mut *mut c_void, _flags: c_uint, device: c_int) {
        let device = DeviceIndex::new(device)?;
        runtime::on(device)?;
        put(at, handle(device))?;
        device.make_current();
        Ok(())
    }

    fn use_context(context: *mut c_void) {
        check(context)?.make_current();
        Ok(())
    }

    /// The primary context stays whatever is destroyed.
    fn destroy(context: *mut c_void) { check(context).map(|_| ()) }

    fn current(at: *mut *mut c_void) { give(at, handle(DeviceIndex::current())) }

    fn retain(at: *mut *mut c_void, device: c_int) {
        let device = DeviceIndex::new(device)?;
        runtime::on(device)?;
        put(at, handle(device))
    }

    /// Release, reset and flags of a device's primary context: there is nothing to do.
    fn primary(device: c_int) { DeviceIndex::new(device).and_then(runtime::on).map(|_| ()) }

    fn device(at: *mut c_int) { give(at, DeviceIndex::current().number() as c_int) }

    fn api_version(context: *mut c_void, at: *mut c_int) {
        check(context)?;
        put(at, 4)
    }

    fn flags(at: *mut c_uint) { give(at, 0) }

    fn state(device: c_int, flags: *mut c_uint, active: *mut c_int) {
        runtime::on(DeviceIndex::new(device)?)?;
        put(flags, 0).and_then(|()| put(active, 1))
    }
}
