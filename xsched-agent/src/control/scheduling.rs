//! How the kernel treats the control thread.

use std::io;

use tracing::{debug, info, warn};
use xsched_common::units::Nanos;

/// How the control thread competes for a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduling {
    /// As every thread, but with the shortest slice.
    #[default]
    Normal,
    /// Before every normal thread (SCHED_FIFO): a machine full of busy
    /// programs does not delay a decision.
    Realtime,
}

/// The lowest real-time priority: above all normal threads is enough, and
/// whoever else is real-time on this machine had reasons.
const PRIORITY: i32 = 1;

/// A thread that is woken on a busy processor displaces one with a longer
/// slice at once, since Linux 6.12 (EEVDF, `PREEMPT_SHORT`); without that it
/// waits for a tick: 3 ms here, whenever the waker goes on computing and the
/// kernel finds no better processor. This is the shortest that is granted.
const SLICE: Nanos = Nanos::from_micros(100);

/// Applies to the calling thread; a refusal is said and changes nothing.
pub(super) fn apply(scheduling: Scheduling) {
    match scheduling {
        Scheduling::Normal => {
            // Older kernels take it and ignore it.
            if let Err(e) = take_slice(SLICE) {
                debug!("the control thread keeps the usual slice: {e}");
            }
        }
        Scheduling::Realtime => take_priority(),
    }
}

/// Nice value of a thread that must come on in time and hardly ever runs.
const PREFERRED: i32 = -15;

/// Lets the calling thread come before others, as far as the kernel allows.
pub(super) fn prefer() {
    let _ = take_slice(SLICE);
    // Of one thread: Linux keeps nice values by thread (setpriority(2)).
    if let Err(e) = rustix::process::setpriority_process(None, PREFERRED) {
        debug!("the watchdog keeps its nice value: {e}");
    }
}

/// `struct sched_attr` as of Linux 3.14, which every later kernel takes.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

fn take_slice(slice: Nanos) -> io::Result<()> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>();
    // SAFETY: room for `size` bytes; 0 is the calling thread, no flags.
    let rc = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    attr.runtime = slice.0;
    // SAFETY: complete, and says its size.
    let rc = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    match rc {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn take_priority() {
    let parameter = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: a complete parameter; 0 is the calling thread.
    let rc = unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const parameter,
        )
    };
    if rc == 0 {
        info!("the control thread runs with real-time priority {PRIORITY}");
    } else {
        warn!(
            "the control thread keeps its normal priority: {}; it needs CAP_SYS_NICE or LimitRTPRIO",
            io::Error::last_os_error()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not what comes of it, which is the kernel's: that it is taken, and
    /// nothing else of the thread changes.
    #[test]
    fn the_slice_is_granted() {
        std::thread::spawn(|| take_slice(SLICE).expect("anybody may have a shorter slice"))
            .join()
            .expect("no panic");
    }
}
