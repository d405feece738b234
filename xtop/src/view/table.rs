//! The table of processes, or what to do when there are none.

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use xsched_common::api::{GateState, ShimState, SliceSetter, SloState};
use xsched_common::platform::TITLES;
use xsched_common::units::Class;

use super::put;
use crate::column::{Column, Direction};
use crate::layout::{ColumnSpan, Layout};
use crate::state::{Link, Row, Sort, Standing, State, Value, hold_word};
use crate::text::{fit, width, wrap};
use crate::theme::Theme;

/// Draws titles and rows.
pub fn draw(buffer: &mut Buffer, layout: &Layout, state: &State, theme: &Theme) {
    if state.processes.is_empty() {
        return explain(buffer, layout.body, state, theme);
    }
    let processes = &state.processes;
    for place in &layout.columns {
        draw_title(buffer, layout.titles.y, *place, processes.sort(), theme);
    }
    if let Some(area) = layout.trend {
        buffer.set_string(area.x, layout.titles.y, "P99 TREND", theme.title);
    }
    // A suspended gate is closed and a boosted one open: where the column does
    // not fit, the word says both.
    let has_hold = layout
        .columns
        .iter()
        .any(|place| place.column == Column::Override);
    let offset = processes.offset(layout.rows());
    let visible = processes.lines().skip(offset);
    for ((line, row), y) in visible.zip(layout.body.top()..layout.body.bottom()) {
        let index = line.position;
        if line.group.is_some() {
            draw_group(buffer, y, layout, processes.depth(index) + 1, row, theme);
            continue;
        }
        for place in &layout.columns {
            let shift = match place.column {
                Column::Command => branch(buffer, y, *place, processes.depth(index), theme),
                _ => 0,
            };
            let place = place.shifted(shift);
            match (place.column, row.process.hold, has_hold) {
                (Column::Gate, Some(hold), false) => {
                    let text = hold_word(hold.hold);
                    put_cell(buffer, y, place, text, theme.warn, theme);
                }
                _ => draw_cell(buffer, y, place, row, theme),
            }
        }
        if let Some(area) = layout.trend {
            draw_trend(buffer, Rect { y, ..area }, state, row, theme);
        }
        if index == processes.cursor() {
            let line = Rect::new(layout.body.x, y, layout.body.width, 1);
            buffer.set_style(line, theme.selected);
        }
    }
}

/// Draws a class group below its process: what is its own.
fn draw_group(buffer: &mut Buffer, y: u16, layout: &Layout, depth: u16, row: &Row, theme: &Theme) {
    for place in &layout.columns {
        match place.column {
            Column::Command => {
                let shift = branch(buffer, y, *place, depth, theme);
                let style = class_style(row.process.class, theme);
                put_cell(buffer, y, place.shifted(shift), &row.command, style, theme);
            }
            Column::Class
            | Column::Gate
            | Column::Busy
            | Column::InFlight
            | Column::BurstP50
            | Column::BurstP99
            | Column::BurstMax
            | Column::WaitP99
            | Column::Device
            | Column::Why => draw_cell(buffer, y, *place, row, theme),
            _ => {}
        }
    }
}

/// Draws what leads to a child; returns its width.
fn branch(buffer: &mut Buffer, y: u16, place: ColumnSpan, depth: u16, theme: &Theme) -> u16 {
    if depth == 0 {
        return 0;
    }
    // Deeper levels leave room for the name.
    let indent = (2 * (depth - 1)).min(place.width / 2);
    let branch = theme.symbols.branch;
    buffer.set_string(place.x + indent, y, branch, theme.dim);
    (indent + width(branch) as u16).min(place.width)
}

/// P99 of the last snapshots as a sparkline.
fn draw_trend(buffer: &mut Buffer, area: Rect, state: &State, row: &Row, theme: &Theme) {
    let samples = state.history.process(row.identity(), area.width.into());
    let p99: Vec<_> = samples
        .iter()
        .map(|s| s.and_then(|s| s.burst).map(|b| b.1))
        .collect();
    let (line, _) = super::chart::sparkline(&p99, &theme.symbols);
    let shift = area.width.saturating_sub(p99.len() as u16);
    buffer.set_string(area.x + shift, area.y, line, theme.dim);
}

fn draw_title(buffer: &mut Buffer, y: u16, place: ColumnSpan, sort: Sort, theme: &Theme) {
    let mut title = place.column.title().to_owned();
    let mut style = theme.title;
    if place.column == sort.column {
        style = theme.sorted;
        title.push_str(match sort.direction {
            Direction::Ascending => theme.symbols.ascending,
            Direction::Descending => theme.symbols.descending,
        });
    }
    put_cell(buffer, y, place, &title, style, theme);
}

fn draw_cell(buffer: &mut Buffer, y: u16, place: ColumnSpan, row: &Row, theme: &Theme) {
    let value = place.column.value(row);
    let style = style(place.column, &value, row, theme);
    put_cell(buffer, y, place, &value.text(), style, theme);
}

fn put_cell(
    buffer: &mut Buffer,
    y: u16,
    place: ColumnSpan,
    text: &str,
    style: Style,
    theme: &Theme,
) {
    let text = fit(text, place.width.into(), theme.symbols.cut);
    let free = place.width.saturating_sub(width(&text) as u16);
    let shift = if place.column.is_numeric() { free } else { 0 };
    buffer.set_string(place.x + shift, y, text, style);
}

