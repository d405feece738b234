//! Colours and symbols by meaning.

use std::env;

use clap::ValueEnum;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// A set of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Palette {
    /// For dark backgrounds, 256 colours.
    Dark,
    /// For light backgrounds, 256 colours.
    Light,
    /// Bright on dark, for low vision and bad screens.
    HighContrast,
    /// The terminal's own 16 colours.
    #[value(name = "16")]
    Ansi16,
    /// No colours (as with NO_COLOR).
    Mono,
}

/// Which characters may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// All of Unicode.
    Unicode,
    /// ASCII only.
    Ascii,
}

/// Styles and symbols by meaning.
#[derive(Clone, Debug)]
pub struct Theme {
    /// What may be drawn.
    pub charset: Charset,
    /// Whether colours tell things apart.
    pub has_colours: bool,
    /// Ordinary text.
    pub text: Style,
    /// Less important text.
    pub dim: Style,
    /// Names of programs and parts.
    pub strong: Style,
    /// Titles of columns.
    pub title: Style,
    /// The title of the column sorted by.
    pub sorted: Style,
    /// The selected row.
    pub selected: Style,
    /// All is well.
    pub good: Style,
    /// Worth a look.
    pub warn: Style,
    /// Wrong.
    pub bad: Style,
    /// Classes above normal.
    pub accent: Style,
    /// Keys.
    pub key: Style,
    /// Lines around panes.
    pub border: Style,
    /// Symbols.
    pub symbols: Symbols,
}

/// Symbols of a [`Charset`].
#[derive(Clone, Copy, Debug)]
pub struct Symbols {
    /// Before the connection's state.
    pub dot: &'static str,
    /// Smallest first.
    pub ascending: &'static str,
    /// Largest first.
    pub descending: &'static str,
    /// Something is missing here.
    pub cut: &'static str,
    /// From one class to another.
    pub to: &'static str,
    /// Before what is chosen.
    pub here: &'static str,
    /// Where text is typed.
    pub cursor: &'static str,
    /// Before a child in a tree.
    pub branch: &'static str,
    /// Bars of a sparkline, lowest first.
    pub levels: [&'static str; 8],
    /// Ends of a lying bar, shortest first.
    pub eighths: [&'static str; 8],
    /// An open gate on a timeline.
    pub open: &'static str,
    /// A capped gate on a timeline.
    pub capped: &'static str,
    /// A closed gate on a timeline.
    pub closed: &'static str,
    /// No gate, or nothing to do, on a timeline.
    pub ungated: &'static str,
    /// Lines around panes.
    pub border: border::Set<'static>,
}

const UNICODE: Symbols = Symbols {
    dot: "●",
    ascending: "▲",
    descending: "▼",
    cut: "…",
    to: "→",
    here: "▶",
    cursor: "▏",
    branch: "└ ",
    levels: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    eighths: ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"],
    open: "█",
    capped: "▄",
    closed: "▁",
    ungated: "·",
    border: border::ROUNDED,
};

const ASCII: Symbols = Symbols {
    dot: "*",
    ascending: "^",
    descending: "v",
    cut: "~",
    to: "->",
    here: ">",
    cursor: "_",
    branch: "`-",
    levels: ["_", ".", ":", "-", "=", "+", "*", "#"],
    eighths: [".", ".", ":", ":", "-", "-", "=", "="],
    open: "#",
    capped: "=",
    closed: "_",
    ungated: ".",
    border: border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    },
};

impl Theme {
    /// The theme of `palette` in `charset`.
    pub fn new(palette: Palette, charset: Charset) -> Theme {
        let symbols = match charset {
            Charset::Unicode => UNICODE,
            Charset::Ascii => ASCII,
        };
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let mono = Theme {
            charset,
            has_colours: palette != Palette::Mono,
            text: plain,
            dim: plain,
            strong: bold,
            title: plain.add_modifier(Modifier::UNDERLINED),
            sorted: bold.add_modifier(Modifier::UNDERLINED),
            selected: plain.add_modifier(Modifier::REVERSED),
            good: plain,
            warn: bold,
            bad: bold.add_modifier(Modifier::REVERSED),
            accent: bold,
            key: bold,
            border: plain,
            symbols,
        };
        let colours = match palette {
            Palette::Mono => return mono,
            Palette::Dark => Colours {
                text: Color::Indexed(252),
                dim: Color::Indexed(245),
                title: Color::Indexed(110),
                selected: Color::Indexed(238),
                good: Color::Indexed(114),
                warn: Color::Indexed(221),
                bad: Color::Indexed(203),
                accent: Color::Indexed(141),
            },
            Palette::Light => Colours {
                text: Color::Indexed(235),
                dim: Color::Indexed(242),
                title: Color::Indexed(25),
                selected: Color::Indexed(153),
                good: Color::Indexed(28),
                warn: Color::Indexed(130),
                bad: Color::Indexed(160),
                accent: Color::Indexed(91),
            },
            Palette::HighContrast => Colours {
                text: Color::Indexed(231),
                dim: Color::Indexed(255),
                title: Color::Indexed(51),
                selected: Color::Reset,
                good: Color::Indexed(46),
                warn: Color::Indexed(226),
                bad: Color::Indexed(209),
                accent: Color::Indexed(219),
            },
            Palette::Ansi16 => Colours {
                text: Color::Reset,
                dim: Color::Reset,
                title: Color::Cyan,
                selected: Color::Reset,
                good: Color::Green,
                warn: Color::Yellow,
                bad: Color::Red,
                accent: Color::Magenta,
            },
        };
        Theme {
            selected: match colours.selected {
                // No background of the 16 suits both dark and light.
                Color::Reset => plain.add_modifier(Modifier::REVERSED),
                colour => plain.bg(colour),
            },
            text: plain.fg(colours.text),
            dim: plain.fg(colours.dim),
            strong: bold.fg(colours.text),
            title: plain.fg(colours.title),
            sorted: bold.fg(colours.title),
            good: plain.fg(colours.good),
            warn: plain.fg(colours.warn),
            bad: bold.fg(colours.bad),
            accent: plain.fg(colours.accent),
            key: bold.fg(colours.title),
            border: plain.fg(colours.dim),
            ..mono
        }
    }
}

/// A meaning whose colour can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ordinary text.
    Text,
    /// Less important text, lines around panes.
    Dim,
    /// Titles and keys.
    Title,
    /// Behind the selected row.
    Selected,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Classes above normal, bars.
    Accent,
}

