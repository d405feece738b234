//! Characters that are drawn instead of written: few fonts have them all, and
//! none joins them without seams.

/// The lines of a box from the middle of a cell: up, right, down, left.
pub type Arms = [bool; 4];

/// How a character is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A part of the cell, eighths from the left and from below.
    Bar(u32, u32),
    /// All of the cell, quarters opaque.
    Shade(u32),
    /// Dots, one a bit (Unicode, block Braille Patterns).
    Dots(u8),
    /// Lines that join those of the neighbours.
    Lines(Arms),
}

impl Shape {
    /// The shape that stands for `symbol`; none where it is written.
    pub fn of(symbol: &str) -> Option<Shape> {
        let mut chars = symbol.chars();
        let (first, None) = (chars.next()?, chars.next()) else {
            return None;
        };
        let code = u32::from(first);
        Some(match first {
            '\u{2581}'..='\u{2588}' => Shape::Bar(8, code - 0x2580),
            '\u{2589}'..='\u{258f}' => Shape::Bar(0x2590 - code, 8),
            '\u{2591}'..='\u{2593}' => Shape::Shade(code - 0x2590),
            '\u{2800}'..='\u{28ff}' => Shape::Dots((code - 0x2800) as u8),
            _ => Shape::Lines(arms(first)?),
        })
    }
}

fn arms(symbol: char) -> Option<Arms> {
    let [up, right, down, left] = [0, 1, 2, 3];
    let present: &[usize] = match symbol {
        '─' | '━' => &[left, right],
        '│' | '┃' => &[up, down],
        '┌' | '╭' => &[right, down],
        '┐' | '╮' => &[left, down],
        '└' | '╰' => &[up, right],
        '┘' | '╯' => &[up, left],
        '├' => &[up, right, down],
        '┤' => &[up, left, down],
        '┬' => &[left, right, down],
        '┴' => &[left, right, up],
        '┼' => &[up, right, down, left],
        _ => return None,
    };
    let mut arms = [false; 4];
    for &arm in present {
        arms[arm] = true;
    }
    Some(arms)
}

/// Where the dots of braille are, by bit: half columns and quarter lines.
const PLACES: [(usize, usize); 8] = [
    (0, 0),
    (0, 1),
    (0, 2),
    (1, 0),
    (1, 1),
    (1, 2),
    (0, 3),
    (1, 3),
];

/// The dots of neighbouring patterns, line by line, as runs: the quarter line,
/// the first half column, and how many dots.
pub fn dot_runs(patterns: &[u8]) -> Vec<(usize, usize, usize)> {
    let mut runs = Vec::new();
    for line in 0..4 {
        let mut dots = vec![false; patterns.len() * 2];
        for (column, pattern) in patterns.iter().enumerate() {
            for (bit, (across, down)) in PLACES.into_iter().enumerate() {
                if down == line && pattern >> bit & 1 == 1 {
                    dots[column * 2 + across] = true;
                }
            }
        }
        let mut at = 0;
        for run in dots.chunk_by(|a, b| a == b) {
            if run[0] {
                runs.push((line, at, run.len()));
            }
            at += run.len();
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_have_shapes_and_letters_have_none() {
        assert_eq!(Shape::of("█"), Some(Shape::Bar(8, 8)));
        assert_eq!(Shape::of("▁"), Some(Shape::Bar(8, 1)));
        assert_eq!(Shape::of("▌"), Some(Shape::Bar(4, 8)));
        assert_eq!(Shape::of("▓"), Some(Shape::Shade(3)));
        assert_eq!(
            Shape::of("└"),
            Some(Shape::Lines([true, true, false, false]))
        );
        for written in ["a", "推", "", "→", "ab"] {
            assert_eq!(Shape::of(written), None, "{written}");
        }
    }

    #[test]
    fn dots_of_a_line_are_one_run() {
        let full = 0xff;
        assert_eq!(
            dot_runs(&[full, full]),
            [(0, 0, 4), (1, 0, 4), (2, 0, 4), (3, 0, 4)]
        );
        assert_eq!(dot_runs(&[0x80, 0x40]), [(3, 1, 2)]);
        assert!(dot_runs(&[0]).is_empty());
    }
}
