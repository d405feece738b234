//! The unwinder: the one that unwinds through us, where somebody does.
//!
//! A panic of ours is never unwound: raising it fails, and the standard
//! library then ends the process. But a thread may end while it waits at the
//! gate (pthread_exit in a signal handler), and is then unwound through us by
//! the C library, which opens libgcc_s for that. Our landing pads and the
//! personality routine must talk to that very unwinder. So these functions lead
//! to it, wherever it is by then, and a program without it needs none.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::loader::{self, Object, Version};

const FUNCTIONS: [&[u8]; 8] = [
    b"_Unwind_Resume",
    b"_Unwind_GetLanguageSpecificData",
    b"_Unwind_GetIPInfo",
    b"_Unwind_GetRegionStart",
    b"_Unwind_GetTextRelBase",
    b"_Unwind_GetDataRelBase",
    b"_Unwind_SetGR",
    b"_Unwind_SetIP",
];

static KNOWN: [AtomicUsize; FUNCTIONS.len()] = [const { AtomicUsize::new(0) }; _];

/// libgcc_s, which the C library uses; else the first that has the function.
pub extern "C" fn unwinders(index: usize) -> usize {
    let (Some(known), Some(name)) = (KNOWN.get(index), FUNCTIONS.get(index)) else {
        return super::substitutes::abort as *const () as usize;
    };
    let found = known.load(Relaxed);
    if found != 0 {
        return found;
    }
    let search = |is_candidate: fn(&Object<'_>) -> bool| {
        loader::visit(|object| {
            let found = is_candidate(object)
                .then(|| loader::lookup(object, name, Version::Default))
                .flatten();
            found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
        })
    };
    let found = search(|object| loader::basename(object.path).starts_with(b"libgcc_s.so"))
        .or_else(|| search(|_| true))
        // Nobody unwinds without an unwinder.
        .unwrap_or(super::substitutes::abort as *const () as usize);
    known.store(found, Relaxed);
    found
}

/// Defines what leads to the unwinder, and what refuses to unwind.
#[doc(hidden)]
#[macro_export]
macro_rules! __unwinder {
    () => {
        $crate::__lead_on!(0 "_Unwind_Resume");
        $crate::__lead_on!(1 "_Unwind_GetLanguageSpecificData");
        $crate::__lead_on!(2 "_Unwind_GetIPInfo");
        $crate::__lead_on!(3 "_Unwind_GetRegionStart");
        $crate::__lead_on!(4 "_Unwind_GetTextRelBase");
        $crate::__lead_on!(5 "_Unwind_GetDataRelBase");
        $crate::__lead_on!(6 "_Unwind_SetGR");
        $crate::__lead_on!(7 "_Unwind_SetIP");

        // None has more than three arguments.
        ::std::arch::global_asm!(
            "xsched_lead_on:",
            "    .cfi_startproc",
            "    push rdi",
            "    .cfi_adjust_cfa_offset 8",
            "    push rsi",
            "    .cfi_adjust_cfa_offset 8",
            "    push rdx",
            "    .cfi_adjust_cfa_offset 8",
            "    mov edi, eax",
            "    call {unwinders}",
            "    pop rdx",
            "    .cfi_adjust_cfa_offset -8",
            "    pop rsi",
            "    .cfi_adjust_cfa_offset -8",
            "    pop rdi",
            "    .cfi_adjust_cfa_offset -8",
            "    jmp rax",
            "    .cfi_endproc",
            unwinders = sym $crate::standalone::unwind::unwinders,
        );
        $crate::__stand_in!(refused:
            _Unwind_RaiseException,
            _Unwind_Backtrace,
            _Unwind_GetIP,
            _Unwind_DeleteException,
        );
    };
}

/// One of the functions that lead to the unwinder's, by its place in the list.
#[doc(hidden)]
#[macro_export]
macro_rules! __lead_on {
    ($index:literal $name:literal) => {
        ::std::arch::global_asm!(
            concat!("    .globl ", $name),
            concat!("    .hidden ", $name),
            concat!("    .type ", $name, ", @function"),
            concat!($name, ":"),
            "    .cfi_startproc",
            concat!("    mov eax, ", $index),
            "    jmp xsched_lead_on",
            "    .cfi_endproc",
            concat!("    .size ", $name, ", . - ", $name),
        );
    };
}

#[allow(
    non_snake_case,
    missing_docs,
    reason = "C's functions under their names"
)]
pub mod refused {
    use std::ffi::{c_int, c_void};

    /// `_URC_FATAL_PHASE1_ERROR`: whoever raises a panic gives up.
    pub extern "C" fn _Unwind_RaiseException(_exception: *mut c_void) -> c_int {
        3
    }

    /// `_URC_END_OF_STACK`: a report of a panic has no backtrace.
    pub extern "C" fn _Unwind_Backtrace(_each: *mut c_void, _state: *mut c_void) -> c_int {
        5
    }

    pub extern "C" fn _Unwind_GetIP(_context: *mut c_void) -> usize {
        0
    }

    pub extern "C" fn _Unwind_DeleteException(_exception: *mut c_void) {}
}
