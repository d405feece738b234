//! Boxes over the table: menus, confirmation, help, the agent's limits.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use super::detail::wrapped;
use super::{put, question};
use crate::action::Action;
use crate::column::Column;
use crate::format;
use crate::input::{Key, Keymap};
use crate::state::{Mode, State};
use crate::text::wrap;
use crate::theme::Theme;

/// How far a click on how many lines are left goes.
const FURTHER: i16 = 10;

/// A box over the screen.
pub(super) struct Popup {
    pub title: &'static str,
    /// Columns inside.
    pub width: u16,
    pub lines: Vec<PopupLine>,
    pub kind: Kind,
}

/// How lines beyond the box are reached.
pub(super) enum Kind {
    /// A menu with its cursor on this line: the box follows it.
    Menu(usize),
    /// A text, from this line on.
    Text(usize),
    /// Whatever fits.
    Question,
}

/// A line of a box.
pub(super) struct PopupLine {
    line: Line<'static>,
    /// What a click on these columns does.
    clicks: Vec<(Range<u16>, Action)>,
}

impl From<Line<'static>> for PopupLine {
    fn from(line: Line<'static>) -> PopupLine {
        PopupLine {
            line,
            clicks: Vec::new(),
        }
    }
}

impl PopupLine {
    /// A click anywhere on it does `action`.
    pub fn doing(line: Line<'static>, action: Action) -> PopupLine {
        PopupLine {
            line,
            clicks: vec![(0..u16::MAX, action)],
        }
    }

    /// Of parts, some of which do something when they are clicked on.
    pub fn of_parts(parts: Vec<(Span<'static>, Option<Action>)>) -> PopupLine {
        let mut line = PopupLine::from(Line::default());
        for (span, action) in parts {
            let begin = line.line.width() as u16;
            line.line.spans.push(span);
            let columns = begin..line.line.width() as u16;
            line.clicks.extend(action.map(|action| (columns, action)));
        }
        line
    }
}

/// Where a box is.
struct Place {
    frame: Rect,
    inner: Rect,
    /// The first line shown, and how many are left below.
    first: usize,
    hidden: usize,
}

impl Popup {
    /// That of the mode, if it has one.
    fn of(state: &State, keys: &Keymap, columns: u16, theme: &Theme) -> Option<Popup> {
        match &state.mode {
            Mode::Browse | Mode::Filter(_) => None,
            Mode::Sort(column) => Some(menu("sort by", *column, |_| "", theme)),
            Mode::Columns(column) => {
                let mark = |column: Column| match state.processes.is_wanted(column) {
                    true => "[x] ",
                    false => "[ ] ",
                };
                Some(menu("columns", *column, mark, theme))
            }
            Mode::Ask(question) => Some(question::popup(question, columns, theme)),
            Mode::Help(first) | Mode::Agent(first) => {
                let lines = lines(state, keys, columns, theme);
                Some(Popup {
                    title: match state.mode {
                        Mode::Help(_) => "help",
                        _ => "agent",
                    },
                    width: lines.iter().map(Line::width).max().unwrap_or(0) as u16,
                    lines: lines.into_iter().map(PopupLine::from).collect(),
                    kind: Kind::Text((*first).into()),
                })
            }
        }
    }

    /// In the middle of `area`, above its last line.
    fn place(&self, area: Rect) -> Place {
        let width = (self.width + 4).min(area.width);
        let height = (self.lines.len() as u16 + 2).min(area.height.saturating_sub(1));
        let frame = Rect::new(
            area.x + (area.width - width) / 2,
            area.y + (area.height.saturating_sub(1) - height) / 2,
            width,
            height,
        );
        let inner = Rect::new(
            frame.x + 2,
            frame.y + 1,
            width.saturating_sub(4),
            height.saturating_sub(2),
        );
        let room = usize::from(inner.height);
        let first = match self.kind {
            Kind::Menu(cursor) => (cursor + 1).saturating_sub(room),
            Kind::Text(first) => first.min(self.lines.len().saturating_sub(room)),
            Kind::Question => 0,
        };
        Place {
            frame,
            inner,
            first,
            hidden: self.lines.len().saturating_sub(first + room),
        }
    }
}

/// Draws the popup of the mode, if it has one.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, keys: &Keymap, theme: &Theme) {
    let Some(popup) = Popup::of(state, keys, area.width, theme) else {
        return;
    };
    let place = popup.place(area);
    Clear.render(place.frame, buffer);
    buffer.set_style(place.frame, theme.text);
    Block::bordered()
        .border_set(theme.symbols.border)
        .border_style(theme.border)
        .title(Span::styled(format!(" {} ", popup.title), theme.strong))
        .render(place.frame, buffer);
    let inner = place.inner;
    let shown = popup.lines.iter().enumerate().skip(place.first);
    for ((at, line), y) in shown.zip(0..inner.height) {
        put(buffer, inner, y, &line.line);
        if matches!(popup.kind, Kind::Menu(cursor) if cursor == at) {
            let line = Rect::new(inner.x, inner.y + y, inner.width, 1);
            buffer.set_style(line, theme.selected);
        }
    }
    if place.hidden > 0 && matches!(popup.kind, Kind::Text(_)) {
        let text = format!(" {} more: j ", place.hidden);
        let x = inner.right().saturating_sub(text.len() as u16);
        buffer.set_string(x, inner.bottom(), text, theme.key);
    }
}

/// What a click at `at` does while there is a popup: beside it, it leaves; none
/// where it does nothing, or there is no popup.
pub fn action_at(at: Position, state: &State, keys: &Keymap, theme: &Theme) -> Option<Action> {
    let area = Rect::new(0, 0, state.size.width, state.size.height);
    let popup = Popup::of(state, keys, area.width, theme)?;
    let place = popup.place(area);
    if !place.frame.contains(at) {
        return Some(Action::Cancel);
    }
    if place.hidden > 0 && at.y == place.inner.bottom() {
        return Some(Action::Scroll(FURTHER));
    }
    if !place.inner.contains(at) {
        return None;
    }
    let line = popup
        .lines
        .get(place.first + usize::from(at.y - place.inner.y))?;
    let column = at.x - place.inner.x;
    let mut clicks = line.clicks.iter();
    let (_, action) = clicks.find(|(columns, _)| columns.contains(&column))?;
    Some(*action)
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

fn menu(
    title: &'static str,
    cursor: Column,
    mark: impl Fn(Column) -> &'static str,
    theme: &Theme,
) -> Popup {
    let line = |column: Column| {
        let (name, meaning) = (column.name(), column.meaning());
        let text = format!("{}{name:<9} {meaning}", mark(column));
        PopupLine::doing(Line::styled(text, theme.text), Action::Choose(column))
    };
    let at = Column::ALL.iter().position(|&column| column == cursor);
    Popup {
        title,
        width: 56,
        lines: Column::ALL.into_iter().map(line).collect(),
        kind: Kind::Menu(at.unwrap_or(0)),
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
