//! How long bursts took over time, as a map: a row for each half octave, a
//! column for each moment, the more bursts the brighter.

use ratatui::text::{Line, Span};
use xsched_common::units::Nanos;

use crate::format;
use crate::state::{Row, State};
use crate::theme::Theme;

/// Columns of the scale.
const SCALE: usize = 10;

/// The shortest of a half octave.
fn bound(half: u8) -> Nanos {
    let octave = 1_u64.checked_shl(u32::from(half / 2)).unwrap_or(u64::MAX);
    match half % 2 {
        0 => Nanos(octave),
        _ => Nanos(octave.saturating_add(octave / 2)),
    }
}

/// The map, the longest bursts on top.
pub fn lines(state: &State, row: &Row, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let (from, to) = state.view.bounds();
    let room = columns.saturating_sub(SCALE);
    let points = state.history.spread_points(row.identity());
    let seen: Vec<_> = points
        .into_iter()
        .filter(|(t, _)| (from..=to).contains(t))
        .collect();
    let heading = "HEAT  bursts by length over time, each column of its own window";
    let text = crate::text::fit(heading, columns, theme.symbols.cut).into_owned();
    let mut lines = vec![Line::styled(text, theme.title)];
    let halves = || {
        seen.iter()
            .flat_map(|(_, spread)| spread.iter().map(|(h, _)| *h))
    };
    let (Some(lowest), Some(highest)) = (halves().min(), halves().max()) else {
        lines.push(Line::styled("none in this time", theme.dim));
        return lines;
    };
    // A snapshot stands until the next one.
    let column_of = |t: f64| ((t - from) / (to - from) * room as f64) as usize;
    let mut grid = vec![None; room];
    for (n, (t, spread)) in seen.iter().enumerate() {
        let end = seen.get(n + 1).map_or(to, |next| next.0);
        let interval = state.settings.interval.as_secs_f64() * 2.0;
        let last = column_of(end.min(t + interval)).max(column_of(*t) + 1);
        for cell in grid.iter_mut().take(last).skip(column_of(*t)) {
            *cell = Some(*spread);
        }
    }
    for half in (lowest..=highest).rev() {
        let mut spans = vec![Span::styled(
            format!("{:>8}  ", bound(half).to_string()),
            theme.dim,
        )];
        let levels = grid.iter().map(|cell| {
            let spread = cell.as_ref()?;
            let all: u64 = spread.iter().map(|(_, n)| u64::from(*n)).sum();
            let here = spread.iter().find(|(h, _)| *h == half)?.1;
            Some(level(f64::from(here) / all.max(1) as f64))
        });
        let levels: Vec<Option<usize>> = levels.collect();
        for run in levels.chunk_by(|a, b| a == b) {
            let over = row
                .process
                .slo
                .as_ref()
                .is_some_and(|slo| bound(half) >= slo.target_p99_ns);
            let (symbol, style) = match (run[0], over) {
                (None, _) => (" ", theme.dim),
                (Some(level), true) => (["░", "▒", "▓", "█"][level], theme.bad),
                (Some(level), false) => (["░", "▒", "▓", "█"][level], theme.accent),
            };
            spans.push(Span::styled(symbol.repeat(run.len()), style));
        }
        lines.push(Line::from(spans));
    }
    let age = |seconds: f64| format::age(std::time::Duration::from_secs_f64(seconds));
    let left = format!("{:SCALE$}-{}", "", age(-from));
    let right = match to > -0.5 {
        true => "now".to_owned(),
        false => format!("-{}", age(-to)),
    };
    let gap = columns.saturating_sub(left.len() + right.len());
    lines.push(Line::styled(
        format!("{left}{}{right}", " ".repeat(gap)),
        theme.dim,
    ));
    lines
}

/// How bright a share of the bursts is: one of a hundred is seen, too.
fn level(share: f64) -> usize {
    match share {
        s if s < 0.05 => 0,
        s if s < 0.2 => 1,
        s if s < 0.5 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_octaves_have_bounds() {
        assert_eq!(bound(40), Nanos(1 << 20));
        assert_eq!(bound(41), Nanos((1 << 20) + (1 << 19)));
        assert_eq!(bound(u8::MAX), Nanos(u64::MAX));
        assert_eq!((level(0.01), level(0.9)), (0, 3));
    }
}
