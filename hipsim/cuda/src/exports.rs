//! The exported functions. Each is a few instructions that jump through [`TABLE`], which begins as the driver's functions do and so
//! carries probes as cheaply. Nothing inside of the simulator calls an export, so a preloaded library never sees its own calls.

use std::arch::naked_asm;
use std::ffi::CStr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

use crate::code::{Code, Result};
use crate::hip;

/// What runs behind an export.
enum Body {
    /// hipsim's function of this name.
    Hip(&'static CStr),
    /// A function here.
    Own(*const ()),
    /// The same, from the start.
    Early(*const ()),
    /// None.
    Missing,
}

// SAFETY: addresses of functions.
unsafe impl Sync for Body {}

/// Which of the two forms of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// A null stream is the device's.
    Legacy,
    /// It is the calling thread's.
    PerThread,
}

/// By what a function is looked up.
pub struct LookUp {
    pub name: &'static str,
    /// The version of CUDA that first had it.
    pub since: i32,
    pub stream: Default,
    pub index: usize,
}

/// What the exports jump to.
static TABLE: [AtomicPtr<()>; COUNT] =
    [const { AtomicPtr::new(not_initialised as *const () as *mut ()) }; COUNT];

unsafe extern "C" fn not_initialised() -> i32 {
    Code::NOT_INITIALIZED.0
}

unsafe extern "C" fn not_supported() -> i32 {
    Code::NOT_SUPPORTED.0
}

/// Where a twin looks for its stream, and the jump.
macro_rules! body {
    (plain, $index:literal) => {
        concat!("jmp qword ptr [rip + {table} + 8*", $index, "]")
    };
    (stack $offset:literal, $index:literal) => {
        concat!(
            "cmp qword ptr [rsp + ",
            $offset,
            "], 0\njne 2f\nmov qword ptr [rsp + ",
            $offset,
            "], 2\n2: jmp qword ptr [rip + {table} + 8*",
            $index,
            "]"
        )
    };
    ($register:ident, $index:literal) => {
        concat!(
            "test ",
            stringify!($register),
            ", ",
            stringify!($register),
            "\njne 2f\nmov ",
            stringify!($register),
            ", 2\n2: jmp qword ptr [rip + {table} + 8*",
            $index,
            "]"
        )
    };
}

macro_rules! exports {
    ($($index:literal $symbol:ident $place:ident $($offset:literal)?;)*) => {
        $(
            /// See the table of entry points.
            ///
            /// # Safety
            /// As the driver API demands.
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".text.cudasim_exports")]
            pub unsafe extern "C" fn $symbol() {
                naked_asm!(
                    ".cfi_startproc",
                    "push rbp",
                    "mov rbp, rsp",
                    "pop rbp",
                    body!($place $($offset)?, $index),
                    ".cfi_endproc",
                    ".p2align 4, 0xcc",
                    table = sym TABLE,
                )
            }
        )*

        static EXPORTS: [unsafe extern "C" fn(); COUNT] = [$($symbol),*];
    };
}

include!(concat!(env!("OUT_DIR"), "/exports.rs"));

/// The address of an export, as `dlsym` gives it.
pub fn address(index: usize) -> usize {
    EXPORTS.get(index).map_or(0, |&export| export as usize)
}

/// All forms of the function called `name`.
pub fn look_ups(name: &str) -> impl Iterator<Item = &'static LookUp> {
    let first = LOOK_UPS.partition_point(|row| row.name < name);
    LOOK_UPS[first..]
        .iter()
        .take_while(move |row| row.name == name)
}

/// Makes the functions that need no device callable, before any other code of this library runs.
extern "C" fn begin() {
    for (slot, body) in TABLE.iter().zip(&BODIES) {
        if let Body::Early(function) = body {
            slot.store(function.cast_mut(), Relaxed);
        }
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

/// Whether this process is the child of one that had initialised the driver.
static FORKED: AtomicBool = AtomicBool::new(false);

/// A child cannot use what its parent has initialised, and cannot initialise it itself.
unsafe extern "C" fn in_child() {
    FORKED.store(true, Relaxed);
    for (slot, body) in TABLE.iter().zip(&BODIES) {
        if !matches!(body, Body::Early(_)) {
            slot.store((not_initialised as *const ()).cast_mut(), Relaxed);
        }
    }
}

/// Makes all of them callable.
///
/// # Errors
/// `NO_DEVICE` without hipsim's library.
pub fn open() -> Result {
    static ONCE: Once = Once::new();
    hip::open()?;
    if FORKED.load(Relaxed) {
        return Err(Code::NOT_INITIALIZED);
    }
    ONCE.call_once(|| {
        // SAFETY: the handler stores numbers only.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        for (slot, body) in TABLE.iter().zip(&BODIES) {
            let target = match body {
                Body::Hip(name) => hip::address(name),
                Body::Own(function) | Body::Early(function) => Some(*function as usize),
                Body::Missing => None,
            };
            let target = target.unwrap_or(not_supported as *const () as usize);
            slot.store(target as *mut (), Relaxed);
        }
    });
    Ok(())
}
