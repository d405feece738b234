//! Forks: the child is a process that has not joined.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

use crate::process;

/// Whether the kernel zeroes the state, or the handler must.
static WIPED_BY_KERNEL: AtomicBool = AtomicBool::new(false);
/// The session's descriptors: kept outside of the wiped state, because the
/// child must close them.
static DESCRIPTORS: [AtomicI32; 2] = [const { AtomicI32::new(-1) }; 2];

/// Once per process.
pub fn install() {
    WIPED_BY_KERNEL.store(process::wipe_on_fork(), Relaxed);
    // SAFETY: the handler stays loaded, see `at_exit`.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

/// Says which descriptors a child must close; -1 for none.
pub fn remember(descriptors: [i32; 2]) {
    for (to, from) in DESCRIPTORS.iter().zip(descriptors) {
        to.store(from, Relaxed);
    }
}

/// Without this the parent's death would not end its connection.
unsafe extern "C" fn in_child() {
    let _errno = crate::sys::SavedErrno::new();
    for fd in &DESCRIPTORS {
        let fd = fd.swap(-1, Relaxed);
        if fd >= 0 {
            // SAFETY: the child's own copy of a descriptor of ours.
            unsafe { libc::close(fd) };
        }
    }
    if !WIPED_BY_KERNEL.load(Relaxed) {
        // SAFETY: the child's only thread is here.
        unsafe { process::wipe() };
    }
}
