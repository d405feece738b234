//! Text of other processes, made fit for terminals.

/// Without control characters, which would drive the terminal. File names,
/// arguments and pages can hold any.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