impl Role {
    const NAMES: [(&'static str, Role); 8] = [
        ("text", Role::Text),
        ("dim", Role::Dim),
        ("title", Role::Title),
        ("selected", Role::Selected),
        ("good", Role::Good),
        ("warn", Role::Warn),
        ("bad", Role::Bad),
        ("accent", Role::Accent),
    ];

    /// The role with this name.
    pub fn from_name(name: &str) -> Option<Role> {
        let found = Role::NAMES.iter().find(|(n, _)| *n == name);
        found.map(|&(_, role)| role)
    }

    /// All names, for error messages.
    pub fn names() -> String {
        Role::NAMES.map(|(name, _)| name).join(", ")
    }
}

impl Theme {
    /// Changes the colour of `role`.
    pub fn recolour(&mut self, role: Role, colour: Color) {
        let styles: &mut [&mut Style] = match role {
            Role::Text => &mut [&mut self.text, &mut self.strong],
            Role::Dim => &mut [&mut self.dim, &mut self.border],
            Role::Title => &mut [&mut self.title, &mut self.sorted, &mut self.key],
            Role::Selected => {
                self.selected = Style::new().bg(colour);
                return;
            }
            Role::Good => &mut [&mut self.good],
            Role::Warn => &mut [&mut self.warn],
            Role::Bad => &mut [&mut self.bad],
            Role::Accent => &mut [&mut self.accent],
        };
        for style in styles {
            **style = style.fg(colour);
        }
    }
}

struct Colours {
    text: Color,
    dim: Color,
    title: Color,
    selected: Color,
    good: Color,
    warn: Color,
    bad: Color,
    accent: Color,
}

/// What the terminal can show, by its environment: NO_COLOR
/// (<https://no-color.org>), then the number of colours.
pub fn palette_of_environment() -> Palette {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let many = |value: &str| value.contains("256") || value.contains("truecolor");
    if set("NO_COLOR").is_some() {
        Palette::Mono
    } else if set("COLORTERM").is_some() || set("TERM").is_some_and(|term| many(&term)) {
        Palette::Dark
    } else {
        Palette::Ansi16
    }
}

/// Unicode where the locale is UTF-8 (locale(7): LC_ALL over LC_CTYPE over
/// LANG).
pub fn charset_of_environment() -> Charset {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| env::var(name).ok())
        .find(|value| !value.is_empty())
        .unwrap_or_default()
        .to_ascii_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") {
        Charset::Unicode
    } else {
        Charset::Ascii
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mono_has_no_colours_and_ascii_no_other_characters() {
        let theme = Theme::new(Palette::Mono, Charset::Ascii);
        for style in [
            theme.bad,
            theme.selected,
            theme.title,
            theme.accent,
            theme.key,
        ] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
        let symbols = theme.symbols;
        for symbol in [
            symbols.dot,
            symbols.cut,
            symbols.to,
            symbols.border.top_left,
        ] {
            assert!(symbol.is_ascii());
        }
    }
}
