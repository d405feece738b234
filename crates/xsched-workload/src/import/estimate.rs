//! How long kernels ran, from when they were launched and when a wait for
//! them returned.

use xsched_common::units::Nanos;

/// From the end of the last kernel to the return of the wait.
const RETURNS: Nanos = Nanos::from_micros(5);

/// The time of a kernel, if all took equally long on a device that runs them
/// in order and nothing else: the last of them, launched at these times, ends
/// just before `end`. Where the host was slower than the device it is as long
/// as can be.
pub fn kernel_time(launched: &[Nanos], end: Nanos) -> Nanos {
    let end = Nanos(end.0.saturating_sub(RETURNS.0));
    let (mut short, mut long) = (0, end.since(launched.first().copied().unwrap_or(end)).0);
    // The end grows with the time: halve the interval until it is exact.
    while short < long {
        let middle = short + (long - short).div_ceil(2);
        let last = launched
            .iter()
            .fold(Nanos::ZERO, |done, at| done.max(*at) + Nanos(middle));
        if last <= end {
            short = middle;
        } else {
            long = middle - 1;
        }
    }
    Nanos(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(values: &[u64]) -> Vec<Nanos> {
        values.iter().map(|us| Nanos::from_micros(*us)).collect()
    }

    #[test]
    fn launched_ahead_they_share_the_time_equally() {
        let at = us(&[0, 2, 4, 6]);
        let time = kernel_time(&at, Nanos::from_micros(405));
        assert_eq!(time, Nanos::from_micros(100));
    }

    #[test]
    fn a_slow_host_bounds_them_by_the_last() {
        let at = us(&[0, 1_000, 2_000]);
        let time = kernel_time(&at, Nanos::from_micros(2_055));
        assert_eq!(time, Nanos::from_micros(50));
    }

    #[test]
    fn nothing_and_nonsense_take_no_time() {
        assert_eq!(kernel_time(&[], Nanos(9)), Nanos::ZERO);
        assert_eq!(kernel_time(&us(&[5]), Nanos(1)), Nanos::ZERO);
    }
}
