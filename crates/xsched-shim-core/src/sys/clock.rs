//! The monotonic clock, from the kernel's vDSO itself: the C library's
//! function may be somebody else's (libfaketime stands still, a sanitizer's
//! must be prepared first).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use xsched_common::units::Nanos;

use super::call::{Call, call};
use crate::loader::{self, Version};

/// The monotonic clock: no system call where there is a vDSO.
pub fn now() -> Nanos {
    read(libc::CLOCK_MONOTONIC)
}

/// The same clock at the last timer tick: a few nanoseconds to read, a few
/// milliseconds behind.
pub fn now_coarse() -> Nanos {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

type Clock = unsafe extern "C-unwind" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

static CLOCK: AtomicUsize = AtomicUsize::new(0);

fn read(id: libc::clockid_t) -> Nanos {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let known = match CLOCK.load(Relaxed) {
        0 => find(),
        known => known,
    };
    // SAFETY: the vDSO's function of this prototype (Linux,
    // Documentation/ABI/stable/vdso), or ours.
    let clock: Clock = unsafe { std::mem::transmute(known) };
    // SAFETY: `time` is writable. These clocks exist since Linux 2.6.32.
    if unsafe { clock(id, &raw mut time) } != 0 {
        // SAFETY: as above.
        unsafe { ask_the_kernel(id, &raw mut time) };
    }
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cold]
fn find() -> usize {
    let clock = loader::vdso()
        .and_then(|vdso| loader::lookup(&vdso, b"__vdso_clock_gettime", Version::Default))
        .unwrap_or(ask_the_kernel as *const () as usize);
    CLOCK.store(clock, Relaxed);
    clock
}

unsafe extern "C-unwind" fn ask_the_kernel(
    id: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    // SAFETY: the caller's.
    let asked = unsafe { call(Call::ClockGettime, [id as usize, time as usize]) };
    if asked.is_ok() { 0 } else { -1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_vdsos_and_goes() {
        let before = now();
        assert!(now() >= before && now_coarse() <= now());
        assert_ne!(
            CLOCK.load(Relaxed),
            ask_the_kernel as *const () as usize,
            "this kernel has a vDSO"
        );
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: writable.
        unsafe { ask_the_kernel(libc::CLOCK_MONOTONIC, &raw mut time) };
        let asked = Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
        assert!(asked >= before);
    }
}
