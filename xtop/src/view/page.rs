//! A page that is read and scrolls. Of a thousand lines, only those on screen
//! are written.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::put;
use crate::theme::Theme;

/// A line of a page.
pub enum PageLine<'a> {
    /// As it is.
    Written(Line<'static>),
    /// Written once it is on screen: for lines of which there may be one for
    /// each process.
    Later(Box<dyn Fn() -> Line<'static> + 'a>),
}

impl From<Line<'static>> for PageLine<'_> {
    fn from(line: Line<'static>) -> Self {
        PageLine::Written(line)
    }
}

impl<'a> PageLine<'a> {
    /// One that `write` writes when it is on screen.
    pub fn later(write: impl Fn() -> Line<'static> + 'a) -> PageLine<'a> {
        PageLine::Later(Box::new(write))
    }
}

/// Draws `lines` from `first` on, and how many are left.
pub fn draw(buffer: &mut Buffer, area: Rect, lines: &[PageLine<'_>], first: u16, theme: &Theme) {
    let room = usize::from(area.height);
    let first = usize::from(first).min(lines.len().saturating_sub(room));
    for (line, y) in lines[first..].iter().zip(0..area.height) {
        match line {
            PageLine::Written(line) => put(buffer, area, y, line),
            PageLine::Later(write) => put(buffer, area, y, &write()),
        }
    }
    let hidden = lines.len().saturating_sub(first + room);
    if hidden > 0 && area.height > 0 {
        let text = format!(" {hidden} more: j ");
        let x = area.right().saturating_sub(text.len() as u16);
        buffer.set_string(x, area.bottom() - 1, text, theme.key);
    }
}