fn style(column: Column, value: &Value<'_>, row: &Row, theme: &Theme) -> Style {
    match (column, value) {
        (_, Value::Unknown) => theme.dim,
        (Column::Class, _) => class_style(row.process.class, theme),
        (Column::Gate, _) => gate_style(row, theme),
        (Column::Shim, _) => match row.process.shim {
            ShimState::Joined => theme.text,
            ShimState::Mapped | ShimState::Absent => theme.warn,
        },
        (Column::Bypass, Value::Share(share)) if *share >= 1.0 => theme.bad,
        (Column::Bypass, Value::Share(share)) if *share > 0.0 => theme.warn,
        (Column::Override, _) => theme.warn,
        (Column::Slo, _) => slo_style(row, theme),
        (Column::BurstP99, Value::Time(p99)) => match &row.process.slo {
            Some(slo) if *p99 > slo.target_p99_ns => theme.bad,
            Some(_) => theme.good,
            None => theme.text,
        },
        (Column::Why, _) => verdict_style(row, theme),
        (Column::Slice, _) => match row.process.time_slice().map(|slice| slice.set_by) {
            Some(SliceSetter::Class) => theme.text,
            _ => theme.dim,
        },
        (Column::User | Column::Unit | Column::Workload | Column::Platform | Column::Device, _) => {
            theme.dim
        }
        _ => theme.text,
    }
}

/// The colour of a class.
pub fn class_style(class: Class, theme: &Theme) -> Style {
    match class {
        Class::Realtime | Class::High => theme.accent,
        Class::Normal => theme.text,
        Class::Low => theme.dim,
    }
}

/// The colour of a gate.
pub fn gate_style(row: &Row, theme: &Theme) -> Style {
    match row.process.gate.as_ref().map(|gate| gate.state) {
        None => theme.dim,
        Some(GateState::Open) => theme.good,
        Some(GateState::Capped) => theme.warn,
        // A closed gate is how scheduling works; nothing is wrong.
        Some(GateState::Closed) => theme.dim,
    }
}

/// The colour of a latency target.
pub fn slo_style(row: &Row, theme: &Theme) -> Style {
    match row.process.slo.as_ref().map(|slo| slo.state) {
        None | Some(SloState::Unknown) => theme.dim,
        Some(SloState::Met) => theme.good,
        Some(SloState::Adapting) => theme.warn,
        Some(SloState::Impossible) => theme.bad,
    }
}

/// The colour of how a process fares.
pub fn verdict_style(row: &Row, theme: &Theme) -> Style {
    match row.verdict.standing {
        Standing::Fine => theme.dim,
        Standing::Bypassing | Standing::Held => theme.warn,
        Standing::Unscheduled | Standing::Missed => theme.bad,
    }
}

/// Draws why the selected process fares as it does.
pub fn draw_why(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let Some(row) = state.processes.selected().filter(|_| area.height > 0) else {
        return;
    };
    // The pid stands below those of the rows.
    let who = format!("{:>7} ", row.process.pid);
    let room = usize::from(area.width).saturating_sub(width(&who));
    let text = row.why_line();
    let text = wrap(&text, room, theme.symbols.cut);
    let hidden = text.len() > area.height.into();
    for (n, (part, y)) in text.iter().zip(0..area.height).enumerate() {
        let who = match n {
            0 => who.clone(),
            _ => " ".repeat(width(&who)),
        };
        let part = match hidden && y + 1 == area.height {
            // More than the lines that there are.
            true => fit(
                &format!("{part} {}", theme.symbols.cut),
                room,
                theme.symbols.cut,
            )
            .into_owned(),
            false => part.clone(),
        };
        let line = Line::from(vec![
            Span::styled(who, theme.strong),
            Span::styled(part, verdict_style(row, theme)),
        ]);
        put(buffer, area, y, &line);
    }
}

/// Why there are no rows, and what to do about it.
fn explain(buffer: &mut Buffer, body: Rect, state: &State, theme: &Theme) {
    let endpoint = state.settings.endpoint.to_string();
    let (style, title, next) = match (&state.link, &state.seen) {
        (Link::Lost { error, .. }, _) => (theme.bad, "no data".to_owned(), error.clone()),
        (_, None) => (theme.dim, "connecting".to_owned(), format!("to {endpoint}")),
        (_, Some(_)) if state.processes.total() > 0 => (
            theme.warn,
            "no process matches the filter".to_owned(),
            "press / to change it, Esc to drop it".to_owned(),
        ),
        (_, Some(seen)) => {
            let next = if seen.agent.bpf.available {
                "start a GPU program, or one under control with `xsched-agent run --class high -- PROGRAM`"
            } else {
                "only programs with the shim can be seen (press a for the reason): \
                 start one with `xsched-agent run --class high -- PROGRAM`"
            };
            (
                theme.text,
                format!("no process uses {TITLES}"),
                next.to_owned(),
            )
        }
    };
    let columns = usize::from(body.width).saturating_sub(4).min(76);
    let text = wrap(&crate::text::clean(&next), columns, theme.symbols.cut);
    let top = body.height.saturating_sub(text.len() as u16 + 2) / 2;
    let centred = |text: String, style| Line::styled(text, style).alignment(Alignment::Center);
    put(buffer, body, top, &centred(title, style));
    for (line, y) in text.into_iter().zip(top + 2..) {
        put(buffer, body, y, &centred(line, theme.text));
    }
}
