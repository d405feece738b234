//! What the user wants: the words between those who read keys and the mouse
//! and the state that changes.

use crate::column::Column;
pub use crate::replay::Seek;

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
    /// Sort by this column, or the other way round where it is so already.
    SortBy(Column),
    /// Move the selection to the row at this place of the list.
    Select(usize),
    /// Choose the columns.
    ColumnMenu,
    /// In a menu: this one, or not.
    Toggle,
    /// Stop until the shell continues it.
    Stop,
    /// Show another machine.
    NextHost(isize),
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
    /// Show more time on charts, or less when positive.
    Zoom(isize),
    /// Show the time before on charts, or after when positive.
    Shift(isize),
    /// Show the last minutes on charts.
    ResetTime,
    /// Scroll a text.
    Scroll(i16),
    /// Move in a menu.
    MenuStep(isize),
    /// In a menu: this column.
    Choose(Column),
    /// Leave a popup without effect.
    Cancel,
    /// Leave a popup and do it.
    Accept,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Another class: the present one, the one above or the one below to
    /// begin with.
    Class(isize),
    /// What holds without anybody's hand.
    Unset,
    /// Another weight.
    Weight,
    /// Another latency target.
    Target,
    /// A boost.
    Boost,
    /// A suspension.
    Suspend,
    /// The end of a boost or suspension.
    Resume,
    /// Another way to share a device.
    Sharing,
    /// A signal to the process.
    Signal,
}

/// How far the cursor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This many rows down, or up when negative.
    Rows(isize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
}

/// What fills the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// All processes.
    Processes,
    /// One process.
    Process,
    /// Who was open, capped or closed on each device, and when.
    Devices,
    /// What devices and drivers say of themselves and of processes.
    Hardware,
    /// What happened.
    Events,
}

impl Screen {
    /// All of them, in the order of their keys.
    pub const ALL: [Screen; 5] = [
        Screen::Processes,
        Screen::Process,
        Screen::Devices,
        Screen::Hardware,
        Screen::Events,
    ];

    /// The name among the tabs.
    pub const fn name(self) -> &'static str {
        match self {
            Screen::Processes => "overview",
            Screen::Process => "process",
            Screen::Devices => "devices",
            Screen::Hardware => "hardware",
            Screen::Events => "events",
        }
    }

    /// The screen `n` places further, round the ends.
    pub fn neighbour(self, n: isize) -> Screen {
        let place = Screen::ALL.iter().position(|&s| s == self).unwrap_or(0) as isize;
        Screen::ALL[(place + n).rem_euclid(Screen::ALL.len() as isize) as usize]
    }
}
