//! Files that hold more than one idea, and lines too long to read.

use super::{Finding, Source};

/// Lines of a source file.
const FILE: usize = 500;

/// Columns of a line of a document.
const COLUMNS: usize = 120;

pub fn check(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .flat_map(|source| {
            let (rule, count, what) = if source.is_rust() {
                let lines = source.text.lines().count();
                let lines = if lines > FILE { lines } else { 0 };
                (
                    "length",
                    lines,
                    format!("more than {FILE} lines: split it along its own seams"),
                )
            } else if source.is_document() {
                let lines = source.text.lines().filter(|line| is_long(line)).count();
                (
                    "columns",
                    lines,
                    format!("lines of more than {COLUMNS} columns: wrap them"),
                )
            } else {
                return None;
            };
            (count > 0).then(|| Finding::new(rule, &*source.path, count, what))
        })
        .collect()
}

/// Rows of tables and links cannot be wrapped.
fn is_long(line: &str) -> bool {
    line.chars().count() > COLUMNS && !line.starts_with('|') && !line.contains("http")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: String) -> Source {
        Source {
            path: path.to_owned(),
            text,
        }
    }

    #[test]
    fn long_files_and_long_lines_are_found() {
        let long = "x".repeat(COLUMNS + 1);
        let found = check(&[
            source("a.rs", "x\n".repeat(FILE + 1)),
            source("b.rs", "x\n".repeat(FILE)),
            source("c.md", format!("{long}\n| {long}\nhttp{long}\n")),
            source("d.c", long),
        ]);
        let found: Vec<_> = found.iter().map(|f| (f.rule, &*f.place, f.count)).collect();
        assert_eq!(
            found,
            [("length", "a.rs", FILE + 1), ("columns", "c.md", 1)]
        );
    }
}
