//! The few system services that the gate needs, straight from the kernel.

use std::sync::atomic::{AtomicU32, AtomicU64};

use xsched_common::units::Nanos;

unsafe extern "C" {
    /// pthread_setcancelstate(3); the libc crate lacks it for glibc.
    fn pthread_setcancelstate(state: i32, old: *mut i32) -> i32;
}

unsafe extern "C-unwind" {
    /// syscall(2) for where a thread waits: a signal handler may end it there
    /// (pthread_exit), and is then unwound through us. The libc crate's says
    /// that nothing is, and callers with destructors would end the process.
    #[link_name = "syscall"]
    fn syscall_amid_which_threads_end(number: libc::c_long, ...) -> libc::c_long;
}

const PTHREAD_CANCEL_DISABLE: i32 = 1;

/// What our system calls must not do to the calling thread: change the
/// `errno` that the program sees, or be the place where a cancelled thread
/// ends (with our locks held). Undone when dropped.
pub struct Unseen {
    errno: i32,
    cancel_state: i32,
}

impl Unseen {
    /// Remembers `errno` and disables cancellation.
    pub fn new() -> Unseen {
        let mut cancel_state = 0;
        // SAFETY: an output argument.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut cancel_state) };
        Unseen {
            errno: errno(),
            cancel_state,
        }
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // SAFETY: always valid for the calling thread; the state is the one
        // that was found. glibc allows a null output.
        unsafe {
            pthread_setcancelstate(self.cancel_state, std::ptr::null_mut());
            *libc::__errno_location() = self.errno;
        }
    }
}

/// The calling thread's `errno`.
pub fn errno() -> i32 {
    // SAFETY: always valid for the calling thread.
    unsafe { *libc::__errno_location() }
}

/// Whether the allocator has more to give than joining takes. Without memory
/// Rust's collections end the process, and a program may well go on.
pub fn has_memory() -> bool {
    const AMPLE: usize = 64 * 1024;
    // SAFETY: plain allocation, given back at once. `black_box` keeps the
    // pair from being optimised away.
    unsafe {
        let memory = std::hint::black_box(libc::malloc(AMPLE));
        libc::free(memory);
        !memory.is_null()
    }
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
        syscall_amid_which_threads_end(
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

/// Sleeps while the low half of `*word` is `expected`, at most `timeout`. Woken
/// by this process only.
pub fn futex_wait_private(word: &AtomicU64, expected: u32, timeout: Nanos) {
    let timeout = libc::timespec {
        tv_sec: (timeout.0 / 1_000_000_000) as i64,
        tv_nsec: (timeout.0 % 1_000_000_000) as i64,
    };
    // SAFETY: the word is mapped and aligned, the timeout a valid timespec. The
    // low half comes first (x86-64).
    unsafe {
        syscall_amid_which_threads_end(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            &raw const timeout,
        );
    }
}

/// Wakes all threads of this process that sleep on the low half of `word`.
pub fn futex_wake_private(word: &AtomicU64) {
    const WAKE: i32 = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: waking only reads the address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), WAKE, i32::MAX) };
}

/// Asks until there is an answer, letting other threads run in between;
/// `None` after 50 ms. A time and not a number of attempts: on a busy machine
/// a single yield may last as long as another thread's time slice.
pub fn yield_until<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    const PATIENCE: Nanos = Nanos::from_millis(50);
    if let Some(answer) = ask() {
        return Some(answer);
    }
    let end = now() + PATIENCE;
    while now() < end {
        std::thread::yield_now();
        if let Some(answer) = ask() {
            return Some(answer);
        }
    }
    None
}

/// Where the calling function's stack is.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let address: usize;
    // SAFETY: reads one register.
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) address, options(nomem, nostack, preserves_flags));
    }
    address
}

/// Whether the thread runs on its alternate signal stack.
pub fn on_signal_stack() -> bool {
    // SAFETY: zero is a valid stack_t; asks only.
    unsafe {
        let mut stack: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(std::ptr::null(), &raw mut stack) == 0
            && stack.ss_flags & libc::SS_ONSTACK != 0
    }
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
