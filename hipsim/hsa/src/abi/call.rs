//! What the C functions share: results to statuses, outputs, the children of a fork.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use simdevice::api::Refusal;

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

/// Runs a body and gives its status, see [`simdevice::api::run`].
pub fn run(body: impl FnOnce() -> Result) -> Status {
    simdevice::api::run(body)
}

impl Refusal for Status {
    type Code = Self;

    fn at_all() -> Option<Self> {
        forked().then_some(Self::NOT_INITIALIZED)
    }

    fn code(result: Result) -> Self {
        result.err().unwrap_or(Self::SUCCESS)
    }
}

/// [`simdevice::api!`] for this interface.
macro_rules! api {
    ($($functions:tt)+) => {
        simdevice::api! { $crate::abi::status::Status; $($functions)+ }
    };
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
