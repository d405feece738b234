//! Keys and their names.

use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key, by itself or with Ctrl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// By itself.
    Plain(KeyCode),
    /// With Ctrl.
    Ctrl(char),
}

/// No key has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no key '{0}': write a character, Ctrl-c, F1 to F12 or a name like Enter, Esc, Tab, Space, PgDn, Up"
)]
pub struct NoKey(String);

/// Keys with names; a name may be written in any case.
const NAMES: [(&str, KeyCode); 17] = [
    ("Space", KeyCode::Char(' ')),
    ("Enter", KeyCode::Enter),
    ("Esc", KeyCode::Esc),
    ("Tab", KeyCode::Tab),
    ("BackTab", KeyCode::BackTab),
    ("Backspace", KeyCode::Backspace),
    ("Up", KeyCode::Up),
    ("Down", KeyCode::Down),
    ("Left", KeyCode::Left),
    ("Right", KeyCode::Right),
    ("Home", KeyCode::Home),
    ("End", KeyCode::End),
    ("PgUp", KeyCode::PageUp),
    ("PgDn", KeyCode::PageDown),
    ("Insert", KeyCode::Insert),
    ("Delete", KeyCode::Delete),
    ("Menu", KeyCode::Menu),
];

impl Key {
    /// Whether `event` is this key.
    pub fn matches(self, event: KeyEvent) -> bool {
        match self {
            Key::Plain(code) => event.code == code && !has_ctrl_or_alt(event),
            Key::Ctrl(c) => {
                event.code == KeyCode::Char(c) && event.modifiers.contains(KeyModifiers::CONTROL)
            }
        }
    }
}

/// Whether the key is more than text.
pub(super) fn has_ctrl_or_alt(event: KeyEvent) -> bool {
    event
        .modifiers
        .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Key::Ctrl(c) => write!(f, "Ctrl-{c}"),
            Key::Plain(code) => match (NAMES.iter().find(|(_, named)| *named == code), code) {
                (Some((name, _)), _) => f.write_str(name),
                (None, KeyCode::Char(c)) => write!(f, "{c}"),
                (None, code) => write!(f, "{code}"),
            },
        }
    }
}

impl FromStr for Key {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Key, NoKey> {
        let no_key = || NoKey(text.to_owned());
        let mut letters = text.chars();
        if let (Some(c), None) = (letters.next(), letters.next()) {
            let plain = Key::Plain(KeyCode::Char(c));
            return if c.is_control() {
                Err(no_key())
            } else {
                Ok(plain)
            };
        }
        if let Some((name, code)) = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(text)) {
            debug_assert!(!name.is_empty());
            return Ok(Key::Plain(*code));
        }
        let rest = |head: &str| {
            let (start, rest) = text.split_at_checked(head.len())?;
            start.eq_ignore_ascii_case(head).then_some(rest)
        };
        if let Some(rest) = rest("Ctrl-") {
            let mut letters = rest.chars();
            return match (letters.next(), letters.next()) {
                (Some(c), None) if c.is_ascii_graphic() => Ok(Key::Ctrl(c.to_ascii_lowercase())),
                _ => Err(no_key()),
            };
        }
        match rest("F").and_then(|n| n.parse::<u8>().ok()) {
            Some(n @ 1..=12) => Ok(Key::Plain(KeyCode::F(n))),
            _ => Err(no_key()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_correspond() {
        for name in [
            "Space", "Enter", "Esc", "Ctrl-c", "q", "?", "PgDn", "F1", "F12", "é",
        ] {
            assert_eq!(name.parse::<Key>().expect(name).to_string(), name);
        }
        assert_eq!("ctrl-X".parse(), Ok(Key::Ctrl('x')));
        for name in ["", "Ctrl-", "Ctrl-ab", "F13", "F0", "Hyper", "\x1b"] {
            assert!(name.parse::<Key>().is_err(), "{name}");
        }
    }
}
