//! The screen of one process: where it stands, how long its requests take,
//! who launches, what diagnosis says.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use xsched_common::units::Nanos;

use super::chart;
use super::detail::{LABEL, callers, labelled, standing};
use super::findings;
use crate::format;
use crate::state::{Focus, Life, Sample, State};
use crate::text::{fit, width};
use crate::theme::Theme;

/// From this width on, there are two columns.
const TWO_COLUMNS: usize = 140;

/// Columns of a time with a blank.
const TIME: usize = 9;

/// The lines of the screen.
pub fn lines(state: &State, area: Rect, theme: &Theme) -> Vec<Line<'static>> {
    let columns: usize = area.width.into();
    let Some(focus) = &state.focus else {
        let text = "no process is selected: press 1 and choose one";
        return vec![Line::styled(text, theme.text)];
    };
    let row = &focus.row;
    let mut lines = vec![title(focus, columns, theme)];
    if columns < TWO_COLUMNS {
        lines.extend(standing(row, columns, theme));
        lines.extend(latencies(state, focus, columns, theme));
        lines.push(Line::default());
        lines.extend(callers(&row.process.callers, columns, theme));
        lines.extend(findings::lines(state, row.identity(), columns, theme));
        return lines;
    }
    let half = columns / 2 - 1;
    let mut left = standing(row, half, theme);
    left.extend(latencies(state, focus, half, theme));
    let mut right = callers(&row.process.callers, half, theme);
    right.extend(findings::lines(state, row.identity(), half, theme));
    let rows = left.len().max(right.len());
    left.resize(rows, Line::default());
    right.resize(rows, Line::default());
    lines.extend(left.into_iter().zip(right).map(|(mut left, right)| {
        let gap = (half + 2).saturating_sub(left.width());
        left.spans.push(Span::raw(" ".repeat(gap)));
        left.spans.extend(right.spans);
        left
    }));
    lines
}

fn title(focus: &Focus, columns: usize, theme: &Theme) -> Line<'static> {
    let process = &focus.row.process;
    let parent = match process.parent {
        Some(parent) => format!("  (parent {parent})"),
        None => String::new(),
    };
    let unit = match &focus.row.unit {
        Some(unit) => format!("  in {unit}"),
        None => String::new(),
    };
    let name = format!("{} {}{parent}{unit}", process.pid, focus.row.command);
    let (style, name) = match focus.life {
        Life::Running => (theme.strong, name),
        Life::Exited => (theme.bad, format!("EXITED  {name}")),
    };
    Line::styled(fit(&name, columns, theme.symbols.cut).into_owned(), style)
}

fn latencies(state: &State, focus: &Focus, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    let samples = columns.saturating_sub(LABEL + TIME + 5);
    let history = state.history.process(focus.row.identity(), samples);
    let span = format::age(std::time::Duration::from_nanos(
        state.history.span(samples).0,
    ));
    lines.push(Line::styled(
        format!("HISTORY  the last {span}, from zero to the value at the right"),
        theme.title,
    ));
    let pick = |name, pick: fn(&Sample) -> Option<Nanos>| {
        let values: Vec<_> = history.iter().map(|s| s.as_ref().and_then(pick)).collect();
        let (line, max) = chart::sparkline(&values, &theme.symbols);
        let max = max.map_or(format::UNKNOWN.to_owned(), |max| max.to_string());
        let spans = vec![
            Span::styled(line, theme.text),
            Span::styled(format!("  {max}"), theme.dim),
        ];
        labelled(name, spans, theme)
    };
    lines.push(pick("P50", |sample| sample.burst.map(|(p50, _)| p50)));
    lines.push(pick("P99", |sample| sample.burst.map(|(_, p99)| p99)));
    lines.push(pick("wait99", |sample| sample.wait_p99));
    let gates: Vec<_> = history.iter().map(|s| s.map(|s| s.gate)).collect();
    lines.push(labelled("gate", chart::gates(&gates, theme), theme));
    lines.push(Line::default());
    lines.extend(histogram(focus, columns, theme));
    lines
}

fn histogram(focus: &Focus, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    const ROWS: usize = 12;
    let heading = "BURSTS  first launch after idle until drained, in the window";
    let mut lines = vec![Line::styled(
        fit(heading, columns, theme.symbols.cut).into_owned(),
        theme.title,
    )];
    let buckets = chart::histogram(&focus.row.process.burst_histogram, ROWS);
    if buckets.is_empty() {
        lines.push(Line::styled("none in the window", theme.dim));
    }
    let largest = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0);
    let room = columns.saturating_sub(2 + TIME + 9);
    for bucket in buckets {
        let from = bucket.from_ns.to_string();
        let padding = " ".repeat(TIME.saturating_sub(width(&from)));
        let bar = chart::bar(bucket.count, largest, room, &theme.symbols);
        lines.push(Line::from(vec![
            Span::styled(format!("{}{from}  ", padding), theme.dim),
            Span::styled(bar, theme.accent),
            Span::styled(format!(" {}", format::count(bucket.count)), theme.text),
        ]));
    }
    lines
}
