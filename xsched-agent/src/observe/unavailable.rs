//! Why processes cannot be observed on a machine, in words with a next step.

use std::{error, io};

/// Where the kernel says that it has uprobes.
pub(super) const UPROBE_PMU: &str = "/sys/bus/event_source/devices/uprobe/type";

/// Why processes cannot be observed on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Not privileged.
    #[error(
        "cannot {0}: not permitted; run as root (sudo), in a container with --privileged and \
         --pid=host"
    )]
    NotPermitted(&'static str),
    /// No uprobes.
    #[error(
        "this kernel shows no uprobes ({UPROBE_PMU} is missing): mount /sys, or use a kernel with \
         CONFIG_UPROBE_EVENTS"
    )]
    NoUprobes,
    /// No attach cookies.
    #[error("this kernel's BPF has no attach cookies: Linux 5.15 or later is needed")]
    OldKernel,
    /// The kernel said something else.
    #[error("cannot {what}: {why}; `xsched-agent check` shows what this machine offers")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// All that is known, from the outermost error to the kernel's.
        why: String,
    },
    /// The process that was to be probed has ended.
    #[error("cannot {0}: the process is gone")]
    Gone(&'static str),
    /// Everything was accepted and nothing was counted.
    #[error("a probe on this program itself attached but did not fire; uprobes do not work here")]
    NeverFires,
}

impl Unavailable {
    /// Whether it only was too late.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Unavailable::Gone(_))
    }

    pub(super) fn from_error(
        what: &'static str,
        error: &(dyn error::Error + 'static),
    ) -> Unavailable {
        match errno(error) {
            Some(libc::EPERM | libc::EACCES) => Unavailable::NotPermitted(what),
            Some(libc::ESRCH) => Unavailable::Gone(what),
            _ => Unavailable::Kernel {
                what,
                why: chain(error),
            },
        }
    }
}

/// The system's error number at the end of a chain of errors.
fn errno(error: &(dyn error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        cause = error.source();
    }
    None
}

fn chain(error: &(dyn error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
