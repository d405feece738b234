//! Drawing: a pure function of the state. No I/O here.

mod apis;
mod ascii;
mod attr;
mod bars;
mod chart;
mod charts;
mod detail;
mod devices;
mod events;
mod findings;
pub mod footer;
mod hardware;
mod header;
mod heat;
mod overview;
mod page;
mod plot;
pub mod popup;
mod process;
mod question;
mod table;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use page::PageLine;

use crate::action::Screen;
use crate::input::Keymap;
use crate::layout::{Layout, SMALLEST};
use crate::state::{Extent, Mode, Size, State};
use crate::text::{fit, width};
use crate::theme::{Charset, Palette, Theme};

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, state: &State, keys: &Keymap, theme: &Theme) {
    let area = frame.area();
    let size = Size {
        width: area.width,
        height: area.height,
    };
    let buffer = frame.buffer_mut();
    buffer.set_style(area, theme.text);
    if size.width < SMALLEST.width || size.height < SMALLEST.height {
        too_small(buffer, area, theme);
    } else {
        let layout = Layout::of(size, state);
        header::draw(buffer, layout.header, state, theme);
        header::draw_tabs(buffer, &layout, state, theme);
        header::draw_warnings(buffer, layout.warnings, state, theme);
        match state.screen {
            Screen::Processes => {
                overview::draw(buffer, layout.charts, state, theme);
                table::draw(buffer, &layout, state, theme);
                detail::draw(buffer, layout.detail, state, theme);
                table::draw_why(buffer, layout.why, state, theme);
            }
            screen => {
                let lines = lines(screen, layout.main, state, theme);
                page::draw(buffer, layout.main, &lines, state.scroll, theme);
            }
        }
        footer::draw_prompt(buffer, layout.prompt, state, theme);
        footer::draw_keys(buffer, layout.footer, state, keys, theme);
        popup::draw(buffer, area, state, keys, theme);
    }
    if theme.charset == Charset::Ascii {
        ascii::convert(buffer);
    }
}

/// How far what `state` shows reaches.
pub fn extent(state: &State, keys: &Keymap) -> Extent {
    let theme = Theme::new(Palette::Mono, Charset::Ascii);
    let columns = state.size.width;
    let layout = Layout::of(state.size, state);
    let (lines, room) = match (&state.mode, state.screen, state.processes.selected()) {
        (Mode::Browse, Screen::Processes, None) => (0, 0),
        (Mode::Browse, Screen::Processes, Some(row)) => (
            detail::lines(row, columns.into(), &theme).len(),
            layout.detail.height.saturating_sub(1),
        ),
        (Mode::Browse, screen, _) => (
            lines(screen, layout.main, state, &theme).len(),
            layout.main.height,
        ),
        _ => (
            popup::lines(state, keys, columns, &theme).len(),
            state.size.height.saturating_sub(3),
        ),
    };
    let last_line = u16::try_from(lines)
        .unwrap_or(u16::MAX)
        .saturating_sub(room);
    Extent {
        rows: layout.rows(),
        last_line,
    }
}

/// The lines of a screen that is read.
fn lines<'a>(screen: Screen, area: Rect, state: &'a State, theme: &'a Theme) -> Vec<PageLine<'a>> {
    let written = |lines: Vec<Line<'static>>| lines.into_iter().map(PageLine::from).collect();
    match screen {
        Screen::Processes => Vec::new(),
        Screen::Process => written(process::lines(state, area, theme)),
        Screen::Devices => devices::lines(state, area, theme),
        Screen::Hardware => written(hardware::lines(state, area, theme)),
        Screen::Events => events::lines(state, area, theme),
    }
}

fn too_small(buffer: &mut Buffer, area: Rect, theme: &Theme) {
    let text = format!(
        "terminal too small: {}x{}, need {}x{}",
        area.width, area.height, SMALLEST.width, SMALLEST.height
    );
    let lines = crate::text::wrap(&text, area.width.into(), theme.symbols.cut);
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        buffer.set_string(area.x, y, line, theme.bad);
    }
}

/// Draws `line` on line `y` of `area`, if there is such a line.
fn put(buffer: &mut Buffer, area: Rect, y: u16, line: &Line<'_>) {
    if y < area.height {
        buffer.set_line(area.x, area.y + y, line, area.width);
    }
}

/// A part of a line that can be left out when the line is too long.
struct Segment {
    spans: Vec<Span<'static>>,
    /// Lower goes first.
    importance: u8,
}

impl Segment {
    fn new(importance: u8, text: impl Into<String>, style: Style) -> Segment {
        Segment {
            spans: vec![Span::styled(text.into(), style)],
            importance,
        }
    }

    fn width(&self) -> usize {
        self.spans.iter().map(|span| width(&span.content)).sum()
    }
}

/// The most important segments that fit in `columns`, in their order, two
/// blanks apart; one that is alone and still too long is cut.
fn join_segments(mut segments: Vec<Segment>, columns: usize, theme: &Theme) -> Line<'static> {
    let total = |segments: &[Segment]| -> usize {
        let texts: usize = segments.iter().map(Segment::width).sum();
        texts + 2 * segments.len().saturating_sub(1)
    };
    while segments.len() > 1 && total(&segments) > columns {
        let least = segments
            .iter()
            .enumerate()
            .min_by_key(|(_, segment)| segment.importance)
            .map_or(0, |(index, _)| index);
        segments.remove(least);
    }
    let mut spans = Vec::new();
    for segment in segments {
        if !spans.is_empty() {
            spans.push(Span::raw("  "));
        }
        spans.extend(segment.spans);
    }
    if let [span] = &mut spans[..] {
        let cut = fit(&span.content, columns, theme.symbols.cut).into_owned();
        span.content = cut.into();
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests;
