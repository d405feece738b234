//! The functions of the C library that the shim cannot do without.
//!
//! They are looked up in the C library itself and not imported: what an import
//! leads to may be a sanitizer's function, which must be prepared before its
//! first call, or the program's own, which looks the real one up with `dlsym`
//! and so with us (both have `dl_iterate_phdr`).
//!
//! "C-unwind" where a thread may end amid the call, by pthread_exit in a signal
//! handler.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};

use super::{Version, chain, lookup, objects};

/// A function of the C library, looked up on first use.
struct Function {
    name: &'static [u8],
    address: AtomicUsize,
}

/// Marks a function that the C library lacks.
const ABSENT: usize = 1;

impl Function {
    const fn new(name: &'static str) -> Function {
        Function {
            name: name.as_bytes(),
            address: AtomicUsize::new(0),
        }
    }

    fn address(&self) -> Option<usize> {
        match self.address.load(Acquire) {
            0 => {
                let found = chain::libc().and_then(|c| lookup(&c, self.name, Version::Default));
                self.address.store(found.unwrap_or(ABSENT), Release);
                found
            }
            ABSENT => None,
            known => Some(known),
        }
    }
}

static DL_ITERATE_PHDR: Function = Function::new("dl_iterate_phdr");
static SET_CANCEL_STATE: Function = Function::new("pthread_setcancelstate");
static CXA_ATEXIT: Function = Function::new("__cxa_atexit");
/// What glibc's pthread_atfork calls, which is not in its library.
static REGISTER_ATFORK: Function = Function::new("__register_atfork");
/// musl's.
static PTHREAD_ATFORK: Function = Function::new("pthread_atfork");

/// What `dl_iterate_phdr` calls for each object.
pub type EachObject =
    unsafe extern "C-unwind" fn(*mut libc::dl_phdr_info, libc::size_t, *mut c_void) -> c_int;

/// dl_iterate_phdr(3).
///
/// # Safety
/// `each` must be able to take `state`.
pub unsafe fn dl_iterate_phdr(each: EachObject, state: *mut c_void) {
    let Some(address) = DL_ITERATE_PHDR.address() else {
        return;
    };
    // SAFETY: the C library's own prototype, and the caller's arguments.
    unsafe {
        let iterate: unsafe extern "C-unwind" fn(EachObject, *mut c_void) -> c_int =
            std::mem::transmute(address);
        iterate(each, state);
    }
}

/// `PTHREAD_CANCEL_DISABLE`, in glibc and musl.
pub const CANCEL_DISABLE: c_int = 1;

/// pthread_setcancelstate(3); the state before.
pub fn set_cancel_state(state: c_int) -> Option<c_int> {
    let address = SET_CANCEL_STATE.address()?;
    let mut before = 0;
    // SAFETY: the C library's own prototype; an output argument.
    unsafe {
        let set: unsafe extern "C-unwind" fn(c_int, *mut c_int) -> c_int =
            std::mem::transmute(address);
        set(state, &raw mut before);
    }
    Some(before)
}

/// atexit(3).
pub fn at_exit(handler: extern "C" fn(*mut c_void)) {
    let Some(address) = CXA_ATEXIT.address() else {
        return;
    };
    // SAFETY: the prototype of the Itanium C++ ABI, 3.3.6.3. No library's
    // unloading calls the handler early, and ours is never unloaded.
    unsafe {
        let register: unsafe extern "C" fn(
            extern "C" fn(*mut c_void),
            *mut c_void,
            *mut c_void,
        ) -> c_int = std::mem::transmute(address);
        register(handler, std::ptr::null_mut(), std::ptr::null_mut());
    }
}

/// pthread_atfork(3), in the child.
pub fn at_fork(in_child: unsafe extern "C" fn()) {
    type Handler = Option<unsafe extern "C" fn()>;
    // SAFETY: glibc's prototype (nptl/register-atfork.c) and musl's; our
    // library, whose unloading would take the handler back, stays.
    unsafe {
        if let Some(address) = REGISTER_ATFORK.address() {
            let register: unsafe extern "C" fn(Handler, Handler, Handler, *mut c_void) -> c_int =
                std::mem::transmute(address);
            register(None, None, Some(in_child), std::ptr::null_mut());
        } else if let Some(address) = PTHREAD_ATFORK.address() {
            let register: unsafe extern "C" fn(Handler, Handler, Handler) -> c_int =
                std::mem::transmute(address);
            register(None, None, Some(in_child));
        }
    }
}

/// getenv(3). The list of variables is a variable of the C library, or of the
/// program if that refers to it: the first definition in load order.
///
/// # Safety
/// No thread may change the environment meanwhile.
pub unsafe fn environment(name: &CStr) -> Option<Vec<u8>> {
    type Variables = *const *const c_char;
    let list = objects::visit(
        |object| match lookup(object, b"__environ", Version::Default) {
            Some(address) => std::ops::ControlFlow::Break(address),
            None => std::ops::ControlFlow::Continue(()),
        },
    )?;
    // SAFETY: the variable that getenv reads.
    let mut next = unsafe { *(list as *const Variables) };
    if next.is_null() {
        return None;
    }
    // SAFETY: the list ends with a null pointer, and each variable with a NUL.
    unsafe {
        while !(*next).is_null() {
            let variable = CStr::from_ptr(*next).to_bytes();
            let value = variable
                .strip_prefix(name.to_bytes())
                .and_then(|rest| rest.strip_prefix(b"="));
            if let Some(value) = value {
                return Some(value.to_vec());
            }
            next = next.add(1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_the_c_librarys_own() {
        for (function, linked) in [
            (&DL_ITERATE_PHDR, libc::dl_iterate_phdr as *const ()),
            (&PTHREAD_ATFORK, std::ptr::null()),
        ] {
            let expected = (!linked.is_null()).then_some(linked as usize);
            assert_eq!(function.address(), expected);
            assert_eq!(function.address(), expected, "and stays so");
        }
        assert!(REGISTER_ATFORK.address().is_some() && CXA_ATEXIT.address().is_some());
    }

    #[test]
    fn cancellation_is_put_back() {
        let before = set_cancel_state(CANCEL_DISABLE).expect("glibc has it");
        assert_eq!(set_cancel_state(before), Some(CANCEL_DISABLE));
    }

    #[test]
    fn variables_are_those_of_the_environment() {
        // SAFETY: no test of this library changes the environment.
        let value = |name| unsafe { environment(name) };
        let expected = std::env::var_os("PATH").expect("cargo sets it");
        assert_eq!(value(c"PATH").as_deref(), Some(expected.as_encoded_bytes()));
        assert_eq!(value(c"PAT"), None);
        assert_eq!(value(c"XSCHED_NO_SUCH_VARIABLE"), None);
    }
}
