//! Why processes cannot be observed on a machine, in words with a next step.

use std::{error, io};

use super::compat::Kernel;

/// Where the kernel says that it has uprobes.
pub(super) const UPROBE_PMU: &str = "/sys/bus/event_source/devices/uprobe/type";

/// Why processes cannot be observed on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Not privileged.
    #[error(
        "cannot {0}: not permitted; {next}; a container needs --pid=host as well",
        next = xsched_host::text::more_rights()
    )]
    NotPermitted(&'static str),
    /// No uprobes.
    #[error(
        "this kernel shows no uprobes ({UPROBE_PMU} is missing): mount /sys, or use a kernel with \
         CONFIG_UPROBE_EVENTS"
    )]
    NoUprobes,
    /// No attach cookies.
    #[error(
        "Linux {0} is too old for probes (BPF has attach cookies since 5.15): use Linux 5.15 or later; \
         programs under the shim are scheduled all the same"
    )]
    OldKernel(Kernel),
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

    /// As [`Unavailable::from_error`], where what `kernel` lacks may be the
    /// cause: its own words for that are a verifier's log.
    pub(super) fn on_kernel(
        kernel: Kernel,
        what: &'static str,
        error: &(dyn error::Error + 'static),
    ) -> Unavailable {
        match Unavailable::from_error(what, error) {
            Unavailable::Kernel { .. } if !kernel.is_new_enough() => Unavailable::OldKernel(kernel),
            other => other,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_blamed_for_what_it_lacks_only() {
        let of = |kernel, errno| {
            let error = io::Error::from_raw_os_error(errno);
            Unavailable::on_kernel(kernel, "load BPF programs", &error).to_string()
        };
        let (old, new) = (Kernel(5, 10), Kernel(5, 15));
        let said = of(old, libc::EINVAL);
        assert!(said.starts_with("Linux 5.10 is too old"), "{said}");
        let said = of(old, libc::EPERM);
        assert!(said.contains("not permitted; "), "{said}");
        assert!(!of(new, libc::EINVAL).contains("too old"));
    }
}
