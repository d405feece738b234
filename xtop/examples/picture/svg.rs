//! Screens as an SVG picture, for documents: one that stands, or several, each
//! for a while.
//!
//! The picture's description is the first screen's text, for those who cannot
//! see it and for the test that compares what a browser shows with it.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;

use xtop::text::width;

use super::row::{Colours, Row, top};

/// The units of the picture: so many are one pixel of its natural size. Places
/// are whole numbers of them, which are short.
const UNITS: usize = 10;

/// A column and a line.
pub const CELL: (usize, usize) = (84, 172);

/// The side of a dot of braille; half a column and a quarter line are the
/// distance from one to the next.
pub const DOT: usize = 34;

/// Around the screen.
pub const MARGIN: usize = 140;

/// The screen's colours where the cells name none.
pub const TEXT: &str = "#d0d0d0";
pub const SCREEN: &str = "#1c1c1c";

/// The pictures of `frames`, each shown for `seconds`, again and again; of one
/// alone, it stands.
pub fn animated(frames: &[Buffer], seconds: f32) -> String {
    let Some(first) = frames.first() else {
        return String::new();
    };
    let mut colours = Colours::default();
    let layers = layers(frames, &mut colours);
    let (columns, lines) = (
        usize::from(first.area.width),
        usize::from(first.area.height),
    );
    let (wide, high) = (columns * CELL.0 + 2 * MARGIN, top(lines) + MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
         viewBox=\"0 0 {wide} {high}\" role=\"img\">\n<title>xtop</title>\n<desc>{}</desc>\n",
        wide / UNITS,
        high / UNITS,
        escape(&text(first))
    );
    // The dashes of a stroke begin anew with each of its parts.
    let _ = write!(
        svg,
        "<style>text{{white-space:pre}}{}.b{{font-weight:bold}}\
         .d,.l{{fill:none;stroke:currentColor}}\
         .d{{stroke-width:{DOT};stroke-dasharray:{DOT} {}}}.l{{stroke-width:11}}",
        colours.rules(),
        CELL.0 / 2 - DOT
    );
    if frames.len() > 1 {
        // Hidden but for its own part of the time; where nothing moves, the
        // first one stands.
        let all = seconds * frames.len() as f32;
        let share = 100.0 / frames.len() as f32;
        let _ = write!(
            svg,
            ".f{{visibility:hidden;animation:f {all}s step-end infinite}}.s{{visibility:visible}}\
             @keyframes f{{0%{{visibility:visible}}{share:.3}%{{visibility:hidden}}}}\
             @media(prefers-reduced-motion:reduce){{.f{{animation:none}}}}"
        );
    }
    let _ = write!(
        svg,
        "</style>\n<rect width=\"100%\" height=\"100%\" rx=\"80\" fill=\"{SCREEN}\"/>\n\
         <g font-family=\"'DejaVu Sans Mono', Menlo, 'Liberation Mono', 'Cascadia Mono', Consolas, \
         monospace\" font-size=\"140\" fill=\"{TEXT}\" color=\"{TEXT}\" \
         shape-rendering=\"crispEdges\">\n{}",
        layers.all
    );
    for (layer, n) in layers.each.iter().zip(0_u16..) {
        let delay = seconds * f32::from(n);
        let class = if n == 0 { "f s" } else { "f" };
        let _ = writeln!(
            svg,
            "<g class=\"{class}\" style=\"animation-delay:{delay}s\">\n{layer}</g>"
        );
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// What frames have in common, and what each has for itself.
struct Layers {
    all: String,
    /// Empty of one frame.
    each: Vec<String>,
}

fn layers(frames: &[Buffer], colours: &mut Colours) -> Layers {
    let mut layers = Layers {
        all: String::new(),
        each: vec![String::new(); if frames.len() > 1 { frames.len() } else { 0 }],
    };
    let height = frames.first().map_or(0, |first| first.area.height);
    for y in 0..height {
        let mut rows: Vec<Row> = frames
            .iter()
            .map(|buffer| Row::of(buffer, y, colours))
            .collect();
        layers.all += &Row::take_common(&mut rows).markup();
        for (layer, row) in layers.each.iter_mut().zip(&rows) {
            *layer += &row.markup();
        }
    }
    layers
}

/// A screen's text, line by line, without blanks at the ends.
pub fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line += symbol;
            x += (width(symbol) as u16).max(1);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::{Color, Style};

    fn picture(buffer: &Buffer) -> String {
        animated(std::slice::from_ref(buffer), 0.0)
    }

    #[test]
    fn words_have_places_and_bars_are_rectangles() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 2));
        let red = Style::new().fg(Color::Indexed(203)).bg(Color::Indexed(238));
        buffer.set_string(0, 0, "a<推論>", red);
        buffer.set_string(0, 1, "▁█▌", Style::new().fg(Color::Rgb(1, 2, 3)));
        let picture = picture(&buffer);
        assert!(!picture.contains("textLength"), "{picture}");
        assert!(picture.contains(">a&lt;</tspan>"), "{picture}");
        let place = |column: usize| format!("<tspan x=\"{}\"", MARGIN + column * CELL.0);
        // Each wide character is two cells, whatever font shows it.
        for column in [0, 2, 4, 6] {
            assert!(picture.contains(&place(column)), "{column}: {picture}");
        }
        assert!(picture.contains("#ff5f5f") && picture.contains("#444444"));
        assert_eq!(picture.matches("<rect class").count(), 4);
    }

    /// Browsers collapse runs of spaces inside a text.
    #[test]
    fn no_word_holds_a_space() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 1));
        buffer.set_string(1, 0, "PID  COMMAND", Style::new());
        let picture = picture(&buffer);
        let words: Vec<&str> = picture
            .split("<tspan ")
            .skip(1)
            .filter_map(|word| word.split(['>', '<']).nth(1))
            .collect();
        assert_eq!(words, ["PID", "COMMAND"]);
    }

    #[test]
    fn what_does_not_change_is_there_once() {
        let mut frames = vec![Buffer::empty(Rect::new(0, 0, 20, 2)); 3];
        for (frame, n) in frames.iter_mut().zip(1..) {
            frame.set_string(0, 0, "always", Style::new());
            frame.set_string(0, 1, format!("second {n}"), Style::new());
        }
        let picture = animated(&frames, 0.5);
        assert_eq!(picture.matches(">always<").count(), 1);
        assert_eq!(picture.matches(">second<").count(), 1);
        assert_eq!(picture.matches(">2<").count(), 1);
        assert!(picture.contains("animation:f 1.5s"), "{picture}");
        assert!(picture.contains("animation-delay:1s"), "{picture}");
        assert_eq!(text(&frames[2]), "always\nsecond 3\n");
    }
}
