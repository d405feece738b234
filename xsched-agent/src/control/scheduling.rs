//! How the kernel treats the control thread.

use std::io;

use tracing::{info, warn};

/// How the control thread competes for a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduling {
    /// As every thread.
    #[default]
    Normal,
    /// Before every normal thread (SCHED_FIFO): a machine full of busy
    /// programs does not delay a decision.
    Realtime,
}

/// The lowest real-time priority: above all normal threads is enough, and
/// whoever else is real-time on this machine had reasons.
const PRIORITY: i32 = 1;

/// Applies to the calling thread; a refusal is said and changes nothing.
pub(super) fn apply(scheduling: Scheduling) {
    if scheduling == Scheduling::Normal {
        return;
    }
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
