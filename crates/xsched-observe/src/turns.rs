//! How often a process is looked at.

use std::time::Duration;

/// How long a process may go without a look. Reading the mappings of every
/// process every time would cost more than all the rest of the agent.
pub(super) const LONGEST_REST: Duration = Duration::from_secs(10);

/// A process loads the runtime while it starts, or when somebody's notebook
/// gets to it: young ones are looked at every time, old ones now and then.
pub(super) fn rest(known_for: Duration) -> Duration {
    if known_for < Duration::from_secs(2) {
        Duration::ZERO
    } else {
        (known_for / 4).min(LONGEST_REST)
    }
}

/// Mappings beyond which a process is dear to look at: two milliseconds.
pub(super) const DEAR: usize = 4096;

/// What reading one mapping takes.
const PRICE: Duration = Duration::from_nanos(400);

/// All dear processes together are looked at in a hundredth of the time.
const PART: u32 = 100;

/// How long a process with so many mappings rests at least, one of so many
/// that are dear.
pub(super) fn dear_rest(mappings: usize, dear: usize) -> Duration {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    match mappings < DEAR {
        true => Duration::ZERO,
        false => {
            let all = PRICE.saturating_mul(count(mappings).min(1 << 20));
            all * PART * count(dear).min(10_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many there are, and however young.
    #[test]
    fn processes_with_many_mappings_cost_a_hundredth_of_the_time() {
        for dear in [1, 20, 1_000] {
            let cost = PRICE * 65_000;
            let rest = dear_rest(65_000, dear);
            let part = cost.as_secs_f64() * dear as f64 / rest.as_secs_f64();
            assert!((0.009..0.011).contains(&part), "{dear}: {part}");
        }
        assert_eq!(dear_rest(DEAR - 1, 1_000), Duration::ZERO);
        assert!(dear_rest(DEAR, 1) < Duration::from_secs(1), "found soon");
        dear_rest(usize::MAX, usize::MAX);
    }
}
