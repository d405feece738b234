//! How long bursts took, in few bytes.

use super::row::Row;

/// How many bursts took how long in one snapshot's window: half octaves of ns
/// and counts.
pub type Spread = Box<[(u8, u32)]>;

/// That of `row` in its window.
pub(super) fn spread(row: &Row) -> Spread {
    let mut halves: Vec<(u8, u32)> = Vec::new();
    for bucket in &row.process.burst_histogram {
        let ns = bucket.from_ns.0.max(1);
        let octave = ns.ilog2();
        let upper = octave > 0 && ns >> (octave - 1) & 1 == 1;
        let half = (octave * 2) as u8 + u8::from(upper);
        let count = u32::try_from(bucket.count).unwrap_or(u32::MAX);
        match halves.iter_mut().find(|(h, _)| *h == half) {
            Some((_, n)) => *n = n.saturating_add(count),
            None => halves.push((half, count)),
        }
    }
    halves.into()
}
