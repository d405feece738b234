//! Keys and the mouse, and what they ask for.
//!
//! [`table`] has one table per place, from which the help and the footer are
//! made too; a [`Keymap`] is that table with the user's own keys.

mod key;
mod keymap;
pub mod mouse;
mod table;

use crate::action::Screen;
use crate::state::{Mode, State};

pub use key::{Key, NoKey};
pub use keymap::{Binding, Keymap, KeymapError};

/// Where keys are pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyContext {
    /// On a screen.
    Screen(Screen),
    /// On the filter line.
    Filter,
    /// In the sort menu.
    Sort,
    /// In the menu of columns.
    Columns,
    /// In a question with values to choose from, or none.
    Choice,
    /// In a question with a value to type.
    Entry,
    /// In a text.
    Text,
}

impl KeyContext {
    /// Where keys are pressed now.
    pub fn of(state: &State) -> KeyContext {
        match &state.mode {
            Mode::Browse => KeyContext::Screen(state.screen),
            Mode::Filter(_) => KeyContext::Filter,
            Mode::Sort(_) => KeyContext::Sort,
            Mode::Columns(_) => KeyContext::Columns,
            Mode::Ask(question) => match question.entry() {
                Some(_) => KeyContext::Entry,
                None => KeyContext::Choice,
            },
            Mode::Help(_) | Mode::Agent(_) => KeyContext::Text,
        }
    }

    /// Every place.
    pub const ALL: [KeyContext; 11] = [
        KeyContext::Screen(Screen::Processes),
        KeyContext::Screen(Screen::Process),
        KeyContext::Screen(Screen::Devices),
        KeyContext::Screen(Screen::Hardware),
        KeyContext::Screen(Screen::Events),
        KeyContext::Filter,
        KeyContext::Sort,
        KeyContext::Columns,
        KeyContext::Choice,
        KeyContext::Entry,
        KeyContext::Text,
    ];
}
