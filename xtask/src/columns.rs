//! The width of documents.

/// With the lines of documents; tables and code stay as they are.
pub fn wrapped(text: &str) -> String {
    const COLUMNS: usize = 120;
    let mut out = String::new();
    for line in text.lines() {
        let mut column = 0;
        for word in line.split_inclusive(' ') {
            if column > 0
                && column + word.trim_end().len() > COLUMNS
                && !line.starts_with('|')
                && !line.starts_with("    ")
            {
                out.truncate(out.trim_end().len());
                out += if line.starts_with("- ") { "\n  " } else { "\n" };
                column = if line.starts_with("- ") { 2 } else { 0 };
            }
            out += word;
            column += word.len();
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_code_stay_as_they_are() {
        let words = "word ".repeat(30);
        let text = wrapped(&format!("{words}\n| {words}|\n    {words}\n- {words}\n"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].len() <= 120 && lines[1].starts_with("word"));
        assert!(lines[2].starts_with('|') && lines[2].len() > 150);
        assert!(lines[3].len() > 150);
        assert!(lines[5].starts_with("  word"), "{text}");
    }
}
