//! The simulator's own threads, which are no threads of the program: detached, with all signals blocked; and how they and the
//! program's threads sleep.

use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::sync::atomic::AtomicU32;

/// What a thread runs.
pub type Main = extern "C" fn(*mut c_void) -> *mut c_void;

/// Starts a detached thread that runs until the process ends.
///
/// Not through `std::thread`, whose thread-local values take the loader's lock: the thread that starts the engine may hold
/// locks of the runtime, and the one that holds the loader's may be a library's constructor that waits for them.
///
/// # Errors
/// The system has no room for it.
pub fn start(argument: usize, main: Main) -> io::Result<()> {
    let former = set_signals(None);
    // The new thread inherits the full mask: signals stay with the program's threads.
    // SAFETY: the attributes are initialised before use and destroyed after; `main` takes what is passed.
    let error = unsafe {
        let mut detached = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut detached);
        libc::pthread_attr_setdetachstate(&raw mut detached, libc::PTHREAD_CREATE_DETACHED);
        let mut thread = 0;
        let error = libc::pthread_create(
            &raw mut thread,
            &raw const detached,
            main,
            argument as *mut c_void,
        );
        libc::pthread_attr_destroy(&raw mut detached);
        error
    };
    set_signals(Some(former));
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Sets this thread's signal mask (all signals when none is given) and returns the former one.
fn set_signals(mask: Option<libc::sigset_t>) -> libc::sigset_t {
    // SAFETY: both sets are initialised before use; the mask of the calling thread is replaced.
    unsafe {
        let mut full = std::mem::zeroed();
        libc::sigfillset(&raw mut full);
        let mask = mask.unwrap_or(full);
        let mut former = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, &raw mut former);
        former
    }
}

/// Asks for timers that fire on time instead of up to 50 us late, once per thread.
pub fn precise_timers() {
    thread_local! {
        static DONE: Cell<bool> = const { Cell::new(false) };
    }
    if !DONE.replace(true) {
        // SAFETY: changes an attribute of the calling thread only.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000) };
    }
}

/// Sleeps while `word` is `seen`, for at most `timeout` ns.
pub fn futex_wait(word: &AtomicU32, seen: u32, timeout: Option<u64>) {
    let time = timeout.map(|ns| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word lives across the call; callers look at the state again whatever the outcome.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            seen,
            time,
        )
    };
}

/// Wakes everybody who sleeps on `word`.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word is a valid address; no other argument is used.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            i32::MAX,
        )
    };
}
