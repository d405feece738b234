//! Signals wait while we work.
//!
//! A signal handler may end its thread (pthread_exit) or jump away (siglongjmp)
//! wherever it interrupts us. Amid a call of the runtime that would leave locks
//! held for ever, the runtime's or ours; at most of our instructions nobody can
//! unwind us, and the program would end. So a thread at a gate that is not open
//! holds its signals back, and lets them through while it sleeps: in a few
//! instructions of assembly, from which everything can be unwound.

use std::arch::global_asm;
use std::ffi::c_void;
use std::mem::MaybeUninit;

use super::call::Call;
use xsched_common::units::Nanos;

/// All but those that an instruction of the thread itself raises, whose handler
/// must run at once (SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS).
static HELD: u64 = !(1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 30);

/// The thread's signals are held back.
#[repr(C)]
pub struct Held {
    /// The mask before.
    before: u64,
    /// What the kernel said: not zero where a sandbox forbids it.
    refused: isize,
}

global_asm!(
    // rax = xsched_hold(run: rdi, state: rsi): run(state, &Held), held.
    "    .section .text.xsched_signals,\"ax\",@progbits",
    "    .p2align 4",
    "    .globl xsched_hold",
    "    .hidden xsched_hold",
    "    .type xsched_hold, @function",
    "xsched_hold:",
    "    .cfi_startproc",
    "    sub rsp, 40",
    "    .cfi_adjust_cfa_offset 40",
    "    mov [rsp + 16], rdi",
    "    mov [rsp + 24], rsi",
    "    mov eax, {mask}",
    "    xor edi, edi", // SIG_BLOCK
    "    lea rsi, [rip + {held}]",
    "    mov rdx, rsp",
    "    mov r10d, 8",
    "    syscall",
    "    mov [rsp + 8], rax",
    "    mov rdi, [rsp + 24]",
    "    mov rsi, rsp",
    "    call [rsp + 16]",
    "    cmp qword ptr [rsp + 8], 0",
    "    jne 2f",
    "    mov eax, {mask}",
    "    mov edi, 2", // SIG_SETMASK
    "    mov rsi, rsp",
    "    xor edx, edx",
    "    mov r10d, 8",
    "    syscall",
    "2:",
    "    add rsp, 40",
    "    .cfi_adjust_cfa_offset -40",
    "    ret",
    "    .cfi_endproc",
    "    .size xsched_hold, . - xsched_hold",
    // xsched_sleep(word: rdi, operation: rsi, expected: rdx, timeout: rcx,
    // &Held: r8). The kernel leaves all registers but rax, rcx and r11.
    "    .p2align 4",
    "    .globl xsched_sleep",
    "    .hidden xsched_sleep",
    "    .type xsched_sleep, @function",
    "xsched_sleep:",
    "    .cfi_startproc",
    "    sub rsp, 40",
    "    .cfi_adjust_cfa_offset 40",
    "    mov [rsp], rdi",
    "    mov [rsp + 8], rsi",
    "    mov [rsp + 16], rdx",
    "    mov [rsp + 24], rcx",
    "    cmp qword ptr [r8 + 8], 0",
    "    jne 2f",
    "    mov eax, {mask}",
    "    mov edi, 2",
    "    mov rsi, r8",
    "    xor edx, edx",
    "    mov r10d, 8",
    "    syscall",
    "2:",
    "    mov eax, {futex}",
    "    mov rdi, [rsp]",
    "    mov rsi, [rsp + 8]",
    "    mov rdx, [rsp + 16]",
    "    mov r10, [rsp + 24]",
    "    syscall",
    "    cmp qword ptr [r8 + 8], 0",
    "    jne 3f",
    "    mov eax, {mask}",
    "    xor edi, edi",
    "    lea rsi, [rip + {held}]",
    "    xor edx, edx",
    "    mov r10d, 8",
    "    syscall",
    "3:",
    "    add rsp, 40",
    "    .cfi_adjust_cfa_offset -40",
    "    ret",
    "    .cfi_endproc",
    "    .size xsched_sleep, . - xsched_sleep",
    "    .text",
    mask = const Call::RtSigProcMask.number(),
    futex = const Call::Futex.number(),
    held = sym HELD,
);

unsafe extern "C-unwind" {
    fn xsched_hold(run: unsafe extern "C-unwind" fn(*mut c_void, *const Held), state: *mut c_void);
    fn xsched_sleep(
        word: usize,
        operation: usize,
        expected: usize,
        timeout: *const libc::timespec,
        held: *const Held,
    );
}

/// Runs `f` while the thread's signals are held back. No system call where the
/// gate is open: not for the hot path.
pub fn undisturbed<T, F: FnOnce(&Held) -> T>(f: F) -> T {
    struct State<T, F> {
        f: Option<F>,
        result: MaybeUninit<T>,
    }
    unsafe extern "C-unwind" fn run<T, F: FnOnce(&Held) -> T>(
        state: *mut c_void,
        held: *const Held,
    ) {
        // SAFETY: the state passed below, and the mask on `xsched_hold`'s
        // stack, which both outlive this call.
        let (state, held) = unsafe { (&mut *state.cast::<State<T, F>>(), &*held) };
        if let Some(f) = state.f.take() {
            state.result.write(f(held));
        }
    }
    let mut state = State {
        f: Some(f),
        result: MaybeUninit::uninit(),
    };
    // SAFETY: `run` gets the state that it expects, and is called once; then
    // there is a result.
    unsafe {
        xsched_hold(run::<T, F>, (&raw mut state).cast());
        state.result.assume_init()
    }
}

impl Held {
    /// Sleeps on a futex, while the thread's signals come through. It may end
    /// here.
    ///
    /// # Safety
    /// `word` must be the address of an aligned futex.
    pub(super) unsafe fn sleep(&self, word: usize, operation: i32, expected: u32, timeout: Nanos) {
        let timeout = libc::timespec {
            tv_sec: (timeout.0 / 1_000_000_000) as i64,
            tv_nsec: (timeout.0 % 1_000_000_000) as i64,
        };
        // SAFETY: the caller's, a valid timespec, and the mask before.
        unsafe {
            xsched_sleep(
                word,
                operation as usize,
                expected as usize,
                &raw const timeout,
                self,
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::futex_wait_private;
    use super::*;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

    static HANDLED: AtomicU32 = AtomicU32::new(0);

    extern "C" fn handle(_: i32) {
        HANDLED.fetch_add(1, SeqCst);
    }

    fn blocked() -> [bool; 2] {
        // SAFETY: plain sets of signals; asks only.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set);
            [libc::SIGUSR2, libc::SIGSEGV]
                .map(|signal| libc::sigismember(&raw const set, signal) == 1)
        }
    }

    #[test]
    fn signals_wait_for_the_end_or_a_sleep() {
        // SAFETY: a handler that touches one atomic.
        unsafe { libc::signal(libc::SIGUSR2, handle as *const () as usize) };
        let raise = || {
            // SAFETY: to this thread, which handles it.
            unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
            HANDLED.load(SeqCst)
        };
        assert_eq!((raise(), blocked()), (1, [false; 2]));
        let result = undisturbed(|held| {
            assert_eq!((raise(), blocked()), (1, [true, false]));
            let word = AtomicU64::new(7);
            futex_wait_private(&word, 7, Nanos::from_millis(1), held);
            assert_eq!((HANDLED.load(SeqCst), blocked()), (2, [true, false]));
            assert_eq!(raise(), 2);
            String::from("result")
        });
        assert_eq!((HANDLED.load(SeqCst), blocked()), (3, [false; 2]));
        assert_eq!(result, "result");
    }
}
