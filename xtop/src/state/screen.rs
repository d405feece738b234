//! The screens.

/// What fills the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// All processes.
    Processes,
    /// One process.
    Process,
    /// Who was open, capped or closed on each device, and when.
    Devices,
    /// What happened.
    Events,
}

impl Screen {
    /// All of them, in the order of their keys.
    pub const ALL: [Screen; 4] = [
        Screen::Processes,
        Screen::Process,
        Screen::Devices,
        Screen::Events,
    ];

    /// The name among the tabs.
    pub const fn name(self) -> &'static str {
        match self {
            Screen::Processes => "processes",
            Screen::Process => "process",
            Screen::Devices => "devices",
            Screen::Events => "events",
        }
    }

    /// The screen `n` places further, round the ends.
    pub fn neighbour(self, n: isize) -> Screen {
        let place = Screen::ALL.iter().position(|&s| s == self).unwrap_or(0) as isize;
        Screen::ALL[(place + n).rem_euclid(Screen::ALL.len() as isize) as usize]
    }
}
