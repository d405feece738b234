//! Keys and what they do: one table per mode, from which the help and the
//! footer are made too.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use xsched_common::units::Class;

use crate::state::{Mode, Step};

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave xtop.
    Quit,
    /// Show the help.
    Help,
    /// Show what the agent says about itself.
    Agent,
    /// Move the selection.
    Step(Step),
    /// Move the selection by screens.
    Page(isize),
    /// Show or hide the pane with the selected process.
    Detail,
    /// Scroll that pane.
    ScrollDetail(i16),
    /// Close the pane, drop the filter, drop the selection.
    Back,
    /// Type a filter.
    Filter,
    /// Choose the column to sort by.
    SortMenu,
    /// Sort by a column further right or left.
    SortNext(isize),
    /// Turn the order round.
    Invert,
    /// Hold or resume the picture.
    Pause,
    /// Ask for a class.
    ChooseClass,
    /// Ask for this class.
    SetClass(Class),
    /// Ask for the class above.
    RaiseClass,
    /// Ask for the class below.
    LowerClass,
    /// Append to the filter.
    Type(char),
    /// Take the filter's last character.
    Erase,
    /// Empty the filter.
    EraseAll,
    /// Scroll a text.
    Scroll(i16),
    /// Move in a menu.
    MenuStep(isize),
    /// Leave a popup without effect.
    Cancel,
    /// Leave a popup and do it.
    Accept,
}

/// A key, by itself or with Ctrl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// By itself.
    Plain(KeyCode),
    /// With Ctrl.
    Ctrl(char),
}

/// Keys that do the same.
#[derive(Debug)]
pub struct Binding {
    /// Any of these.
    pub keys: &'static [Key],
    /// What they do.
    pub action: Action,
    /// The word in the footer; none keeps it out.
    pub footer: Option<&'static str>,
    /// The line in the help; none keeps it out.
    pub help: Option<&'static str>,
}

const fn c(c: char) -> Key {
    Key::Plain(KeyCode::Char(c))
}

const ENTER: Key = Key::Plain(KeyCode::Enter);
const ESC: Key = Key::Plain(KeyCode::Esc);
const UP: Key = Key::Plain(KeyCode::Up);
const DOWN: Key = Key::Plain(KeyCode::Down);
const LEFT: Key = Key::Plain(KeyCode::Left);
const RIGHT: Key = Key::Plain(KeyCode::Right);

/// Keys, action, word in the footer, line in the help.
macro_rules! bindings {
    ($($keys:expr => $action:expr, $footer:expr, $help:expr;)*) => {
        &[$(Binding { keys: &$keys, action: $action, footer: $footer, help: $help }),*]
    };
}

/// On the table.
pub const BROWSE: &[Binding] = bindings! {
    [c('?'), Key::Plain(KeyCode::F(1)), c('h')] => Action::Help, Some("help"), Some("this help");
    [c('q'), Key::Ctrl('c')] => Action::Quit, Some("quit"), Some("quit");
    [ENTER] => Action::Detail, Some("detail"), Some("show or hide the selected process: gate, guards, callers");
    [c('/')] => Action::Filter, Some("filter"), Some("filter: words, column:text, p99:>5ms, gate:- for unknown");
    [c('s')] => Action::SortMenu, Some("sort"), Some("choose the column to sort by (or click on its title)");
    [c('c')] => Action::ChooseClass, Some("class"), Some("change the class of the selected process");
    [c(' ')] => Action::Pause, Some("pause"), Some("hold or resume the picture");
    [c('i')] => Action::Invert, Some("invert"), Some("turn the order round");
    [ESC] => Action::Back, Some("back"), Some("close the pane, then drop the filter, then the selection");
    [c('a')] => Action::Agent, Some("agent"), Some("what the agent can see, what it lacks, what was dropped");
    [c('j'), DOWN] => Action::Step(Step::Rows(1)), None, Some("next process");
    [c('k'), UP] => Action::Step(Step::Rows(-1)), None, Some("previous process");
    [c('g'), Key::Plain(KeyCode::Home)] => Action::Step(Step::First), None, Some("first process");
    [c('G'), Key::Plain(KeyCode::End)] => Action::Step(Step::Last), None, Some("last process");
    [Key::Plain(KeyCode::PageDown), Key::Ctrl('f')] => Action::Page(1), None, Some("one screen down");
    [Key::Plain(KeyCode::PageUp), Key::Ctrl('b')] => Action::Page(-1), None, Some("one screen up");
    [c('J')] => Action::ScrollDetail(1), None, Some("scroll the pane down");
    [c('K')] => Action::ScrollDetail(-1), None, Some("scroll the pane up");
    [c('>'), RIGHT] => Action::SortNext(1), None, Some("sort by the next column");
    [c('<'), LEFT] => Action::SortNext(-1), None, Some("sort by the previous column");
    [c('1')] => Action::SetClass(Class::Realtime), None, Some("make it realtime (asks first)");
    [c('2')] => Action::SetClass(Class::High), None, Some("make it high (asks first)");
    [c('3')] => Action::SetClass(Class::Normal), None, Some("make it normal (asks first)");
    [c('4')] => Action::SetClass(Class::Low), None, Some("make it low (asks first)");
    [c('+'), c('=')] => Action::RaiseClass, None, Some("one class up (asks first)");
    [c('-')] => Action::LowerClass, None, Some("one class down (asks first)");
};

