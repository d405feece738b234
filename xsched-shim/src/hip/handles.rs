//! Look-ups that hand out the runtime's own addresses: `hipGetProcAddress`,
//! and `dlsym` on the runtime's handle (Triton, ctypes). Who asks for a
//! function that we export gets ours.

use std::ffi::{CStr, c_char};

use super::exports::{find, find_twin, own_address};
use super::runtime;

/// Replaces `*out`, which a successful `hipGetProcAddress(name, out, ...)`
/// has written. The address decides and not the name alone: with the
/// per-thread flag the runtime answers with the `_spt` twin.
pub fn substitute(name: u64, out: u64) {
    if name == 0 || out == 0 {
        return;
    }
    let out = out as *mut usize;
    // SAFETY: the runtime has read the name and written the address in the
    // call that has just succeeded.
    let (name, found) = unsafe { (CStr::from_ptr(name as *const c_char), out.read_unaligned()) };
    if let Some(ours) = replacement(name.to_bytes(), found) {
        // SAFETY: as above.
        unsafe { out.write_unaligned(ours) };
    }
}

/// Our function in the place of the runtime's at `found`.
fn replacement(name: &[u8], found: usize) -> Option<usize> {
    [find(name), find_twin(name)]
        .into_iter()
        .flatten()
        .find(|&index| runtime::real(index) == Some(found))
        .and_then(own_address)
}

#[cfg(not(test))]
pub use interposed::ours;

/// The exported `dlsym`, `dlvsym` and `dlclose`. Unversioned, which every
/// reference to glibc's accepts.
#[cfg(not(test))]
mod interposed {
    use std::arch::naked_asm;
    use std::ffi::{CStr, c_char, c_int, c_void};

    use super::super::hidden::Hidden;
    use super::super::{exports, runtime, strict};
    use super::replacement;
    use crate::callers;
    use crate::loader;
    use crate::options::{Options, Power};

    /// Our functions, by name, for who binds others to them.
    pub fn ours() -> [(&'static [u8], usize); 3] {
        [
            (b"dlsym", dlsym as *const () as usize),
            (b"dlvsym", dlvsym as *const () as usize),
            (b"dlclose", dlclose as *const () as usize),
        ]
    }

    static DLSYM: Hidden = Hidden::new(b"dlsym");
    static DLVSYM: Hidden = Hidden::new(b"dlvsym");
    static DLCLOSE: Hidden = Hidden::new(b"dlclose");

    extern "C-unwind" fn real_dlsym() -> usize {
        DLSYM.address()
    }

    extern "C-unwind" fn real_dlvsym() -> usize {
        DLVSYM.address()
    }

    /// `dlsym`. RTLD_DEFAULT (0) and RTLD_NEXT (-1) mean something relative
    /// to the caller, which glibc finds by the return address: for them we
    /// jump, so that it stays the caller's.
    ///
    /// # Safety
    /// As `dlsym(3)`.
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
        naked_asm!(
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
            by_handle = sym dlsym_by_handle,
            real = sym real_dlsym,
        )
    }

    /// `dlvsym`, likewise.
    ///
    /// # Safety
    /// As `dlvsym(3)`.
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn dlvsym(
        handle: *mut c_void,
        name: *const c_char,
        version: *const c_char,
    ) -> *mut c_void {
        naked_asm!(
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
            by_handle = sym dlvsym_by_handle,
            real = sym real_dlvsym,
        )
    }

    unsafe extern "C-unwind" fn dlsym_by_handle(
        handle: *mut c_void,
        name: *const c_char,
        return_address: usize,
    ) -> usize {
        // SAFETY: glibc's own prototype.
        let real: unsafe extern "C-unwind" fn(*mut c_void, *const c_char) -> usize =
            unsafe { std::mem::transmute(DLSYM.address()) };
        // SAFETY: the caller's arguments.
        unsafe { redirect(real(handle, name), name, return_address) }
    }

    unsafe extern "C-unwind" fn dlvsym_by_handle(
        handle: *mut c_void,
        name: *const c_char,
        version: *const c_char,
        return_address: usize,
    ) -> usize {
        // SAFETY: glibc's own prototype.
        let real: unsafe extern "C-unwind" fn(*mut c_void, *const c_char, *const c_char) -> usize =
            unsafe { std::mem::transmute(DLVSYM.address()) };
        // SAFETY: the caller's arguments.
        unsafe { redirect(real(handle, name, version), name, return_address) }
    }

    /// Ours instead of `found`, if that is the runtime's definition of a
    /// name that we export, and it is not the runtime that asks.
    unsafe fn redirect(found: usize, name: *const c_char, return_address: usize) -> usize {
        if found == 0 {
            return 0;
        }
        // SAFETY: the look-up has read the name.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        // Looking something up in a library that it has just opened is what
        // a program does before the library's first launch.
        if let Some(options) = Options::known() {
            strict::install(options, strict::Moment::Use);
        }
        if exports::find(name).is_none() || Options::get().power == Power::Off {
            return found;
        }
        let inside = |object: &loader::Object<'_>| {
            loader::own_contains(object) || runtime::is_runtime(object)
        };
        if loader::object_at(return_address, inside) == Some(true) {
            return found;
        }
        replacement(name, found).unwrap_or(found)
    }

    /// `dlclose`: afterwards, addresses may mean something else.
    ///
    /// # Safety
    /// As `dlclose(3)`.
    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn dlclose(handle: *mut c_void) -> c_int {
        // SAFETY: glibc's own prototype and the caller's argument.
        // Destructors run inside, hence "C-unwind".
        let result = unsafe {
            let real: unsafe extern "C-unwind" fn(*mut c_void) -> c_int =
                std::mem::transmute(DLCLOSE.address());
            real(handle)
        };
        callers::invalidate();
        runtime::recheck();
        result
    }
}
