//! Percentiles of what was measured.

use xsched_common::units::Nanos;

/// The smallest value that at least `q` of the values do not exceed; zero
/// for none.
pub fn quantile(values: &[Nanos], q: f64) -> Nanos {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// The mean, ns; zero for none.
pub fn mean(values: &[Nanos]) -> f64 {
    let sum: f64 = values.iter().map(|value| value.0 as f64).sum();
    sum / values.len().max(1) as f64
}
