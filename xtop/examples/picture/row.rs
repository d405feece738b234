//! One line of the screen as markup.
//!
//! Each word has the place of its first cell and nothing stretches it: a
//! font's own advance is kept, which browsers change otherwise. No text holds
//! a space: browsers collapse runs of them.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier, Style};

use xtop::text::width;

use super::shapes::{Arms, Shape, dot_runs};
use super::svg::{CELL, DOT, MARGIN, SCREEN, TEXT};

/// Colours in use, by their number among the classes of the style sheet.
#[derive(Default)]
pub struct Colours(Vec<String>);

impl Colours {
    /// The class of a colour.
    fn class(&mut self, colour: &str) -> String {
        let known = self.0.iter().position(|one| one == colour);
        let number = known.unwrap_or_else(|| {
            self.0.push(colour.to_owned());
            self.0.len() - 1
        });
        format!("c{number}")
    }

    /// Rules for all of them.
    pub fn rules(&self) -> String {
        let mut rules = String::new();
        for (number, colour) in self.0.iter().enumerate() {
            let _ = write!(rules, ".c{number}{{fill:{colour};color:{colour}}}");
        }
        rules
    }
}

/// Neighbouring cells that look alike and are drawn alike.
struct Run<'b> {
    /// The first column.
    x: usize,
    columns: usize,
    symbols: Vec<&'b str>,
    style: Style,
}

/// Where a column begins.
fn across(column: usize) -> usize {
    MARGIN + column * CELL.0
}

/// The left edge and the upper edge of a line's first cell.
pub fn top(line: usize) -> usize {
    MARGIN + line * CELL.1
}

/// The markup of a line, in pieces: words lie on shapes.
#[derive(Clone, Default, PartialEq)]
pub struct Row {
    line: usize,
    /// Elements.
    shapes: Vec<String>,
    /// Parts of one text.
    words: Vec<String>,
}

impl Row {
    /// Line `y` of a screen.
    pub fn of(buffer: &Buffer, y: u16, colours: &mut Colours) -> Row {
        let mut row = Row {
            line: y.into(),
            ..Row::default()
        };
        let mut x = 0;
        while x < buffer.area.width {
            let run = Run::at(buffer, x, y);
            x += run.columns as u16;
            run.draw(&mut row, colours);
        }
        row
    }

    /// Takes from `rows` what all of them have.
    pub fn take_common(rows: &mut [Row]) -> Row {
        let common = |pieces: fn(&Row) -> &Vec<String>| -> Vec<String> {
            let Some((first, others)) = rows.split_first() else {
                return Vec::new();
            };
            let everywhere = |piece: &&String| others.iter().all(|row| pieces(row).contains(piece));
            pieces(first).iter().filter(everywhere).cloned().collect()
        };
        let shapes = common(|row| &row.shapes);
        let is_hidden = rows
            .iter()
            .any(|row| row.shapes.len() > shapes.len() && row.has_background_beyond(&shapes));
        // A background that comes and goes would lie on words that stay.
        let words = match is_hidden {
            true => Vec::new(),
            false => common(|row| &row.words),
        };
        for row in &mut *rows {
            row.shapes.retain(|shape| !shapes.contains(shape));
            row.words.retain(|word| !words.contains(word));
        }
        Row {
            line: rows.first().map_or(0, |row| row.line),
            shapes,
            words,
        }
    }

    fn has_background_beyond(&self, common: &[String]) -> bool {
        let own = self.shapes.iter().filter(|shape| !common.contains(shape));
        own.into_iter().any(|shape| shape.starts_with("<rect"))
    }

    /// The markup.
    pub fn markup(&self) -> String {
        let mut markup = self.shapes.concat();
        if !self.words.is_empty() {
            let base = top(self.line) + CELL.1 * 19 / 25;
            let words = self.words.concat();
            let _ = writeln!(markup, "<text y=\"{base}\">{words}</text>");
        }
        markup
    }
}

/// What kind of markup draws a symbol.
fn kind(symbol: &str) -> Option<std::mem::Discriminant<Shape>> {
    Shape::of(symbol).map(|shape| std::mem::discriminant(&shape))
}

