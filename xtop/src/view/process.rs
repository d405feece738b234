//! The screen of one process: where it stands, how long its requests take,
//! who launches, what diagnosis says.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use xsched_common::api::HistoryPoint;
use xsched_common::units::Nanos;

use super::detail::{LABEL, callers, labelled, standing};
use super::{apis, attr, findings};
use super::{chart, charts, heat};
use crate::format;
use crate::state::{Answer, Focus, Life, Sample, State};
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
        // What was asked for comes before what is always there.
        let has_charts = area.height >= 30;
        let asked = has_charts && state.examinations.get(row.identity()).is_some();
        if asked {
            lines.extend(findings::lines(state, row.identity(), columns, theme));
        }
        match has_charts {
            true => {
                lines.push(Line::default());
                lines.extend(plots(state, focus, columns, theme));
            }
            false => lines.extend(latencies(state, focus, columns, theme)),
        }
        lines.push(Line::default());
        lines.extend(callers(&row.process.callers, columns, theme));
        lines.push(Line::default());
        lines.extend(apis::lines(&row.process, columns, theme));
        lines.extend(attr::lines(state, row, columns, theme));
        if !asked {
            lines.extend(findings::lines(state, row.identity(), columns, theme));
        }
        return lines;
    }
    let half = columns / 2 - 1;
    let mut left = standing(row, half, theme);
    left.push(Line::default());
    left.extend(plots(state, focus, half, theme));
    let mut right = callers(&row.process.callers, half, theme);
    right.push(Line::default());
    right.extend(apis::lines(&row.process, half, theme));
    right.extend(attr::lines(state, row, half, theme));
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
    let room = columns.saturating_sub(LABEL + TIME + 5);
    let line = History::of(state, focus, room);
    let mut lines = vec![Line::default(), heading(state, &line, columns, theme)];
    type Own = fn(&Sample) -> Option<Nanos>;
    type Before = fn(&HistoryPoint) -> Option<Nanos>;
    let times: [(&'static str, Own, Before); 3] = [
        ("P50", |s| s.burst.map(|b| b.0), |p| p.burst_p50_ns),
        ("P99", |s| s.burst.map(|b| b.1), |p| p.burst_p99_ns),
        ("wait99", |s| s.wait_p99, |p| p.gate_wait_p99_ns),
    ];
    for (name, own, before) in times {
        let shown = |max: u64| Nanos(max).to_string();
        let own = |s: &Sample| own(s).map(|time| time.0);
        let before = |p: &HistoryPoint| before(p).map(|time| time.0);
        lines.push(line.row(name, own, before, shown, theme));
    }
    // Rates and shares are drawn in thousandths.
    let thousandths = |value: f64| (value * 1e3) as u64;
    lines.push(line.row(
        "launch/s",
        |s| Some(thousandths(s.launches_per_s.into())),
        |p| Some(thousandths(p.launches_per_s)),
        |max| format::rate(max as f64 / 1e3),
        theme,
    ));
    lines.push(line.row(
        "~busy",
        |s| s.busy.map(|ratio| thousandths(ratio.into())),
        |p| p.busy_ratio.map(thousandths),
        |max| format::estimate(max as f64 / 1e3),
        theme,
    ));
    // The agent remembers no gates.
    let gates = std::iter::repeat_n(None, line.before.len());
    let gates: Vec<_> = gates
        .chain(line.own.iter().map(|s| s.map(|s| s.gate)))
        .collect();
    lines.push(labelled("gate", chart::gates(&gates, theme), theme));
    lines.push(Line::default());
    lines.extend(histogram(focus, columns, theme));
    lines
}

/// The charts, where the screen has the room: of a small one the lines say as
/// much.
fn plots(state: &State, focus: &Focus, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    const LATENCY: u16 = 13;
    const OTHERS: u16 = 8;
    let row = &focus.row;
    let mut lines = charts::latency(state, row, theme).lines(columns, LATENCY, theme);
    lines.push(Line::default());
    lines.extend(heat::lines(state, row, columns, theme));
    lines.push(Line::default());
    if let Some(gate) = charts::gate(state, row, theme) {
        lines.extend(gate.lines(columns, OTHERS, theme));
        lines.push(Line::default());
    }
    lines.extend(charts::launches(state, row, theme).lines(columns, OTHERS, theme));
    lines.push(Line::default());
    lines.extend(histogram(focus, columns, theme));
    lines
}

/// A process over time: first as the agent remembers it, then as xtop saw it.
struct History {
    before: Vec<Option<HistoryPoint>>,
    own: Vec<Option<Sample>>,
}

impl History {
    fn of(state: &State, focus: &Focus, room: usize) -> History {
        let target = focus.row.identity();
        let mut own = state.history.process(target, room);
        let interval = state.settings.interval;
        let past = state.past.done(target);
        // What was before this process's first snapshot is the agent's to say.
        let since = own.iter().position(Option::is_some).unwrap_or(own.len());
        let before = past.map_or(Vec::new(), |past| {
            let n = own.len() - since;
            state.history.before(past, n, room - n, interval)
        });
        own.drain(..since.min(before.len()));
        History { before, own }
    }

    fn row(
        &self,
        name: &'static str,
        own: impl Fn(&Sample) -> Option<u64>,
        before: impl Fn(&HistoryPoint) -> Option<u64>,
        shown: impl Fn(u64) -> String,
        theme: &Theme,
    ) -> Line<'static> {
        let before = self.before.iter().map(|p| p.as_ref().and_then(&before));
        let own = self.own.iter().map(|s| s.as_ref().and_then(&own));
        let values: Vec<_> = before.chain(own).map(|value| value.map(Nanos)).collect();
        let (bars, max) = chart::sparkline(&values, &theme.symbols);
        let edge = bars
            .char_indices()
            .nth(self.before.len())
            .map_or(bars.len(), |(edge, _)| edge);
        let max = max.map_or(format::UNKNOWN.to_owned(), |max| shown(max.0));
        let spans = vec![
            Span::styled(bars[..edge].to_owned(), theme.dim),
            Span::styled(bars[edge..].to_owned(), theme.text),
            Span::styled(format!("  {max}"), theme.dim),
        ];
        labelled(name, spans, theme)
    }
}

fn heading(state: &State, line: &History, columns: usize, theme: &Theme) -> Line<'static> {
    let age = |time: std::time::Duration| format::age(time);
    let own = std::time::Duration::from_nanos(state.history.span(line.own.len()).0);
    let before = state.settings.interval * line.before.len() as u32;
    let span = match (line.before.is_empty(), &state.focus) {
        (false, _) => format!(
            "last {}, the first {} from the agent",
            age(own + before),
            age(before)
        ),
        (true, Some(focus)) => match state.past.get(focus.row.identity()) {
            Some(Answer::Failed(_)) => format!("last {}, the agent keeps none", age(own)),
            _ => format!("last {}", age(own)),
        },
        (true, None) => format!("last {}", age(own)),
    };
    let text = format!("HISTORY  {span}; each from zero to its largest, at the right");
    Line::styled(
        fit(&text, columns, theme.symbols.cut).into_owned(),
        theme.title,
    )
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
