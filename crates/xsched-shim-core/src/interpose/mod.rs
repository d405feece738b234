//! Look-ups by name that lead past the dynamic linker: `dlsym` on a handle of
//! the runtime (Triton, ctypes). Who asks for a function that the library
//! exports gets that one.

pub mod arrivals;

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::callers;
use crate::loader::{self, Hidden, Object};
use crate::options::{Options, Power};
use crate::platform::{Moment, Platform};

static DLSYM: Hidden = Hidden::new(b"dlsym");
static DLVSYM: Hidden = Hidden::new(b"dlvsym");
static DLCLOSE: Hidden = Hidden::new(b"dlclose");

/// Exports `dlsym`, `dlvsym`, `dlclose` and `__gmon_start__` for the platform's
/// library. Unversioned, which every reference to glibc's accepts.
///
/// RTLD_DEFAULT (0) and RTLD_NEXT (-1) mean something relative to the caller,
/// which glibc finds by the return address: for them `dlsym` and `dlvsym` jump,
/// so that it stays the caller's.
#[macro_export]
macro_rules! interpose_lookups {
    ($platform:ty) => {
        /// `dlsym`.
        ///
        /// # Safety
        /// As `dlsym(3)`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn dlsym(
            handle: *mut ::std::ffi::c_void,
            name: *const ::std::ffi::c_char,
        ) -> *mut ::std::ffi::c_void {
            ::std::arch::naked_asm!(
                "lea rax, [rdi + 1]",
                "cmp rax, 1",
                "jbe 2f",
                "mov rdx, qword ptr [rsp]",
                "jmp {by_handle}",
                "2:",
                "push rdi",
                "push rsi",
                "push rdx",
                "call {real}",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "jmp rax",
                by_handle = sym $crate::interpose::dlsym_by_handle::<$platform>,
                real = sym $crate::interpose::real_dlsym,
            )
        }

        /// `dlvsym`, likewise.
        ///
        /// # Safety
        /// As `dlvsym(3)`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn dlvsym(
            handle: *mut ::std::ffi::c_void,
            name: *const ::std::ffi::c_char,
            version: *const ::std::ffi::c_char,
        ) -> *mut ::std::ffi::c_void {
            ::std::arch::naked_asm!(
                "lea rax, [rdi + 1]",
                "cmp rax, 1",
                "jbe 2f",
                "mov rcx, qword ptr [rsp]",
                "jmp {by_handle}",
                "2:",
                "push rdi",
                "push rsi",
                "push rdx",
                "call {real}",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "jmp rax",
                by_handle = sym $crate::interpose::dlvsym_by_handle::<$platform>,
                real = sym $crate::interpose::real_dlvsym,
            )
        }

        /// `dlclose`: afterwards, addresses may mean something else.
        ///
        /// # Safety
        /// As `dlclose(3)`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn dlclose(
            handle: *mut ::std::ffi::c_void,
        ) -> ::std::ffi::c_int {
            // SAFETY: the caller's.
            unsafe { $crate::interpose::close::<$platform>(handle) }
        }

        /// Called by each library that arrives, see
        /// `xsched_shim_core::interpose::arrivals`.
        ///
        /// # Safety
        /// Only by `_init` of crti.o.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn __gmon_start__() {
            ::std::arch::naked_asm!(
                "cmp byte ptr [rip + {watched}], 0",
                "je 2f",
                "mov rdi, qword ptr [rsp]",
                "jmp {arrived}",
                "2:",
                "ret",
                watched = sym $crate::interpose::arrivals::WATCHED,
                arrived = sym $crate::interpose::arrivals::arrived::<$platform>,
            )
        }

        /// Our functions, by name, for who binds others to them.
        pub fn functions() -> $crate::platform::Interposed {
            [
                (b"dlsym", dlsym as *const () as usize),
                (b"dlvsym", dlvsym as *const () as usize),
                (b"dlclose", dlclose as *const () as usize),
            ]
        }
    };
}

/// The C library's function, for the exported one only.
#[doc(hidden)]
pub extern "C-unwind" fn real_dlsym() -> usize {
    DLSYM.address()
}

/// Likewise.
#[doc(hidden)]
pub extern "C-unwind" fn real_dlvsym() -> usize {
    DLVSYM.address()
}

/// `dlsym` on a handle.
///
/// # Safety
/// As `dlsym(3)`; by the exported one only.
#[doc(hidden)]
pub unsafe extern "C-unwind" fn dlsym_by_handle<P: Platform>(
    handle: *mut c_void,
    name: *const c_char,
    return_address: usize,
) -> usize {
    // SAFETY: glibc's own prototype.
    let real: unsafe extern "C-unwind" fn(*mut c_void, *const c_char) -> usize =
        unsafe { std::mem::transmute(DLSYM.address()) };
    // SAFETY: the caller's arguments.
    unsafe { redirect::<P>(real(handle, name), name, return_address) }
}

/// `dlvsym` on a handle.
///
/// # Safety
/// As `dlvsym(3)`; by the exported one only.
#[doc(hidden)]
pub unsafe extern "C-unwind" fn dlvsym_by_handle<P: Platform>(
    handle: *mut c_void,
    name: *const c_char,
    version: *const c_char,
    return_address: usize,
) -> usize {
    // SAFETY: glibc's own prototype.
    let real: unsafe extern "C-unwind" fn(*mut c_void, *const c_char, *const c_char) -> usize =
        unsafe { std::mem::transmute(DLVSYM.address()) };
    // SAFETY: the caller's arguments.
    unsafe { redirect::<P>(real(handle, name, version), name, return_address) }
}

/// Ours instead of `found`, if that is the runtime's definition of a
/// name that we export, and it is not the runtime that asks.
unsafe fn redirect<P: Platform>(found: usize, name: *const c_char, return_address: usize) -> usize {
    if found == 0 {
        return 0;
    }
    // SAFETY: the look-up has read the name.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    // Looking something up in a library that it has just opened is what
    // a program does before the library's first launch.
    if Options::known().is_some() {
        P::prepare(Moment::Use);
    }
    if !P::exports(name) || Options::get().power == Power::Off {
        return found;
    }
    let inside = |object: &Object<'_>| loader::own_contains(object) || P::is_runtime(object);
    if loader::object_at(return_address, inside) == Some(true) {
        return found;
    }
    P::replacement(name, found).unwrap_or(found)
}

/// `dlclose`.
///
/// # Safety
/// As `dlclose(3)`; by the exported one only.
#[doc(hidden)]
pub unsafe extern "C-unwind" fn close<P: Platform>(handle: *mut c_void) -> c_int {
    // SAFETY: glibc's own prototype and the caller's argument.
    // Destructors run inside, hence "C-unwind".
    let result = unsafe {
        let real: unsafe extern "C-unwind" fn(*mut c_void) -> c_int =
            std::mem::transmute(DLCLOSE.address());
        real(handle)
    };
    callers::invalidate();
    P::unmapped();
    result
}
