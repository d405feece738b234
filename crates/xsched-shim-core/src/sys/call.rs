//! System calls, straight from the kernel: through no function that somebody
//! may have replaced or that must be prepared first, without touching `errno`,
//! and at no place where a cancelled thread ends.
//!
//! Every system call of the shim is in one table, which the README repeats:
//! a program that sandboxes itself can tell which ones its filter must allow.

use std::arch::global_asm;
use std::fmt;

/// When the shim makes a system call.
#[cfg_attr(not(test), allow(dead_code, reason = "for the README"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// At its start, while it joins or leaves an agent, in a fork's child, and
    /// for what it says on standard error.
    Joining,
    /// Also while a joined program works; none of them while the gate is open
    /// and the agent does not ask for a sign, but for one `membarrier` in a drain.
    Working,
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Occasion::Joining => "joining",
            Occasion::Working => "working",
        })
    }
}

/// A row of the README's table.
#[cfg_attr(not(test), allow(dead_code, reason = "for the README"))]
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kernel's name.
    pub name: &'static str,
    /// When it is made.
    pub occasion: Occasion,
    /// What for.
    pub purpose: &'static str,
}

macro_rules! calls {
    ($($call:ident = $number:ident $name:literal, $occasion:ident, $purpose:literal;)*) => {
        /// A system call that the shim makes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the table says what each is for")]
        pub enum Call {
            $($call,)*
        }

        #[cfg_attr(not(test), allow(dead_code, reason = "for the README"))]
        impl Call {
            /// All of them, in the order of the table.
            pub const ALL: &[Call] = &[$(Call::$call),*];

            /// Its row of the table.
            pub const fn row(self) -> Row {
                match self {
                    $(Call::$call => Row {
                        name: $name,
                        occasion: Occasion::$occasion,
                        purpose: $purpose,
                    },)*
                }
            }

        }

        impl Call {
            pub(super) const fn number(self) -> isize {
                match self {
                    $(Call::$call => libc::$number as isize,)*
                }
            }
        }
    };
}

calls! {
    Futex = SYS_futex "futex", Working, "sleep at a closed gate, wake who sleeps there";
    RtSigProcMask = SYS_rt_sigprocmask "rt_sigprocmask", Working, "no signal handler runs amid a look at the runtime, or for what a line on standard error raises";
    SchedYield = SYS_sched_yield "sched_yield", Working, "let another thread finish a fence";
    SigAltStack = SYS_sigaltstack "sigaltstack", Working, "a launch by a signal handler amid a wait";
    Fstat = SYS_fstat "fstat", Working, "whether a descriptor is still ours";
    Write = SYS_write "write", Working, "ring the agent; lines on standard error";
    Close = SYS_close "close", Working, "hang up, at the program's end too";
    Mmap = SYS_mmap "mmap", Working, "memory of our own, the agent's pages";
    Munmap = SYS_munmap "munmap", Working, "give memory back";
    Readlink = SYS_readlink "readlink", Working, "the program's name, once";
    ClockGettime = SYS_clock_gettime "clock_gettime", Working, "only where the vDSO has no clock";
    Socket = SYS_socket "socket", Joining, "look for an agent";
    Connect = SYS_connect "connect", Joining, "look for an agent";
    GetSockOpt = SYS_getsockopt "getsockopt", Joining, "whose agent it is";
    SendTo = SYS_sendto "sendto", Joining, "the hello";
    Ppoll = SYS_ppoll "ppoll", Joining, "wait for the answer, at most 50 ms; whether standard error takes a line";
    RecvMsg = SYS_recvmsg "recvmsg", Joining, "the answer";
    Fcntl = SYS_fcntl "fcntl", Joining, "whether what the agent sent is safe";
    Statx = SYS_statx "statx", Joining, "whose run directory it is";
    Prctl = SYS_prctl "prctl", Working, "a thread's name, once, where the agent has rules for names";
    GetPid = SYS_getpid "getpid", Joining, "who we are";
    GetTid = SYS_gettid "gettid", Joining, "whether this is the main thread";
    GetEuid = SYS_geteuid "geteuid", Joining, "whose agent to look for";
    Membarrier = SYS_membarrier "membarrier", Working, "at the start; and once, when another thread than the one that joined finds the device idle";
    Madvise = SYS_madvise "madvise", Joining, "what a fork's child does not inherit";
    Mprotect = SYS_mprotect "mprotect", Joining, "strict mode, when a library arrives";
    RtSigPending = SYS_rt_sigpending "rt_sigpending", Joining, "a line on standard error raises no signal";
    RtSigTimedWait = SYS_rt_sigtimedwait "rt_sigtimedwait", Joining, "likewise";
    TgKill = SYS_tgkill "tgkill", Joining, "a defect of the shim ends the program as abort(3) does";
}

