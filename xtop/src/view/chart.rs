//! Small charts out of characters.

use xsched_common::api::{GateState, LatencyBucket};
use xsched_common::units::{Class, Nanos};

use crate::theme::{Symbols, Theme};
use ratatui::style::Style;
use ratatui::text::Span;

/// Heights of bars. The full block is left out, so that lines one above the
/// other stand apart.
const LEVELS: usize = 7;

/// A line of bars from zero to the largest value; gaps stay empty. Returns
/// the largest, too.
pub fn sparkline(values: &[Option<Nanos>], symbols: &Symbols) -> (String, Option<Nanos>) {
    let max = values.iter().flatten().max().copied();
    let bar = |value: &Option<Nanos>| match (value, max) {
        (Some(value), Some(max)) => {
            // Rounded up: only nothing is empty.
            let level = (u128::from(value.0) * LEVELS as u128).div_ceil(u128::from(max.0.max(1)));
            symbols.levels[(level as usize).clamp(1, LEVELS) - 1]
        }
        _ => " ",
    };
    (values.iter().map(bar).collect(), max)
}

/// A line of bars from nothing to all; gaps stay empty.
pub fn shares(values: &[Option<f64>], symbols: &Symbols) -> String {
    let bar = |value: &Option<f64>| match value {
        // Rounded up: only nothing is empty.
        Some(share) if *share > 0.0 => {
            let level = (share * LEVELS as f64).ceil() as usize;
            symbols.levels[level.clamp(1, LEVELS) - 1]
        }
        _ => " ",
    };
    values.iter().map(bar).collect()
}

/// A bar of at most `columns`, `part` of `whole` long, in eighths.
pub fn bar(part: u64, whole: u64, columns: usize, symbols: &Symbols) -> String {
    let whole = u128::from(whole.max(1));
    let steps = symbols.eighths.len();
    let eighths = u128::from(part) * (columns * steps) as u128;
    let eighths = (eighths.div_ceil(whole) as usize).min(columns * steps);
    let mut text = symbols.eighths[steps - 1].repeat(eighths / steps);
    if !eighths.is_multiple_of(steps) {
        text.push_str(symbols.eighths[eighths % steps - 1]);
    }
    text
}

/// Histogram rows: neighbours are joined until at most `rows` are left, and
/// those between that count nothing are shown as such.
pub fn histogram(buckets: &[LatencyBucket], rows: usize) -> Vec<LatencyBucket> {
    // Bucket bounds of four to a power of two.
    let quarter = |from: Nanos| match from.0 {
        0..4 => from.0,
        n => {
            let exponent = u64::from(n.ilog2());
            4 + (exponent - 2) * 4 + ((n >> (exponent - 2)) & 3)
        }
    };
    let bound = |quarter: u64| match quarter {
        0..4 => quarter,
        n => {
            let shift = ((n - 4) / 4).min(61);
            (4 + (n - 4) % 4) << shift
        }
    };
    let places = || buckets.iter().map(|bucket| quarter(bucket.from_ns));
    let (Some(first), Some(last)) = (places().min(), places().max()) else {
        return Vec::new();
    };
    let span = last - first + 1;
    let width = span.div_ceil(rows.max(1) as u64).next_power_of_two().max(1);
    let start = first / width * width;
    let mut joined: Vec<LatencyBucket> = (start..=last)
        .step_by(width as usize)
        .map(|place| LatencyBucket {
            from_ns: Nanos(bound(place)),
            count: 0,
        })
        .collect();
    for bucket in buckets {
        let row = ((quarter(bucket.from_ns) - start) / width) as usize;
        joined[row].count = joined[row].count.saturating_add(bucket.count);
    }
    joined
}

/// A gate over time: one character per snapshot.
pub fn gates(states: &[Option<Option<GateState>>], theme: &Theme) -> Vec<Span<'static>> {
    let symbols = &theme.symbols;
    runs(states, |state| match state {
        None => (" ", theme.dim),
        Some(None) => (symbols.ungated, theme.dim),
        Some(Some(GateState::Open)) => (symbols.open, theme.good),
        Some(Some(GateState::Capped)) => (symbols.capped, theme.warn),
        Some(Some(GateState::Closed)) => (symbols.closed, theme.bad),
    })
}

/// The highest class with work over time, by its initial.
pub fn classes(states: &[Option<Option<Class>>], theme: &Theme) -> Vec<Span<'static>> {
    runs(states, |state| match state {
        None => (" ", theme.dim),
        Some(None) => (theme.symbols.ungated, theme.dim),
        Some(Some(Class::Realtime)) => ("R", theme.accent),
        Some(Some(Class::High)) => ("H", theme.accent),
        Some(Some(Class::Normal)) => ("N", theme.text),
        Some(Some(Class::Low)) => ("L", theme.dim),
    })
}

/// One span for each run of equal states.
fn runs<T: Copy + PartialEq>(
    states: &[T],
    look: impl Fn(T) -> (&'static str, Style),
) -> Vec<Span<'static>> {
    states
        .chunk_by(|a, b| a == b)
        .map(|run| {
            let (symbol, style) = look(run[0]);
            Span::styled(symbol.repeat(run.len()), style)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::{Charset, Palette};

    fn symbols() -> Symbols {
        Theme::new(Palette::Mono, Charset::Unicode).symbols
    }

    #[test]
    fn sparklines_begin_at_zero() {
        let values = [Some(0), Some(1), None, Some(50), Some(100)].map(|v| v.map(Nanos));
        let (line, max) = sparkline(&values, &symbols());
        assert_eq!((line.as_str(), max), ("▁▁ ▄▇", Some(Nanos(100))));
        assert_eq!(sparkline(&[None], &symbols()), (" ".into(), None));
        let all = [Some(Nanos(u64::MAX)); 2];
        assert_eq!(sparkline(&all, &symbols()).0, "▇▇");
    }

    #[test]
    fn shares_fill_from_nothing_to_all() {
        let values = [Some(0.0), Some(0.01), None, Some(0.5), Some(1.0), Some(7.0)];
        assert_eq!(shares(&values, &symbols()), " ▁ ▄▇▇");
    }

    #[test]
    fn bars_are_as_long_as_their_part() {
        assert_eq!(bar(0, 10, 8, &symbols()), "");
        assert_eq!(bar(5, 10, 8, &symbols()), "████");
        assert_eq!(bar(1, 1_000_000, 8, &symbols()), "▏");
        assert_eq!(bar(u64::MAX, 1, 3, &symbols()), "███");
    }

    #[test]
    fn histograms_join_and_lose_nothing() {
        let bucket = |from_ns, count| LatencyBucket {
            from_ns: Nanos(from_ns),
            count,
        };
        let rows = histogram(
            &[bucket(1 << 20, 3), bucket(5 << 18, 2), bucket(1 << 21, 1)],
            10,
        );
        let shown: Vec<_> = rows.iter().map(|row| (row.from_ns.0, row.count)).collect();
        let expected = [(4, 3), (5, 2), (6, 0), (7, 0), (8, 1)];
        assert_eq!(shown, expected.map(|(quarters, n)| (quarters << 18, n)));
        let hostile = [
            bucket(0, 1),
            bucket(u64::MAX, u64::MAX),
            bucket(u64::MAX, 9),
        ];
        let rows = histogram(&hostile, 8);
        assert!(rows.len() <= 9 && rows.iter().any(|row| row.count == u64::MAX));
        assert!(histogram(&[], 8).is_empty());
    }
}
