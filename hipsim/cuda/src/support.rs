//! What the bodies share.

use crate::code::{Code, Result};

/// Runs a body and gives its code; `errno` stays the program's.
pub fn run(body: impl FnOnce() -> Result) -> i32 {
    // SAFETY: always valid for the calling thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    let code = body().map_or_else(|code| code.0, |()| 0);
    // SAFETY: as above.
    unsafe { *errno = before };
    code
}

/// Defines exported functions: each runs its body, in which `?` returns an error, and returns the code of its result.
macro_rules! api {
    ($($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)+) => {$(
        $(#[$meta])*
        #[allow(unused_unsafe, reason = "not every body needs the program's word")]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> i32 {
            // SAFETY: as the API demands of the program: pointers are null or valid for what it reads and writes there,
            // and lists are as long as it says.
            $crate::support::run(|| unsafe { $body })
        }
    )+};
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
