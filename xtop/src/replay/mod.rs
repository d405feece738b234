//! Recordings: written with `--record`, played with `--replay`.
//!
//! README.md documents the file format.

mod file;
mod player;

use std::time::Duration;

pub use file::{Error, FORMAT_VERSION, Recording, Writer};
pub use player::{Event, play};

/// A jump within a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// By this much time.
    Seconds(i64),
    /// By this many snapshots.
    Frames(i64),
}

/// What the player is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hold or go on; at the end, begin again.
    TogglePause,
    /// Jump.
    Seek(Seek),
    /// Twice as fast, this often; half as fast when negative.
    Speed(i8),
}

/// Whether a recording plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// It does.
    Playing,
    /// It is held.
    Held,
    /// It is over.
    Ended,
}

/// Where a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Since the start of the recording.
    pub at: Duration,
    /// Length of the recording.
    pub length: Duration,
    /// How fast it is: 2 to the power of this.
    pub speed: i8,
    /// Whether it plays.
    pub motion: Motion,
}
