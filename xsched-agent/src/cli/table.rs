//! Aligned text tables.

/// Rows of cells under headings; right-aligned where the heading starts
/// with `>`.
pub fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<&str> = headings.iter().map(|h| h.trim_start_matches('>')).collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain([names[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (column, cell) in cells.enumerate().take(widths.len()) {
            if column > 0 {
                out.push_str("  ");
            }
            let width = widths[column];
            if headings[column].starts_with('>') {
                out.push_str(&format!("{cell:>width$}"));
            } else {
                out.push_str(&format!("{cell:<width$}"));
            }
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    };
    let mut out = line(&mut names.iter().copied());
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["7".into(), "python".into()],
            vec!["4242".into(), "sh".into()],
        ];
        assert_eq!(
            super::render(&[">PID", "COMMAND"], &rows),
            " PID  COMMAND\n   7  python\n4242  sh\n"
        );
    }
}
