//! A screen as an SVG picture, for documents.
//!
//! Each word has its place and width, so that the picture is aligned whichever
//! font shows it. No text holds a space: browsers collapse runs of spaces and
//! then stretch what is left. Bars are rectangles, which have no seams, and
//! braille is drawn dot by dot: few fonts have it.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier, Style};

use xtop::text::width;

/// A column and a line, pixels.
const CELL: (f32, f32) = (8.4, 17.0);

/// Around the screen, pixels.
const MARGIN: f32 = 14.0;

/// The screen's colours where the cells name none.
const TEXT: &str = "#d0d0d0";
const SCREEN: &str = "#1c1c1c";

/// The picture of `buffer`.
#[cfg(test)]
fn svg(buffer: &Buffer) -> String {
    animated(std::slice::from_ref(buffer), 0.0)
}

/// The pictures of `frames`, each shown for `seconds`, again and again; of one
/// alone, it stands.
pub fn animated(frames: &[Buffer], seconds: f32) -> String {
    let Some(first) = frames.first() else {
        return String::new();
    };
    let area = first.area;
    let (cell_width, cell_height) = CELL;
    let picture_width = f32::from(area.width) * cell_width + 2.0 * MARGIN;
    let picture_height = f32::from(area.height) * cell_height + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{picture_width:.0}\" \
         height=\"{picture_height:.0}\" viewBox=\"0 0 {picture_width:.0} {picture_height:.0}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{SCREEN}\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
         font-size=\"14\" shape-rendering=\"crispEdges\">\n"
    );
    let all = seconds * frames.len() as f32;
    if frames.len() > 1 {
        // Hidden but for its own part of the time.
        let share = 100.0 / frames.len() as f32;
        let _ = writeln!(
            svg,
            "<style>.f{{visibility:hidden;animation:f {all}s step-end infinite}}\
             @keyframes f{{0%{{visibility:visible}}{share:.3}%{{visibility:hidden}}}}</style>"
        );
    }
    for (buffer, n) in frames.iter().zip(0_u16..) {
        if frames.len() > 1 {
            let delay = seconds * f32::from(n);
            let _ = writeln!(svg, "<g class=\"f\" style=\"animation-delay:{delay}s\">");
        }
        for y in area.top()..area.bottom() {
            let mut x = area.left();
            while x < area.right() {
                let run = Run::at(buffer, x, y);
                run.draw(&mut svg);
                x += run.columns;
            }
        }
        if frames.len() > 1 {
            svg.push_str("</g>\n");
        }
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// Neighbouring cells that look alike.
struct Run {
    x: u16,
    y: u16,
    columns: u16,
    text: String,
    style: Style,
    kind: Kind,
}

/// How a run is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Bars,
    Dots,
}

impl Kind {
    fn of(symbol: &str) -> Kind {
        match (bar(symbol), dots(symbol)) {
            (Some(_), _) => Kind::Bars,
            (None, Some(_)) => Kind::Dots,
            (None, None) => Kind::Text,
        }
    }
}

impl Run {
    /// The run that begins there.
    fn at(buffer: &Buffer, x: u16, y: u16) -> Run {
        let first = &buffer[(x, y)];
        let mut run = Run {
            x,
            y,
            columns: 0,
            text: String::new(),
            style: first.style(),
            kind: Kind::of(first.symbol()),
        };
        while x + run.columns < buffer.area.right() {
            let cell: &Cell = &buffer[(x + run.columns, y)];
            let is_alike = cell.style() == run.style && Kind::of(cell.symbol()) == run.kind;
            if !is_alike {
                break;
            }
            run.text.push_str(cell.symbol());
            // What follows a wide character is its other half.
            run.columns += (width(cell.symbol()) as u16).max(1);
        }
        run
    }

    fn draw(&self, svg: &mut String) {
        let (cell_width, cell_height) = CELL;
        let x = MARGIN + f32::from(self.x) * cell_width;
        let y = MARGIN + f32::from(self.y) * cell_height;
        let length = f32::from(self.columns) * cell_width;
        let mut front = colour(self.style.fg).unwrap_or_else(|| TEXT.into());
        let mut back = colour(self.style.bg);
        let modifiers = self.style.add_modifier;
        if modifiers.contains(Modifier::REVERSED) {
            let text = back.replace(front);
            front = text.unwrap_or_else(|| SCREEN.into());
        }
        // Writing to a string does not fail.
        if let Some(back) = back {
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" \
                 height=\"{cell_height:.1}\" fill=\"{back}\"/>"
            );
        }
        if self.kind == Kind::Dots {
            let _ = writeln!(svg, "<path d=\"{}\" fill=\"{front}\"/>", self.path(x, y));
            return;
        }
        if self.kind == Kind::Bars {
            let symbols: Vec<char> = self.text.chars().collect();
            let mut x = x;
            // Equal bars are one rectangle, without seams.
            for equal in symbols.chunk_by(|a, b| a == b) {
                let Some((part_x, part_y)) = bar(equal[0].encode_utf8(&mut [0; 4])) else {
                    continue;
                };
                let full = (equal.len() - 1) as f32 * cell_width;
                let (bar_width, bar_height) = (full + cell_width * part_x, cell_height * part_y);
                let y = y + cell_height - bar_height;
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{bar_width:.1}\" \
                     height=\"{bar_height:.1}\" fill=\"{front}\"/>"
                );
                x += full + cell_width;
            }
            return;
        }
        let weight = match modifiers.contains(Modifier::BOLD) {
            true => " font-weight=\"bold\"",
            false => "",
        };
        let base = y + cell_height * 0.76;
        let mut column = self.x;
        for word in self.text.split(' ') {
            let columns = width(word) as u16;
            let x = MARGIN + f32::from(column) * cell_width;
            let length = f32::from(columns) * cell_width;
            column += columns + 1;
            if word.is_empty() {
                continue;
            }
            let word = word
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{base:.1}\" textLength=\"{length:.1}\" \
                 lengthAdjust=\"spacingAndGlyphs\" fill=\"{front}\"{weight}>{word}</text>"
            );
        }
    }
}

