//! Aligned text tables.

/// A cell, and how it is to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How.
    pub tone: Tone,
}

/// What a cell means for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Wrong.
    Bad,
}

impl Tone {
    /// SGR parameters (ECMA-48) of the terminal's own colours.
    fn code(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Warning => Some("33"),
            Tone::Bad => Some("31"),
        }
    }
}

impl Cell {
    /// A cell.
    pub fn new(text: impl Into<String>, tone: Tone) -> Cell {
        let text = text.into();
        Cell { text, tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(text, Tone::Plain)
    }
}

/// Whether tones are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// By colours of the terminal.
    Shown,
    /// As plain text.
    Plain,
}

/// Rows of cells under headings; right-aligned where the heading starts
/// with `>`.
pub fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |row: &Vec<String>| row.iter().cloned().map(Cell::from).collect();
    let rows: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
    render_within(headings, &rows, usize::MAX, Colours::Plain)
}

/// The same in lines no longer than `width`: the last column is cut.
pub fn render_within(
    headings: &[&str],
    rows: &[Vec<Cell>],
    width: usize,
    colours: Colours,
) -> String {
    let widths = widths(headings, rows);
    let names = headings
        .iter()
        .map(|heading| Cell::from(heading.trim_start_matches('>')));
    let names: Vec<Cell> = names.collect();
    let mut out = String::new();
    for row in std::iter::once(&names).chain(rows) {
        let mut line = String::new();
        let mut used = 0;
        for ((cell, heading), column) in row.iter().zip(headings).zip(&widths) {
            if used > 0 {
                line.push_str("  ");
                used += 2;
            }
            let room = width.saturating_sub(used).min(*column);
            let text: String = cell.text.chars().take(room).collect();
            let blanks = " ".repeat(room - text.chars().count());
            let text = match (colours, cell.tone.code()) {
                (Colours::Shown, Some(code)) => format!("\x1b[{code}m{text}\x1b[0m"),
                _ => text,
            };
            line += &match heading.starts_with('>') {
                true => format!("{blanks}{text}"),
                false => format!("{text}{blanks}"),
            };
            used += room;
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// How wide each column is.
pub fn widths(headings: &[&str], rows: &[Vec<Cell>]) -> Vec<usize> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.text.chars().count())
            .chain([headings[column].trim_start_matches('>').chars().count()])
            .max()
            .unwrap_or(0)
    };
    (0..headings.len()).map(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["7".into(), "python".into()],
            vec!["4242".into(), "sh".into()],
        ];
        assert_eq!(
            render(&[">PID", "COMMAND"], &rows),
            " PID  COMMAND\n   7  python\n4242  sh\n"
        );
    }

    #[test]
    fn lines_are_cut_and_coloured() {
        let rows = [vec![Cell::from("7"), Cell::new("very long", Tone::Bad)]];
        let cut = render_within(&[">N", "WHY"], &rows, 7, Colours::Shown);
        assert_eq!(cut, "N  WHY\n7  \x1b[31mvery\x1b[0m\n");
    }
}
