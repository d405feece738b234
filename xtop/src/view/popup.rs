//! Boxes over the table: menus, confirmation, help, the agent's limits.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use super::detail::wrapped;
use super::{put, question};
use crate::column::Column;
use crate::format;
use crate::input::{Key, Keymap};
use crate::state::{Mode, State};
use crate::text::wrap;
use crate::theme::Theme;

/// Draws the popup of the mode, if it has one.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, keys: &Keymap, theme: &Theme) {
    match &state.mode {
        Mode::Browse | Mode::Filter(_) => {}
        Mode::Sort(column) => menu(buffer, area, "sort by", *column, |_| "", theme),
        Mode::Columns(column) => {
            let mark = |column: Column| match state.processes.is_wanted(column) {
                true => "[x] ",
                false => "[ ] ",
            };
            menu(buffer, area, "columns", *column, mark, theme);
        }
        Mode::Ask(question) => question::draw(buffer, area, question, theme),
        Mode::Help(first) => {
            text(
                buffer,
                area,
                "help",
                &lines(state, keys, area.width, theme),
                *first,
                theme,
            );
        }
        Mode::Agent(first) => {
            text(
                buffer,
                area,
                "agent",
                &lines(state, keys, area.width, theme),
                *first,
                theme,
            );
        }
    }
}

/// The lines of the text that is shown, if it is one.
pub fn lines(state: &State, keys: &Keymap, columns: u16, theme: &Theme) -> Vec<Line<'static>> {
    let columns = usize::from(columns).saturating_sub(6);
    match state.mode {
        Mode::Help(_) => help(keys, columns, theme),
        Mode::Agent(_) => agent(state, columns, theme),
        _ => Vec::new(),
    }
}

/// Clears a box of this inner size in the middle of `area`; returns its
/// inside.
pub(super) fn open(
    buffer: &mut Buffer,
    area: Rect,
    title: &str,
    size: (u16, u16),
    theme: &Theme,
) -> Rect {
    let width = (size.0 + 4).min(area.width);
    let height = (size.1 + 2).min(area.height.saturating_sub(1));
    let frame = Rect::new(
        area.x + (area.width - width) / 2,
        area.y + (area.height - 1 - height) / 2,
        width,
        height,
    );
    Clear.render(frame, buffer);
    buffer.set_style(frame, theme.text);
    let block = Block::bordered()
        .border_set(theme.symbols.border)
        .border_style(theme.border)
        .title(Span::styled(format!(" {title} "), theme.strong));
    let inner = block.inner(frame);
    block.render(frame, buffer);
    Rect::new(
        inner.x + 1,
        inner.y,
        inner.width.saturating_sub(2),
        inner.height,
    )
}

fn menu(
    buffer: &mut Buffer,
    area: Rect,
    title: &str,
    column: Column,
    mark: impl Fn(Column) -> &'static str,
    theme: &Theme,
) {
    let all = Column::ALL;
    let inner = open(buffer, area, title, (56, all.len() as u16), theme);
    let place = all.iter().position(|&c| c == column).unwrap_or(0);
    let first = (place + 1).saturating_sub(inner.height.into());
    for (column_here, y) in all[first..].iter().zip(0..inner.height) {
        let text = format!(
            "{}{:<9} {}",
            mark(*column_here),
            column_here.name(),
            column_here.meaning()
        );
        put(buffer, inner, y, &Line::styled(text, theme.text));
        if *column_here == column {
            buffer.set_style(
                Rect::new(inner.x, inner.y + y, inner.width, 1),
                theme.selected,
            );
        }
    }
}

fn text(
    buffer: &mut Buffer,
    area: Rect,
    title: &str,
    lines: &[Line<'static>],
    first: u16,
    theme: &Theme,
) {
    let width = lines.iter().map(Line::width).max().unwrap_or(0) as u16;
    let inner = open(buffer, area, title, (width, lines.len() as u16), theme);
    let room = usize::from(inner.height);
    let first = usize::from(first).min(lines.len().saturating_sub(room));
    for (line, y) in lines[first..].iter().zip(0..inner.height) {
        put(buffer, inner, y, line);
    }
    let hidden = lines.len().saturating_sub(first + room);
    if hidden > 0 {
        let text = format!(" {hidden} more: j ");
        let x = inner.right().saturating_sub(text.len() as u16);
        buffer.set_string(x, inner.bottom(), text, theme.key);
    }
}

fn help(keymap: &Keymap, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    const KEYS: usize = 16;
    let mut lines = Vec::new();
    for binding in keymap.help() {
        let Some(help) = binding.help else { continue };
        let keys: Vec<String> = binding.keys.iter().map(Key::to_string).collect();
        let text = wrap(help, columns.saturating_sub(KEYS), theme.symbols.cut);
        for (i, part) in text.into_iter().enumerate() {
            let keys = if i == 0 {
                keys.join(" ")
            } else {
                String::new()
            };
            lines.push(Line::from(vec![
                Span::styled(format!("{keys:<KEYS$}"), theme.key),
                Span::styled(part, theme.text),
            ]));
        }
    }
    lines.push(Line::default());
    lines.push(Line::styled(
        "COLUMN  name in filters, meaning; - is unknown",
        theme.title,
    ));
    for column in Column::ALL {
        let text = format!(
            "{:<9} {:<9} {}",
            column.title(),
            column.name(),
            column.meaning()
        );
        lines.push(Line::styled(text, theme.text));
    }
    lines
}

fn agent(state: &State, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let Some(seen) = &state.seen else {
        return vec![Line::styled("nothing heard from the agent yet", theme.text)];
    };
    let agent = &seen.agent;
    let endpoint = state.settings.endpoint.to_string();
    let bpf = match (&agent.bpf.reason, agent.bpf.available) {
        (_, true) => format!(
            "bpf: {} in {}, {} calls counted",
            format::plural(agent.bpf.probes as usize, "probe", "probes"),
            format::plural(agent.bpf.images as usize, "runtime image", "runtime images"),
            agent.bpf.events
        ),
        (Some(reason), false) => format!("bpf off: {reason}"),
        (None, false) => "bpf off, no reason given".to_owned(),
    };
    let abi = match agent.abi.as_str() {
        "" => "which shims can join it, it does not say".to_owned(),
        abi => format!("shims of ABI {abi} join it"),
    };
    let up = format::age(std::time::Duration::from_nanos(agent.uptime_ns.0));
    let mut paragraphs = vec![
        (
            format!(
                "agent {} (pid {}) at {endpoint}, up {up}",
                agent.version, agent.pid
            ),
            theme.text,
        ),
        (bpf, theme.text),
        (abi, theme.text),
        (
            format!(
                "probes in place {} of the time",
                format::share(agent.sampling.factor)
            ),
            theme.text,
        ),
    ];
    paragraphs.push(match agent.drops.total {
        0 => ("no events dropped".to_owned(), theme.text),
        n => (
            format!("{n} events dropped: counts are too low by these"),
            theme.bad,
        ),
    });
    for drop in &agent.drops.by_reason {
        paragraphs.push((format!("- {}: {}", drop.reason, drop.count), theme.bad));
    }
    for warning in &agent.warnings {
        paragraphs.push((format!("! {}: {}", warning.code, warning.text), theme.bad));
    }
    if agent.limits.is_empty() {
        paragraphs.push(("nothing is missing".to_owned(), theme.good));
    }
    for limit in &agent.limits {
        paragraphs.push((format!("- {limit}"), theme.warn));
    }
    paragraphs
        .into_iter()
        .flat_map(|(text, style)| wrapped(&text, columns, style, theme))
        .collect()
}
