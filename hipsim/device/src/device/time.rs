//! One clock for all processes of the machine.
//!
//! CLOCK_MONOTONIC is that clock, except in a time namespace, which shifts it (and CLOCK_MONOTONIC_RAW and CLOCK_BOOTTIME). The
//! shift is taken off again: /proc/self/timens_offsets has it (time_namespaces(7)).

use std::fs;
use std::sync::OnceLock;

const SECOND: i64 = 1_000_000_000;

/// Real time in ns, the same in every time namespace.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let shifted = time.tv_sec as u64 * SECOND as u64 + time.tv_nsec as u64;
    shifted.saturating_add_signed(-shift())
}

/// What this process's time namespace adds, in ns. A namespace is for a process's whole life: it is entered by fork or exec.
fn shift() -> i64 {
    static SHIFT: OnceLock<i64> = OnceLock::new();
    *SHIFT.get_or_init(|| {
        let namespace = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        // The file tells of the namespace of the next child or program, which a process that has just called unshare
        // itself is not in.
        if namespace("time") != namespace("time_for_children") {
            return 0;
        }
        let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        parse(&offsets).unwrap_or(0)
    })
}

fn parse(offsets: &str) -> Option<i64> {
    let mut line = offsets
        .lines()
        .map(str::split_ascii_whitespace)
        .find_map(|mut words| (words.next() == Some("monotonic")).then_some(words))?;
    let (seconds, ns): (i64, i64) = (line.next()?.parse().ok()?, line.next()?.parse().ok()?);
    seconds.checked_mul(SECOND)?.checked_add(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_the_kernel_writes_them() {
        let text = "monotonic        3600       500\nboottime           -1         0\n";
        assert_eq!(parse(text), Some(3600 * SECOND + 500));
        assert_eq!(
            parse("monotonic         -12 999999999\n"),
            Some(-11 * SECOND - 1)
        );
        assert_eq!(parse("boottime 1 0\n"), None);
        assert_eq!(parse("monotonic many 0\n"), None);
        assert_eq!(parse(""), None);
    }
}