/// An error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Display for Errno {
    /// The words of strerror(3) for what joining meets; the C library's own
    /// function asks for translations, which takes files and locks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            libc::EPERM => "operation not permitted",
            libc::ENOENT => "no such file or directory",
            libc::EINTR => "interrupted",
            libc::EAGAIN => "try again",
            libc::ENOMEM => "no memory",
            libc::EACCES => "permission denied",
            libc::EINVAL => "invalid argument",
            libc::ENFILE | libc::EMFILE => "too many open files",
            libc::EPIPE => "the other side is gone",
            libc::ENOSYS => "no such system call",
            libc::ENAMETOOLONG => "name too long",
            libc::ECONNRESET => "connection reset",
            libc::ECONNREFUSED => "connection refused",
            other => return write!(f, "error {other}"),
        };
        f.write_str(words)
    }
}

global_asm!(
    // For where a thread waits: a signal handler may end it there
    // (pthread_exit), and it is then unwound through us.
    "    .section .text.xsched_system_call,\"ax\",@progbits",
    "    .p2align 4",
    "    .globl xsched_system_call",
    "    .hidden xsched_system_call",
    "    .type xsched_system_call, @function",
    "xsched_system_call:",
    "    .cfi_startproc",
    "    mov rax, rdi",
    "    mov rdi, rsi",
    "    mov rsi, rdx",
    "    mov rdx, rcx",
    "    mov r10, r8",
    "    mov r8, r9",
    "    xor r9d, r9d",
    "    syscall",
    "    ret",
    "    .cfi_endproc",
    "    .size xsched_system_call, . - xsched_system_call",
    "    .text",
);

unsafe extern "C-unwind" {
    /// The kernel's sixth argument is zero.
    fn xsched_system_call(number: isize, a: usize, b: usize, c: usize, d: usize, e: usize)
    -> isize;
}

/// Makes a system call.
///
/// # Safety
/// The arguments must be valid for the call.
pub unsafe fn call<const N: usize>(call: Call, arguments: [usize; N]) -> Result<usize, Errno> {
    const { assert!(N <= 5, "no call of ours takes six arguments") };
    let mut all = [0; 5];
    for (to, from) in all.iter_mut().zip(arguments) {
        *to = from;
    }
    let [a, b, c, d, e] = all;
    // SAFETY: the caller's.
    let result = unsafe { xsched_system_call(call.number(), a, b, c, d, e) };
    // The kernel's errors are the last page of all numbers.
    match usize::try_from(result) {
        Ok(result) => Ok(result),
        Err(_) if result < -4095 => Ok(result.cast_unsigned()),
        Err(_) => Err(Errno(-result as i32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_names_every_call() {
        let readme = include_str!("../../../../xsched-shim/README.md");
        let rows = Call::ALL.iter().map(|call| {
            let row = call.row();
            format!("| `{}` | {} | {} |\n", row.name, row.occasion, row.purpose)
        });
        let table: String = rows.collect();
        assert!(readme.contains(&table), "README.md lacks:\n{table}");
    }

    #[test]
    fn errors_and_results_are_told_apart() {
        // SAFETY: neither call takes memory.
        let (pid, closed) = unsafe { (call(Call::GetPid, []), call(Call::Close, [usize::MAX])) };
        assert_eq!(pid, Ok(std::process::id() as usize));
        assert_eq!(closed, Err(Errno(libc::EBADF)));
    }
}
