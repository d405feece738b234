//! Text from elsewhere, made fit for a screen.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Replaces what a terminal would act on or not show by visible escapes:
/// control characters, line separators, bidirectional controls and
/// zero-width characters, which can make a name look like another.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            // Caret notation, as `cat -v` and `ps` users know it.
            '\0'..='\x1f' | '\x7f' => {
                cleaned.push('^');
                cleaned.push(char::from(c as u8 ^ 0x40));
            }
            c if is_unsafe(c) => cleaned.extend(c.escape_unicode()),
            c => cleaned.push(c),
        }
    }
    Cow::Owned(cleaned)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Columns that `text` takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut to `columns`, with `mark` at its end when something is missing.
pub fn fit<'a>(text: &'a str, columns: usize, mark: &str) -> Cow<'a, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let room = columns.saturating_sub(mark.width());
    let mut used = 0;
    let mut end = 0;
    for (start, grapheme) in text.grapheme_indices(true) {
        used += grapheme.width();
        if used > room {
            break;
        }
        end = start + grapheme.len();
    }
    let mut cut = text[..end].to_owned();
    if mark.width() <= columns {
        cut.push_str(mark);
    }
    Cow::Owned(cut)
}

/// `text` broken between words into lines of at most `columns`; longer words
/// are cut.
pub fn wrap(text: &str, columns: usize, mark: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word = fit(word, columns, mark);
        if !line.is_empty() && line.width() + 1 + word.width() > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Items two blanks apart in lines of at most `columns`, none of them broken.
pub fn wrap_items(items: &[String], columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if width(line) + 2 + width(item) <= columns => {
                line.push_str("  ");
                line.push_str(item);
            }
            _ => lines.push(item.clone()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_survives() {
        assert_eq!(clean("python3"), "python3");
        assert_eq!(clean("a\x1b[31mb\n\x7f"), "a^[[31mb^J^?");
        assert_eq!(clean("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(clean("txt\u{202e}exe"), "txt\\u{202e}exe");
        assert_eq!(clean("推論 é"), "推論 é");
    }

    #[test]
    fn cuts_respect_wide_characters() {
        assert_eq!(fit("abc", 3, "…"), "abc");
        assert_eq!(fit("abcd", 3, "…"), "ab…");
        assert_eq!(fit("推論サービス", 6, "…"), "推論…");
        assert_eq!(fit("推論サービス", 5, "…"), "推論…");
        assert_eq!(fit("e\u{301}e\u{301}e\u{301}", 2, "…"), "e\u{301}…");
        assert_eq!(fit("abc", 0, "…"), "");
        for columns in 0..14 {
            assert!(width(&fit("ab推論c👩‍🔬サービス", columns, "...")) <= columns);
        }
    }

    #[test]
    fn items_stay_whole() {
        let items = ["k max 256", "linger 1 ms", "x"].map(str::to_owned);
        assert_eq!(wrap_items(&items, 15), ["k max 256", "linger 1 ms  x"]);
        assert_eq!(wrap_items(&items, 3).len(), 3);
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("aa bb  cc", 5, "…"), ["aa bb", "cc"]);
        assert_eq!(wrap("abcdefgh ij", 4, "…"), ["abc…", "ij"]);
        assert!(wrap("  ", 4, "…").is_empty());
    }
}
