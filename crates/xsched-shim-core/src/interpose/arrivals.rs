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

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Release};

use crate::loader::{self, Object, Slot, Version};
use crate::platform::{Interposed, Moment, Platform};
use crate::sys;

/// Whether anybody wants to know.
#[doc(hidden)]
pub static WATCHED: AtomicBool = AtomicBool::new(false);

/// From here on libraries are looked at, if the platform wants that.
pub fn watch<P: Platform>() {
    WATCHED.store(P::watches_arrivals(), Release);
}

/// A library has arrived whose `_init` goes on at this address.
///
/// # Safety
/// By the exported `__gmon_start__` only.
#[doc(hidden)]
pub unsafe extern "C-unwind" fn arrived<P: Platform>(return_address: usize) {
    let _unseen = sys::Unseen::new();
    loader::visit(|object| {
        if !object.maps(return_address, 1) {
            return ControlFlow::Continue(());
        }
        if !loader::own_contains(object) && !P::is_runtime(object) {
            lead_to_us(object, P::interposed());
        }
        ControlFlow::Break(())
    });
    P::prepare(Moment::Arrival);
}

/// Binds the object's look-ups to ours where they are the C library's, or
/// will be at their first call.
fn lead_to_us(object: &Object<'_>, ours: Interposed) {
    for (name, ours) in ours {
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
