//! Libraries as they are mapped, for strict mode.
//!
//! A library that is opened with RTLD_DEEPBIND binds to its own dependencies
//! first: its `dlsym` is the C library's, and what that finds in the runtime is
//! never gated. It calls nothing of ours, so strict mode must begin by itself.
//! To interpose `dlopen` would not do: such a library calls the C library's,
//! and the function takes its caller's search paths by the return address.
//! What does tell is this: crti.o, which is in every library that a C
//! compiler links, calls `__gmon_start__` from `_init` if somebody defines it
//! (gcrt1.o does in programs built with -pg). That is before the library's
//! constructors, after its relocation, and whoever opens it, in any way.
//!
//! Then, in strict mode only, its slots for `dlsym` and the like that lead to
//! the C library are made to lead to us. The gate begins in the table if the
//! runtime has made that. If not, it is left to the first use: the loader's lock
//! is held here, another thread may need it to make the table, and both would
//! wait for each other.

use std::arch::naked_asm;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Release};

use super::strict::{self, Moment};
use super::{handles, runtime};
use crate::loader::{self, Object, Slot, Version};
use crate::options::Options;
use crate::sys;

/// Whether anybody wants to know.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// From here on libraries are looked at, if strict mode is asked for.
pub fn watch() {
    WATCHED.store(strict::is_wanted(Options::get()), Release);
}

/// Called by each library that arrives.
///
/// # Safety
/// Only by `_init` of crti.o.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __gmon_start__() {
    naked_asm!(
        "cmp byte ptr [rip + {watched}], 0",
        "je 2f",
        "mov rdi, qword ptr [rsp]",
        "jmp {arrived}",
        "2:",
        "ret",
        watched = sym WATCHED,
        arrived = sym arrived,
    )
}

unsafe extern "C-unwind" fn arrived(return_address: usize) {
    let _unseen = sys::Unseen::new();
    loader::visit(|object| {
        if !object.maps(return_address, 1) {
            return ControlFlow::Continue(());
        }
        if !loader::own_contains(object) && !runtime::is_runtime(object) {
            lead_to_us(object);
        }
        ControlFlow::Break(())
    });
    strict::install(Options::get(), Moment::Arrival);
}

/// Binds the object's look-ups to ours where they are the C library's, or
/// will be at their first call.
fn lead_to_us(object: &Object<'_>) {
    for (name, ours) in handles::ours() {
        if loader::lookup(object, name, Version::Default).is_some() {
            continue;
        }
        loader::slots(object, name, |slot| {
            if !slot.is_multiple_of(8) || !object.maps(slot, 8) {
                return;
            }
            // SAFETY: an aligned word of the object, which the dynamic linker
            // alone writes to, at first calls.
            let slot_word = unsafe { AtomicUsize::from_ptr(slot as *mut usize) };
            let bound = slot_word.load(Acquire);
            let is_unbound = object.maps(bound, 1);
            let is_libcs = || {
                let is_libc = |o: &Object<'_>| loader::has_dlsym(loader::basename(o.path));
                loader::object_at(bound, is_libc) == Some(true)
            };
            if !is_unbound && !is_libcs() {
                return;
            }
            let sealed = match object.slot_at(slot) {
                Slot::Writable => false,
                Slot::Sealed => true,
                Slot::Fixed => return,
            };
            if sealed && sys::protect_page_of(slot, libc::PROT_READ | libc::PROT_WRITE).is_err() {
                return;
            }
            slot_word.store(ours, Release);
            if sealed {
                let _ = sys::protect_page_of(slot, libc::PROT_READ);
            }
        });
    }
}
