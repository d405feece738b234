//! The few system services that the gate needs, straight from the kernel.

use std::sync::atomic::AtomicU32;

use xsched_common::units::Nanos;

/// Restores `errno` when it goes: no call of ours may change what the
/// program sees there.
pub struct SavedErrno(i32);

impl SavedErrno {
    /// Remembers the calling thread's `errno`.
    pub fn new() -> SavedErrno {
        // SAFETY: always valid for the calling thread.
        SavedErrno(unsafe { *libc::__errno_location() })
    }
}

impl Drop for SavedErrno {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = self.0 };
    }
}

/// The calling thread's `errno`.
pub fn errno() -> i32 {
    SavedErrno::new().0
}

/// The monotonic clock (vDSO, no system call).
pub fn now() -> Nanos {
    clock(libc::CLOCK_MONOTONIC)
}

/// The same clock at the last timer tick: a few nanoseconds to read, a few
/// milliseconds behind.
pub fn now_coarse() -> Nanos {
    clock(libc::CLOCK_MONOTONIC_COARSE)
}

fn clock(id: libc::clockid_t) -> Nanos {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable. These clocks exist since Linux 2.6.32.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Sleeps while `*word == expected`, at most `timeout`. Returns early at
/// will: for signals, wakes, a changed word. The flag is the shared one
/// (not FUTEX_PRIVATE_FLAG), because another process wakes; the page may be
/// mapped read-only.
pub fn futex_wait(word: &AtomicU32, expected: u32, timeout: Nanos) {
    let timeout = libc::timespec {
        tv_sec: (timeout.0 / 1_000_000_000) as i64,
        tv_nsec: (timeout.0 % 1_000_000_000) as i64,
    };
    // SAFETY: the word is mapped and aligned, the timeout a valid timespec.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            &raw const timeout,
        );
    }
}

/// Wakes all threads that sleep on `word`, in whatever process.
pub fn futex_wake_all(word: &AtomicU32) {
    // SAFETY: waking only reads the address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Which thread of its process calls.
pub fn thread_kind() -> xsched_common::gate::ThreadKind {
    // SAFETY: no preconditions.
    let main = unsafe { libc::syscall(libc::SYS_gettid) == i64::from(libc::getpid()) };
    if main {
        xsched_common::gate::ThreadKind::Main
    } else {
        xsched_common::gate::ThreadKind::Worker
    }
}
