//! What the C functions share: results to statuses, outputs, the children of a fork.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::abi::status::{Result, Status};

/// Set in a child forked after its parent used the library. As with the real one, such a child has no device.
static FORKED: AtomicBool = AtomicBool::new(false);

extern "C" fn after_fork_in_child() {
    FORKED.store(true, Relaxed);
}

/// Whether this is a child forked after initialisation: locks may be held by threads it does not have.
pub fn forked() -> bool {
    FORKED.load(Relaxed)
}

/// Makes [`forked`] true in children from now on.
pub fn watch_forks() {
    static ONCE: Once = Once::new();
    // SAFETY: the handler only stores to an atomic.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(after_fork_in_child));
    });
}

/// Runs a body and gives its status. The program's `errno` stays, as the locks inside change it now and then.
pub fn run(body: impl FnOnce() -> Result) -> Status {
    if forked() {
        return Status::NOT_INITIALIZED;
    }
    // SAFETY: always valid for the calling thread, which does not change in between.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    let status = body().err().unwrap_or(Status::SUCCESS);
    // SAFETY: as above.
    unsafe { *errno = before };
    status
}

/// Defines functions of the C interface: each runs its body, in which `?` returns an error, and returns its status.
macro_rules! api {
    ($($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)+) => {$(
        $(#[$meta])*
        #[allow(unused_unsafe, reason = "not every body needs the program's word")]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $crate::abi::status::Status {
            // SAFETY: as the API demands of the program: pointers are null or valid for what it reads and writes there,
            // and lists are as long as it says.
            $crate::abi::call::run(|| unsafe { $body })
        }
    )+};
}

pub(crate) use api;

/// Stores a result where the program asked for it.
///
/// # Safety
/// `at` is null or valid for writing a `T`; it need not be aligned.
///
/// # Errors
/// `INVALID_ARGUMENT` for a null pointer.
pub unsafe fn put<T>(at: *mut T, value: T) -> Result {
    if at.is_null() {
        return Err(Status::INVALID_ARGUMENT);
    }
    // SAFETY: not null, so valid by the caller's promise.
    unsafe { at.write_unaligned(value) };
    Ok(())
}

/// Stores a text with its end.
///
/// # Safety
/// `at` is null or has room for the text and its end, and for `room` bytes, which are cleared first.
///
/// # Errors
/// `INVALID_ARGUMENT` for a null pointer.
pub unsafe fn put_text(at: *mut u8, text: &str, room: usize) -> Result {
    if at.is_null() {
        return Err(Status::INVALID_ARGUMENT);
    }
    let length = if room == 0 {
        text.len()
    } else {
        text.len().min(room - 1)
    };
    // SAFETY: not null; the caller's promise.
    unsafe {
        std::ptr::write_bytes(at, 0, room.max(length + 1));
        std::ptr::copy_nonoverlapping(text.as_ptr(), at, length);
    }
    Ok(())
}

/// A list of the program.
///
/// # Safety
/// `at` points to `count` elements that stay as they are, or `count` is zero.
pub unsafe fn list<'a, T>(at: *const T, count: usize) -> &'a [T] {
    if at.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(at, count) }
}
