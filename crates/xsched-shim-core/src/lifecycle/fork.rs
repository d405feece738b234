//! Forks: the child is a process that has not joined.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::loader::host;
use crate::process;
use crate::sys::{self, Call};

/// Whether the kernel zeroes the state, or the handler must.
static WIPED_BY_KERNEL: AtomicBool = AtomicBool::new(false);

/// Where code lies that probes may have changed, as page numbers: first, and
/// first behind.
static PROBED_CODE: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
const PAGE: usize = 4096;

/// Once per process. `probed` is the code that tools set uprobes on: the
/// platform's exports.
pub fn install(probed: Range<usize>) {
    for (to, from) in PROBED_CODE
        .iter()
        .zip([probed.start / PAGE, probed.end.div_ceil(PAGE)])
    {
        to.store(from, Relaxed);
    }
    WIPED_BY_KERNEL.store(process::wipe_on_fork(), Relaxed);
    host::at_fork(in_child);
}

unsafe extern "C" fn in_child() {
    let _unseen = sys::Unseen::new();
    sys::know_main_thread();
    for session in process::remembered() {
        session.connection.hang_up();
    }
    // A signal handler may fork amid a wait.
    crate::thread::forget_waits();
    drop_probes();
    if !WIPED_BY_KERNEL.load(Relaxed) {
        // SAFETY: the child's only thread is here.
        unsafe { process::wipe() };
    }
    crate::groups::after_fork();
}

/// Gives the child the code as it is in the file.
///
/// A uprobe on a 5-byte NOP becomes, once hit, a call into a page that the
/// kernel maps for it. Linux 6.18 (seen on 6.18.44) copies the call to a
/// fork's child and not the page, so the child would die at its first call
/// of a function that was probed in the parent. Dropping the private copy of
/// the code makes the kernel read the file again; the child is not probed
/// until a tool finds it.
fn drop_probes() {
    let [first, end] = &PROBED_CODE;
    let (first, end) = (first.load(Relaxed), end.load(Relaxed));
    if first < end {
        let drop = libc::MADV_DONTNEED as usize;
        let range = [first * PAGE, (end - first) * PAGE, drop];
        // SAFETY: pages of our own read-only code, which nobody has changed
        // but the kernel; they are read back from the library's file.
        let _ = unsafe { sys::call(Call::Madvise, range) };
    }
}
