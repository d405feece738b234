//! Keys and what they do.
//!
//! [`table`] has one table per place, from which the help and the footer are
//! made too; a [`Keymap`] is that table with the user's own keys.

mod key;
mod keymap;
mod table;

use crate::replay::Seek;
use crate::state::{Ask, Screen, Step};

pub use key::{Key, NoKey};
pub use keymap::{Binding, Keymap, KeymapError};

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave xtop.
    Quit,
    /// Show the help.
    Help,
    /// Show what the agent says about itself.
    Agent,
    /// Show a screen.
    Show(Screen),
    /// Show a screen further right or left.
    NextScreen(isize),
    /// Move the selection.
    Step(Step),
    /// Move the selection by screens.
    Page(isize),
    /// Show the selected process on a screen of its own.
    Open,
    /// Show or hide the pane with the selected process.
    Pane,
    /// Scroll that pane.
    ScrollPane(i16),
    /// One step back.
    Back,
    /// Type a filter.
    Filter,
    /// Choose the column to sort by.
    SortMenu,
    /// Sort by a column further right or left.
    SortNext(isize),
    /// Turn the order round.
    Invert,
    /// Show children below their parents, or not.
    Tree,
    /// Hold or resume the picture.
    Pause,
    /// Ask for a change.
    Ask(Ask),
    /// In a question: a larger value, or a smaller when negative.
    Adjust(isize),
    /// In a question: this one of the values listed, from 0.
    Pick(usize),
    /// In a question: another device.
    OtherDevice(isize),
    /// Ask where the process's attributes come from.
    Explain,
    /// Have the process examined.
    Diagnose,
    /// Move within the recording.
    Seek(Seek),
    /// Play the recording faster, or slower when negative.
    Speed(i8),
    /// Append to what is typed.
    Type(char),
    /// Take the last character.
    Erase,
    /// Take all of it.
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

/// Where keys are pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyContext {
    /// On a screen.
    Screen(Screen),
    /// On the filter line.
    Filter,
    /// In the sort menu.
    Sort,
    /// In a question with values to choose from, or none.
    Choice,
    /// In a question with a value to type.
    Entry,
    /// In a text.
    Text,
}

impl KeyContext {
    /// Every place.
    pub const ALL: [KeyContext; 9] = [
        KeyContext::Screen(Screen::Processes),
        KeyContext::Screen(Screen::Process),
        KeyContext::Screen(Screen::Devices),
        KeyContext::Screen(Screen::Events),
        KeyContext::Filter,
        KeyContext::Sort,
        KeyContext::Choice,
        KeyContext::Entry,
        KeyContext::Text,
    ];
}
