//! The few system services that the shim needs: from the kernel itself and,
//! where only the C library can help, from its own functions
//! ([`crate::loader::host`]).

mod call;
mod clock;
mod signals;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

pub use call::{Call, Errno, call};
pub use clock::{now, now_coarse};
pub use signals::{Held, undisturbed};
use xsched_common::gate::ThreadKind;
use xsched_common::units::Nanos;

use crate::loader::host;

/// What our work must not do to the calling thread: change the `errno` that
/// the program sees (the runtime's functions may), or be the place where a
/// cancelled thread ends (with our locks held). Undone when dropped.
pub struct Unseen {
    errno: i32,
    cancel_state: Option<i32>,
}

impl Unseen {
    /// Remembers `errno` and disables cancellation.
    pub fn new() -> Unseen {
        Unseen {
            errno: errno(),
            cancel_state: host::set_cancel_state(host::CANCEL_DISABLE),
        }
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(state) = self.cancel_state {
            host::set_cancel_state(state);
        }
        // SAFETY: always valid for the calling thread.
        unsafe { *libc::__errno_location() = self.errno };
    }
}

/// The calling thread's `errno`.
fn errno() -> i32 {
    // SAFETY: always valid for the calling thread.
    unsafe { *libc::__errno_location() }
}

/// Whether there is more memory than joining takes. Without memory Rust's
/// collections end the process, and a program may well go on.
pub fn has_memory() -> bool {
    const AMPLE: usize = 64 * 1024;
    match map_memory(AMPLE) {
        Ok(memory) => {
            unmap(memory, AMPLE);
            true
        }
        Err(_) => false,
    }
}

/// New zeroed memory.
pub fn map_memory(len: usize) -> Result<usize, Errno> {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    // SAFETY: a new mapping at an address of the kernel's choice.
    unsafe { call(Call::Mmap, [0, len, protection, flags, usize::MAX]) }
}

/// Ends a mapping that nobody uses any more.
pub fn unmap(address: usize, len: usize) {
    // SAFETY: the caller's own mapping.
    let _ = unsafe { call(Call::Munmap, [address, len]) };
}

/// Changes the rights (`PROT_READ`, ...) of the page that holds `address`.
pub fn protect_page_of(address: usize, rights: i32) -> Result<(), Errno> {
    const PAGE: usize = 4096;
    let page = address / PAGE * PAGE;
    // SAFETY: the caller's own business; no memory is passed.
    unsafe { call(Call::Mprotect, [page, PAGE, rights as usize])? };
    Ok(())
}

/// This process.
pub fn pid() -> u32 {
    // SAFETY: no preconditions.
    unsafe { call(Call::GetPid, []) }.unwrap_or(0) as u32
}

/// Whose process it is.
pub fn effective_uid() -> u32 {
    // SAFETY: no preconditions.
    unsafe { call(Call::GetEuid, []) }.unwrap_or(0) as u32
}

/// What a descriptor stands for.
pub fn fstat(fd: i32) -> Result<libc::stat, Errno> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the buffer is large enough and of the kernel's layout, which is
    // glibc's on x86-64; it is read only after success.
    unsafe {
        call(Call::Fstat, [fd as usize, stat.as_mut_ptr() as usize])?;
        Ok(stat.assume_init())
    }
}

/// Sleeps while `*word == expected`, at most `timeout`. Returns early at
/// will: for signals, wakes, a changed word. The flag is the shared one
/// (not FUTEX_PRIVATE_FLAG), because another process wakes; the page may be
/// mapped read-only. A thread may end here, by pthread_exit in a signal
/// handler.
pub fn futex_wait(word: &AtomicU32, expected: u32, timeout: Nanos, held: &Held) {
    // SAFETY: the word is mapped and aligned.
    unsafe { held.sleep(word.as_ptr() as usize, libc::FUTEX_WAIT, expected, timeout) };
}

/// Wakes all threads that sleep on `word`, in whatever process.
pub fn futex_wake_all(word: &AtomicU32) {
    let (word, wake) = (word.as_ptr() as usize, libc::FUTEX_WAKE as usize);
    // SAFETY: waking only reads the address.
    let _ = unsafe { call(Call::Futex, [word, wake, i32::MAX as usize]) };
}

/// Sleeps while the low half of `*word` is `expected`, at most `timeout`. Woken
/// by this process only. A thread may end here too.
pub fn futex_wait_private(word: &AtomicU64, expected: u32, timeout: Nanos, held: &Held) {
    const WAIT: i32 = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // The low half comes first (x86-64).
    let word = word.as_ptr() as usize;
    // SAFETY: the word is mapped and aligned.
    unsafe { held.sleep(word, WAIT, expected, timeout) };
}

/// Wakes all threads of this process that sleep on the low half of `word`.
pub fn futex_wake_private(word: &AtomicU64) {
    const WAKE: i32 = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    let arguments = [word.as_ptr() as usize, WAKE as usize, i32::MAX as usize];
    // SAFETY: waking only reads the address.
    let _ = unsafe { call(Call::Futex, arguments) };
}

/// Lets other threads run.
fn yield_now() {
    // SAFETY: no preconditions.
    let _ = unsafe { call(Call::SchedYield, []) };
}

/// Asks until there is an answer, letting other threads run in between;
/// `None` after 50 ms. A time and not a number of attempts: on a busy machine
/// a single yield may last as long as another thread's time slice.
pub fn yield_until<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    const LONGEST: Nanos = Nanos::from_millis(50);
    if let Some(answer) = ask() {
        return Some(answer);
    }
    let end = now() + LONGEST;
    while now() < end {
        yield_now();
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
        call(Call::SigAltStack, [0, &raw mut stack as usize]).is_ok()
            && stack.ss_flags & libc::SS_ONSTACK != 0
    }
}

/// The main thread's words ([`crate::tls::address`]); zero: not seen so far.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// Looks whether the calling thread is the main one. Only where system calls
/// are expected: a sandbox may kill for `gettid` while the program works.
pub fn know_main_thread() {
    // SAFETY: no preconditions.
    let tid = unsafe { call(Call::GetTid, []) };
    if tid == Ok(pid() as usize) {
        MAIN_THREAD.store(crate::tls::address(), Relaxed);
    }
}

/// Which thread of its process calls. A main thread that the shim has not met
/// at its start, in a fork or at a joining counts as a worker.
pub fn thread_kind() -> ThreadKind {
    if MAIN_THREAD.load(Relaxed) == crate::tls::address() {
        ThreadKind::Main
    } else {
        ThreadKind::Worker
    }
}