impl<'b> Run<'b> {
    fn at(buffer: &'b Buffer, x: u16, y: u16) -> Run<'b> {
        let first = &buffer[(x, y)];
        let mut run = Run {
            x: x.into(),
            columns: 0,
            symbols: Vec::new(),
            style: first.style(),
        };
        while run.x + run.columns < usize::from(buffer.area.width) {
            let cell: &Cell = &buffer[((run.x + run.columns) as u16, y)];
            if cell.style() != run.style || kind(cell.symbol()) != kind(first.symbol()) {
                break;
            }
            run.symbols.push(cell.symbol());
            // What follows a wide character is its other half.
            run.columns += width(cell.symbol()).max(1);
        }
        run
    }

    fn draw(&self, row: &mut Row, colours: &mut Colours) {
        let mut front = colour(self.style.fg).unwrap_or_else(|| TEXT.into());
        let mut back = colour(self.style.bg);
        if self.style.add_modifier.contains(Modifier::REVERSED) {
            let text = back.replace(front);
            front = text.unwrap_or_else(|| SCREEN.into());
        }
        let (x, y) = (across(self.x), top(row.line));
        if let Some(back) = back {
            let class = colours.class(&back);
            let length = self.columns * CELL.0;
            row.shapes.push(format!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{length}\" height=\"{}\"/>\n",
                CELL.1
            ));
        }
        if self.symbols.iter().all(|symbol| *symbol == " ") {
            return;
        }
        let class = match front.as_str() {
            TEXT => String::new(),
            front => colours.class(front),
        };
        match Shape::of(self.symbols[0]) {
            None => self.write(&class, &mut row.words),
            Some(Shape::Dots(_)) => self.dots(y, &class, &mut row.shapes),
            Some(Shape::Lines(_)) => self.lines(y, &class, &mut row.shapes),
            Some(Shape::Bar(..) | Shape::Shade(_)) => self.bars(y, &class, &mut row.shapes),
        }
    }

    /// Equal bars are one rectangle, without seams.
    fn bars(&self, y: usize, class: &str, shapes: &mut Vec<String>) {
        let mut column = self.x;
        for equal in self.symbols.chunk_by(|a, b| a == b) {
            let (across_eighths, up_eighths, quarters) = match Shape::of(equal[0]) {
                Some(Shape::Bar(across, up)) => (across as usize, up as usize, 4),
                Some(Shape::Shade(quarters)) => (8, 8, quarters),
                _ => continue,
            };
            let width = (equal.len() - 1) * CELL.0 + CELL.0 * across_eighths / 8;
            let height = CELL.1 * up_eighths / 8;
            let opacity = match quarters {
                4 => String::new(),
                quarters => format!(" opacity=\".{}\"", quarters * 25),
            };
            shapes.push(format!(
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\"{opacity}/>\n",
                across(column),
                y + CELL.1 - height
            ));
            column += equal.len();
        }
    }

    /// Dots of a line are dashes of one stroke.
    fn dots(&self, y: usize, class: &str, shapes: &mut Vec<String>) {
        let patterns = self.symbols.iter().map(|symbol| match Shape::of(symbol) {
            Some(Shape::Dots(dots)) => dots,
            _ => 0,
        });
        let mut path = String::new();
        for (quarter, half, dots) in dot_runs(&patterns.collect::<Vec<u8>>()) {
            let x = across(self.x) + half * CELL.0 / 2;
            let y = y + quarter * CELL.1 / 4 + DOT / 2;
            let length = (dots - 1) * CELL.0 / 2 + DOT;
            let _ = write!(path, "M{x} {y}h{length}");
        }
        if !path.is_empty() {
            shapes.push(format!("<path class=\"{class} d\" d=\"{path}\"/>\n"));
        }
    }

    fn lines(&self, y: usize, class: &str, shapes: &mut Vec<String>) {
        let (half, middle) = (CELL.0 / 2, y + CELL.1 / 2);
        let mut path = String::new();
        let mut column = self.x;
        for equal in self.symbols.chunk_by(|a, b| a == b) {
            let Some(Shape::Lines(arms)) = Shape::of(equal[0]) else {
                continue;
            };
            let horizontal: Arms = [false, true, false, true];
            if arms == horizontal {
                let length = equal.len() * CELL.0;
                let _ = write!(path, "M{} {middle}h{length}", across(column));
            } else {
                for column in column..column + equal.len() {
                    let x = across(column) + half;
                    let ends = [
                        format!("V{y}"),
                        format!("h{half}"),
                        format!("V{}", y + CELL.1),
                        format!("h-{half}"),
                    ];
                    for (_, end) in arms.iter().zip(ends).filter(|(present, _)| **present) {
                        let _ = write!(path, "M{x} {middle}{end}");
                    }
                }
            }
            column += equal.len();
        }
        shapes.push(format!("<path class=\"{class} l\" d=\"{path}\"/>\n"));
    }

    /// Words at their columns. Characters that the font may lack, so that
    /// another one shows them with an advance of its own, stand alone.
    fn write(&self, class: &str, words: &mut Vec<String>) {
        let bold = match self.style.add_modifier.contains(Modifier::BOLD) {
            true => "b",
            false => "",
        };
        let classes = [class, bold].join(" ");
        let attribute = match classes.trim() {
            "" => String::new(),
            classes => format!(" class=\"{classes}\""),
        };
        let mut column = self.x;
        let together = |a: &&str, b: &&str| {
            let plain = |symbol: &str| symbol != " " && symbol.is_ascii();
            plain(a) && plain(b)
        };
        for word in self.symbols.chunk_by(together) {
            if word[0] != " " {
                let text = word.concat();
                let text = text
                    .replace('&', "&amp;")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;");
                words.push(format!(
                    "<tspan x=\"{}\"{attribute}>{text}</tspan>",
                    across(column)
                ));
            }
            column += word
                .iter()
                .map(|symbol| width(symbol).max(1))
                .sum::<usize>();
        }
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
