//! What is going on, for people who wait.

use std::io::IsTerminal as _;

/// Progress, on the terminal's error side so that stdout stays the report.
pub fn note(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("\x1b[2m{text} ...\x1b[0m");
    } else {
        eprintln!("{text} ...");
    }
}
