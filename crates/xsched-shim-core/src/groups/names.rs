//! Names of threads, by which rules tell them.
//!
//! A thread's name is read once, by a system call in its first launch after
//! anything has changed, and only where the agent has rules for names. That it
//! changes is learnt from the two functions by which programs change it, which
//! the library exports for that; a name that is written to /proc is found at the
//! next change of anything else.

use std::ffi::{c_char, c_int};

use crate::loader::Hidden;
use crate::process::{process, session};
use crate::sys::{self, Call};

static PRCTL: Hidden = Hidden::new(b"prctl");
static SET_NAME: Hidden = Hidden::new(b"pthread_setname_np");

/// Exports `prctl` and `pthread_setname_np`, which rename threads, and
/// `xsched_hint_v1`, which [`hints`](super::hints) describes.
#[macro_export]
macro_rules! export_hints {
    () => {
        /// `prctl`: jumps to the C library's, as it takes any arguments.
        ///
        /// # Safety
        /// As `prctl(2)`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn prctl() {
            ::std::arch::naked_asm!(
                "push rdi",
                "push rsi",
                "push rdx",
                "push rcx",
                "push r8",
                // PR_SET_NAME
                "cmp edi, 15",
                "jne 2f",
                "call {renamed}",
                "2:",
                "call {real}",
                "pop r8",
                "pop rcx",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "jmp rax",
                renamed = sym $crate::groups::renamed,
                real = sym $crate::groups::real_prctl,
            )
        }

        /// `pthread_setname_np`.
        ///
        /// # Safety
        /// As `pthread_setname_np(3)`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn pthread_setname_np(
            thread: usize,
            name: *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            // SAFETY: the caller's.
            unsafe { $crate::groups::set_name(thread, name) }
        }

        /// See `xsched.h`.
        #[unsafe(no_mangle)]
        pub extern "C" fn xsched_hint_v1(what: u32, first: u64, second: u64) -> i64 {
            $crate::groups::hints::take(what, first, second)
        }
    };
}

/// Looks both functions up, so that nobody does later: a fork's child may call
/// them while the dynamic linker's lock is held by a thread that it lacks.
pub fn look_up() {
    PRCTL.address();
    SET_NAME.address();
}

/// The C library's function, for the exported one only.
#[doc(hidden)]
pub extern "C-unwind" fn real_prctl() -> usize {
    let unknown = prctl_by_number as *const () as usize;
    PRCTL.found().unwrap_or(unknown)
}

/// `prctl` before our constructor has run: through a function that we do not hide.
#[unsafe(naked)]
unsafe extern "C" fn prctl_by_number() {
    std::arch::naked_asm!(
        "mov r9, r8",
        "mov r8, rcx",
        "mov rcx, rdx",
        "mov rdx, rsi",
        "mov rsi, rdi",
        "mov edi, {number}",
        "jmp qword ptr [rip + {syscall}@GOTPCREL]",
        number = const libc::SYS_prctl,
        syscall = sym libc::syscall,
    )
}

/// `pthread_setname_np`.
///
/// # Safety
/// As `pthread_setname_np(3)`; by the exported one only.
#[doc(hidden)]
pub unsafe extern "C-unwind" fn set_name(thread: usize, name: *const c_char) -> c_int {
    // SAFETY: the C library's own prototype and the caller's arguments; the
    // thread may be cancelled in there.
    let result = unsafe {
        let real: unsafe extern "C-unwind" fn(usize, *const c_char) -> c_int =
            std::mem::transmute(SET_NAME.address());
        real(thread, name)
    };
    renamed();
    result
}

/// A thread has another name, or will have one before it launches again.
#[doc(hidden)]
pub extern "C-unwind" fn renamed() {
    if let Some(session) = session()
        && !session.control().threads.is_empty()
    {
        process().groups.turn_over();
    }
}

/// Calls `f` with the calling thread's name.
pub(super) fn of_this_thread<T>(f: impl FnOnce(&[u8]) -> T) -> T {
    let mut name = [0u8; 16];
    let arguments = [libc::PR_GET_NAME as usize, name.as_mut_ptr() as usize];
    // SAFETY: sixteen writable bytes, as prctl(2) asks for.
    let _ = unsafe { sys::call(Call::Prctl, arguments) };
    let len = name.iter().position(|byte| *byte == 0);
    f(name.get(..len.unwrap_or(name.len())).unwrap_or(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_s_own_name_is_read() {
        let thread = std::thread::Builder::new().name("train-7".into());
        let name = thread.spawn(|| of_this_thread(<[u8]>::to_vec));
        let name = name.expect("a thread").join().expect("no panic");
        assert_eq!(name, b"train-7");
    }
}
