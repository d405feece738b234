//! `libxsched_shim_cuda.so`: preloaded into a CUDA program, it asks at each
//! device command whether the agent lets it through.
//!
//! It stands at the driver's interface, where the CUDA runtime and every
//! library of it come by. This is the half that knows CUDA: the exports and
//! what the driver's functions are called. The other half is
//! [`xsched_shim_core`].

#![cfg_attr(
    test,
    expect(
        dead_code,
        reason = "unit tests leave out the exports, from which all code is reached"
    )
)]

mod cuda;

#[cfg(not(test))]
xsched_shim_core::stand_alone!();

use xsched_common::elf_note::{NOTE_LEN, ShimNote};

/// Says to those who examine the library or a process which ABI it speaks.
#[used]
#[unsafe(link_section = ".note.xsched")]
static NOTE: Note = Note(ShimNote::of_this_build().encode());

/// Notes lie at multiples of four.
#[repr(C, align(4))]
struct Note([u8; NOTE_LEN]);

#[cfg(not(test))]
mod constructor {
    extern "C" fn construct() {
        xsched_shim_core::lifecycle::start::<crate::cuda::Cuda>();
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCT: extern "C" fn() = construct;
}
