//! What is wrong with a file, and where.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// Something wrong, or worth a second look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// One line: what, and what to write instead.
    pub message: String,
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file works, perhaps otherwise than meant.
    Warning,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Problem {
            line,
            column,
            message,
            ..
        } = self;
        write!(f, "{line}:{column}: {severity}: {message}")
    }
}

/// Collects problems of one text.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: Vec<Problem>,
}

impl<'t> Problems<'t> {
    pub fn of(text: &'t str) -> Problems<'t> {
        Problems {
            text,
            found: Vec::new(),
        }
    }

    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.add(Severity::Error, span, message.into());
    }

    pub fn warning(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.add(Severity::Warning, span, message.into());
    }

    fn add(&mut self, severity: Severity, span: Range<usize>, message: String) {
        let (line, column) = place(self.text, span.start);
        // Of a parser, "expected ..." may come on a line of its own.
        let message = message.lines().collect::<Vec<_>>().join(", ");
        let problem = Problem {
            severity,
            line,
            column,
            message,
        };
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|p| p.severity == Severity::Error)
    }

    /// In the order of the file.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.found
            .sort_by_key(|problem| (problem.line, problem.column));
        self.found
    }
}

/// Line and column of a byte, both from 1. A place inside a character or
/// behind the end is that of the next or last character.
pub(super) fn place(text: &str, byte: usize) -> (usize, usize) {
    let byte = text.floor_char_boundary(byte.min(text.len()));
    let before = &text[..byte];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one_in_characters() {
        let text = "a = 1\nµs = 2\n";
        assert_eq!(place(text, 0), (1, 1));
        assert_eq!(place(text, 6), (2, 1));
        assert_eq!(place(text, 7), (2, 1), "inside the character");
        assert_eq!(place(text, 8), (2, 2));
        assert_eq!(place(text, 99), (3, 1));
    }
}
