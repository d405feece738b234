//! What the bodies share.

use crate::code::{Code, Result};

/// [`simdevice::api!`] for this interface.
macro_rules! api {
    ($($functions:tt)+) => {
        simdevice::api! { $crate::code::Code; $($functions)+ }
    };
}

pub(crate) use api;

/// Stores a result where the program asked for it.
///
/// # Safety
/// `at` is null or valid for writing a `T`.
///
/// # Errors
/// `INVALID_VALUE` for a null pointer.
pub unsafe fn put<T>(at: *mut T, value: T) -> Result {
    if at.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: not null, so valid by the caller's promise.
    unsafe { at.write(value) };
    Ok(())
}

/// The same where null means that the program does not ask.
///
/// # Safety
/// As [`put`].
pub unsafe fn offer<T>(at: *mut T, value: T) {
    if !at.is_null() {
        // SAFETY: not null, so valid by the caller's promise.
        unsafe { at.write(value) };
    }
}