impl Run {
    /// Every dot of a run of braille, as squares.
    fn path(&self, x: f32, y: f32) -> String {
        let (width, height) = (CELL.0 / 2.0, CELL.1 / 4.0);
        let mut path = String::new();
        for (symbol, column) in self.text.chars().zip(0_u16..) {
            let Some(dots) = dots(symbol.encode_utf8(&mut [0; 4])) else {
                continue;
            };
            for (bit, (across, down)) in DOTS.into_iter().enumerate() {
                if dots >> bit & 1 == 1 {
                    let x = x + f32::from(column) * CELL.0 + across * width;
                    let y = y + down * height;
                    // Writing to a string does not fail.
                    let _ = write!(path, "M{x:.1} {y:.1}h3.4v3.4h-3.4z");
                }
            }
        }
        path
    }
}

/// Where the dots of braille are, by bit (Unicode, block Braille Patterns).
const DOTS: [(f32, f32); 8] = [
    (0.0, 0.0),
    (0.0, 1.0),
    (0.0, 2.0),
    (1.0, 0.0),
    (1.0, 1.0),
    (1.0, 2.0),
    (0.0, 3.0),
    (1.0, 3.0),
];

/// The dots of a braille pattern.
fn dots(symbol: &str) -> Option<u8> {
    let mut chars = symbol.chars();
    match (chars.next()?, chars.next()) {
        (c @ '\u{2800}'..='\u{28ff}', None) => Some((c as u32 - 0x2800) as u8),
        _ => None,
    }
}

/// The part of its cell that a block element fills, from the left and from
/// below (Unicode 2581 to 258F).
fn bar(symbol: &str) -> Option<(f32, f32)> {
    let mut chars = symbol.chars();
    let (first, None) = (chars.next()?, chars.next()) else {
        return None;
    };
    let code = u32::from(first);
    match code {
        0x2581..=0x2588 => Some((1.0, (code - 0x2580) as f32 / 8.0)),
        0x2589..=0x258f => Some(((0x2590 - code) as f32 / 8.0, 1.0)),
        _ => None,
    }
}

/// As `#rrggbb`; none for the terminal's own.
fn colour(colour: Option<Color>) -> Option<String> {
    let (r, g, b) = match colour? {
        Color::Rgb(r, g, b) => (r, g, b),
        Color::Indexed(n @ 16..) => indexed(n),
        _ => return None,
    };
    Some(format!("#{r:02x}{g:02x}{b:02x}"))
}

/// The colour cube and the greys of 256-colour terminals (xterm's
/// 256colres.pl).
fn indexed(n: u8) -> (u8, u8, u8) {
    let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    match n {
        232.. => {
            let grey = 8 + 10 * (n - 232);
            (grey, grey, grey)
        }
        _ => {
            let n = n.saturating_sub(16);
            (level(n / 36), level(n / 6 % 6), level(n % 6))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;

    #[test]
    fn runs_keep_their_columns_and_bars_are_rectangles() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 2));
        let red = Style::new().fg(Color::Indexed(203)).bg(Color::Indexed(238));
        buffer.set_string(0, 0, "a<推論>", red);
        buffer.set_string(0, 1, "▁█▌", Style::new().fg(Color::Rgb(1, 2, 3)));
        let picture = svg(&buffer);
        let wide = format!("textLength=\"{:.1}\"", 7.0 * CELL.0);
        assert!(picture.contains(&wide), "{picture}");
        assert!(picture.contains(">a&lt;推論&gt;</text>"));
        assert!(picture.contains("#ff5f5f") && picture.contains("#444444"));
        assert_eq!(picture.matches("fill=\"#010203\"").count(), 3);
        assert_eq!(picture.matches("<text").count(), 1, "blanks are not drawn");
    }

    /// Browsers collapse runs of spaces inside a text.
    #[test]
    fn words_stand_in_their_columns_and_no_text_holds_a_space() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 1));
        buffer.set_string(1, 0, "PID  COMMAND", Style::new());
        let picture = svg(&buffer);
        let place = |column: f32| format!("<text x=\"{:.1}\"", MARGIN + column * CELL.0);
        assert!(picture.contains(&place(1.0)), "{picture}");
        assert!(picture.contains(&place(6.0)), "{picture}");
        for text in picture.split("<text ").skip(1) {
            let shown = text.split(['>', '<']).nth(1);
            assert!(shown.is_some_and(|shown| !shown.contains(' ')), "{text}");
        }
    }
}
