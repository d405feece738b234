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

impl Returns {
    /// As wanted, where that is safe.
    pub fn if_safe(self) -> Returns {
        if HARMFUL_RETURNS.contains(&kernel_version()) {
            return Returns::Leave;
        }
        self
    }
}

/// Major and minor version of the running kernel.
pub fn kernel_version() -> (u32, u32) {
    parse_version(&rustix::system::uname().release().to_string_lossy())
}

fn parse_version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("6.18.44-fc-v595"), (6, 18));
        assert_eq!(parse_version("5.15.0-generic"), (5, 15));
        assert_eq!(parse_version("odd"), (0, 0));
        assert!(HARMFUL_RETURNS.contains(&(6, 12)));
        assert!(!HARMFUL_RETURNS.contains(&(6, 14)) && !HARMFUL_RETURNS.contains(&(6, 10)));
    }
}
