//! What kernels differ in, in one place.
//!
//! Everything here is from 5.15 or older, except for what this file names
//! with its fallback.

/// Which returns are probed.
///
/// The kernel catches a return by putting an address of its own in the place
/// of the return address. Unwinders do not know that address: while a thread
/// is in a wait whose return is probed, a C++ exception that passes the wait
/// ends the program (`std::terminate`), pthread_cancel skips destructors, and
/// backtraces end there. So nobody gets return probes who has not asked for
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Returns {
    /// None: entries tell enough.
    #[default]
    Leave,
    /// Those of functions that wait for the device, for the lengths of
    /// bursts and waits.
    OfWaits,
}

/// Kernels whose return probes kill processes under a strict seccomp filter,
/// as container runtimes set: they return by a system call (6.11) that
/// filters do not know and kill for, until seccomp lets it pass (6.14).
/// <https://github.com/systemd/systemd/issues/34615>
const HARMFUL_RETURNS: std::ops::Range<(u32, u32)> = (6, 11)..(6, 14);

/// What becomes of processes whose returns are probed there, for the user.
pub(super) const HARM: &str =
    "on Linux 6.11 to 6.13 probes on returns kill processes under seccomp; 6.14 has that mended";

/// The first kernel whose multi links honour their pid filter for processes
/// with several threads (bpf: Fix multi-uprobe PID filtering logic).
const GOOD_MULTI_LINKS: (u32, u32) = (6, 10);

/// A kernel, by its major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(pub u32, pub u32);

impl Kernel {
    /// The one that runs.
    pub fn running() -> Kernel {
        Kernel::named(&rustix::system::uname().release().to_string_lossy())
    }

    fn named(release: &str) -> Kernel {
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(|n| n.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Kernel(next(), next())
    }

    fn version(self) -> (u32, u32) {
        (self.0, self.1)
    }

    /// Whether it has what the observer cannot do without.
    pub fn is_new_enough(self) -> bool {
        self.version() >= (5, 15)
    }

    /// Whether multi-uprobe links can be relied on.
    pub fn has_multi_links(self) -> bool {
        self.version() >= GOOD_MULTI_LINKS
    }

    /// As wanted, where that is safe.
    pub fn returns(self, wanted: Returns) -> Returns {
        match HARMFUL_RETURNS.contains(&self.version()) {
            true => Returns::Leave,
            false => wanted,
        }
    }
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(Kernel::named("6.18.44-fc-v595"), Kernel(6, 18));
        assert_eq!(Kernel::named("5.15.0-generic"), Kernel(5, 15));
        assert_eq!(Kernel::named("odd"), Kernel(0, 0));
    }

    #[test]
    fn kernels_differ_in_returns_and_links() {
        let wanted = Returns::OfWaits;
        for (minor, returns) in [
            (10, wanted),
            (11, Returns::Leave),
            (13, Returns::Leave),
            (14, wanted),
        ] {
            assert_eq!(Kernel(6, minor).returns(wanted), returns, "6.{minor}");
            assert_eq!(Kernel(6, minor).returns(Returns::Leave), Returns::Leave);
        }
        assert!(Kernel(6, 10).has_multi_links() && Kernel(7, 0).has_multi_links());
        assert!(!Kernel(6, 9).has_multi_links() && !Kernel(5, 15).has_multi_links());
        assert!(Kernel(5, 15).is_new_enough() && !Kernel(5, 14).is_new_enough());
    }
}