/// On the filter line.
pub const FILTER: &[Binding] = bindings! {
    [ENTER] => Action::Accept, Some("keep"), None;
    [ESC] => Action::Cancel, Some("give up"), None;
    [Key::Ctrl('u')] => Action::EraseAll, Some("empty"), None;
    [Key::Plain(KeyCode::Backspace), Key::Ctrl('h')] => Action::Erase, None, None;
    [Key::Ctrl('c')] => Action::Quit, None, None;
};

/// In the sort menu.
pub const SORT: &[Binding] = bindings! {
    [ENTER] => Action::Accept, Some("sort"), None;
    [ESC, c('q'), c('s')] => Action::Cancel, Some("back"), None;
    [c('j'), DOWN] => Action::MenuStep(1), Some("next"), None;
    [c('k'), UP] => Action::MenuStep(-1), Some("previous"), None;
    [Key::Ctrl('c')] => Action::Quit, None, None;
};

/// In the confirmation of a class change.
pub const CLASS: &[Binding] = bindings! {
    [ENTER, c('y')] => Action::Accept, Some("change"), None;
    [ESC, c('q'), c('n')] => Action::Cancel, Some("cancel"), None;
    [c('+'), c('='), c('k'), UP] => Action::RaiseClass, Some("up"), None;
    [c('-'), c('j'), DOWN] => Action::LowerClass, Some("down"), None;
    [c('1')] => Action::SetClass(Class::Realtime), None, None;
    [c('2')] => Action::SetClass(Class::High), None, None;
    [c('3')] => Action::SetClass(Class::Normal), None, None;
    [c('4')] => Action::SetClass(Class::Low), None, None;
    [Key::Ctrl('c')] => Action::Quit, None, None;
};

/// In a text.
pub const TEXT: &[Binding] = bindings! {
    [ESC, c('q'), c('?'), c('a'), ENTER] => Action::Cancel, Some("back"), None;
    [c('j'), DOWN] => Action::Scroll(1), Some("down"), None;
    [c('k'), UP] => Action::Scroll(-1), Some("up"), None;
    [Key::Plain(KeyCode::PageDown), c(' ')] => Action::Scroll(10), None, None;
    [Key::Plain(KeyCode::PageUp)] => Action::Scroll(-10), None, None;
    [Key::Ctrl('c')] => Action::Quit, None, None;
};

/// The keys of `mode`.
pub fn bindings(mode: &Mode) -> &'static [Binding] {
    match mode {
        Mode::Browse => BROWSE,
        Mode::Filter(_) => FILTER,
        Mode::Sort(_) => SORT,
        Mode::Class(_) => CLASS,
        Mode::Help(_) | Mode::Agent(_) => TEXT,
    }
}

/// What `event` does in `mode`.
pub fn action(mode: &Mode, event: KeyEvent) -> Option<Action> {
    let bound = bindings(mode)
        .iter()
        .find(|binding| binding.keys.iter().any(|key| key.matches(event)))
        .map(|binding| binding.action);
    match (bound, mode, event.code) {
        (None, Mode::Filter(_), KeyCode::Char(c)) if !has_ctrl_or_alt(event) => {
            Some(Action::Type(c))
        }
        (bound, ..) => bound,
    }
}

fn has_ctrl_or_alt(event: KeyEvent) -> bool {
    event
        .modifiers
        .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
}

impl Key {
    fn matches(self, event: KeyEvent) -> bool {
        match self {
            Key::Plain(code) => event.code == code && !has_ctrl_or_alt(event),
            Key::Ctrl(c) => {
                event.code == KeyCode::Char(c) && event.modifiers.contains(KeyModifiers::CONTROL)
            }
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Plain(KeyCode::Char(' ')) => f.write_str("Space"),
            Key::Plain(KeyCode::Char(c)) => write!(f, "{c}"),
            Key::Plain(KeyCode::PageDown) => f.write_str("PgDn"),
            Key::Plain(KeyCode::PageUp) => f.write_str("PgUp"),
            Key::Plain(code) => write!(f, "{code}"),
            Key::Ctrl(c) => write!(f, "Ctrl-{c}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things() {
        for table in [BROWSE, FILTER, SORT, CLASS, TEXT] {
            let keys: Vec<Key> = table.iter().flat_map(|b| b.keys).copied().collect();
            for (i, key) in keys.iter().enumerate() {
                assert!(!keys[..i].contains(key), "{key} twice");
            }
            assert!(keys.contains(&Key::Ctrl('c')), "there is always a way out");
        }
    }

    #[test]
    fn letters_are_text_while_a_filter_is_typed() {
        let mode = Mode::Filter(crate::state::FilterLine::default());
        let q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        assert_eq!(action(&mode, q), Some(Action::Type('q')));
        assert_eq!(action(&Mode::Browse, q), Some(Action::Quit));
        let alt = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT);
        assert_eq!(action(&mode, alt), None);
        assert_eq!(action(&Mode::Browse, alt), None);
    }

    #[test]
    fn keys_have_names() {
        assert_eq!(c(' ').to_string(), "Space");
        assert_eq!(ENTER.to_string(), "Enter");
        assert_eq!(ESC.to_string(), "Esc");
        assert_eq!(Key::Ctrl('c').to_string(), "Ctrl-c");
    }
}
