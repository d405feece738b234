//! Tells xsched which of a program's GPU work matters.
//!
//! The functions look for xsched's shim in the running program and do nothing
//! where it is not there. A hint is a wish: the agent decides what it may do
//! (`docs/HINTS.md`), and [`status`] says what came of it.
//!
//! ```
//! use xsched_hint::{Class, burst, priority, status};
//!
//! // Batch work, until the end of the block.
//! {
//!     let _low = priority(Class::Low);
//!     // ... launches ...
//! }
//!
//! // A request: latencies become those of requests.
//! {
//!     let _request = burst();
//!     // ... launches and waits ...
//! }
//!
//! if !status().joined {
//!     eprintln!("not scheduled");
//! }
//! ```

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::sync::OnceLock;

/// A class, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Batch work: runs in the gaps.
    Low = 0,
    /// What processes are that nobody has classified.
    Normal = 1,
    /// Online services.
    High = 2,
    /// Above everything.
    Realtime = 3,
}

impl Class {
    fn from_raw(raw: i64) -> Option<Class> {
        match raw {
            0 => Some(Class::Low),
            1 => Some(Class::Normal),
            2 => Some(Class::High),
            3 => Some(Class::Realtime),
            _ => None,
        }
    }
}

/// How the calling thread stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status {
    /// The shim is there and has an agent.
    pub joined: bool,
    /// The class of this thread's commands now; `None` while not joined.
    pub thread_class: Option<Class>,
    /// The process's; `None` while not joined.
    pub process_class: Option<Class>,
    /// What this thread asked for.
    pub asked: Option<Class>,
}

type Hint = extern "C" fn(u32, u64, u64) -> i64;

fn call(what: u32, first: u64, second: u64) -> Option<i64> {
    static HINT: OnceLock<Option<Hint>> = OnceLock::new();
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    let hint = HINT.get_or_init(|| {
        // SAFETY: a null handle is RTLD_DEFAULT, and the name ends with a NUL.
        let found = unsafe { dlsym(std::ptr::null_mut(), c"xsched_hint_v1".as_ptr()) };
        // SAFETY: the shim's function of this name has this prototype (xsched.h).
        (!found.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, Hint>(found) })
    });
    hint.map(|hint| hint(what, first, second))
}

fn wanted(class: Option<Class>) -> u64 {
    class.map_or(u64::MAX, |class| class as u64)
}

/// Whether the shim is in this program.
pub fn is_present() -> bool {
    call(5, 0, 0).is_some()
}

/// Gives the calling thread a class, or with `None` takes it back; the one
/// before. Threads do not inherit it from the thread that creates them.
pub fn set_thread_class(class: Option<Class>) -> Option<Class> {
    call(1, wanted(class), 0).and_then(Class::from_raw)
}

/// Gives a stream a class, over that of whoever launches on it, or takes it back;
/// the one before. `stream` is the handle that the runtime knows it by, and is
/// only compared. A program has at most 64 such streams; the class ends
/// with the stream.
pub fn set_stream_class(stream: *const c_void, class: Option<Class>) -> Option<Class> {
    call(2, stream as u64, wanted(class)).and_then(Class::from_raw)
}

/// How the calling thread stands.
pub fn status() -> Status {
    let raw = call(5, 0, 0).unwrap_or(0);
    let class = |shift: u32| Class::from_raw((raw >> shift & 0xff) - 1);
    Status {
        joined: raw & 1 == 1,
        thread_class: class(8),
        process_class: class(16),
        asked: class(24),
    }
}

/// The calling thread has a class until this is dropped.
#[derive(Debug)]
#[must_use = "the class ends when this is dropped"]
pub struct Priority {
    before: Option<Class>,
    /// It belongs to its thread.
    thread: PhantomData<*const ()>,
}

/// Gives the calling thread a class until the result is dropped.
pub fn priority(class: Class) -> Priority {
    Priority {
        before: set_thread_class(Some(class)),
        thread: PhantomData,
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        set_thread_class(self.before);
    }
}

/// A request of the calling thread, until it is dropped.
#[derive(Debug)]
#[must_use = "the request ends when this is dropped"]
pub struct Burst(PhantomData<*const ()>);

/// A request begins in the calling thread. One that is open ends there.
pub fn burst() -> Burst {
    call(3, 0, 0);
    Burst(PhantomData)
}

impl Drop for Burst {
    fn drop(&mut self) {
        call(4, 0, 0);
    }
}

/// The example of the document.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/HINTS.md")]
mod hints {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_without_the_shim() {
        assert!(!is_present());
        let outer = priority(Class::Low);
        assert_eq!(set_thread_class(Some(Class::High)), None);
        drop(outer);
        assert_eq!(set_stream_class(std::ptr::null(), Some(Class::Low)), None);
        drop(burst());
        assert_eq!(status(), Status::default());
    }
}
