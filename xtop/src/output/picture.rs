//! The screen at the end of a recording, as a picture: how this repository's
//! documents are illustrated (`cargo xtask screenshot`).

use std::io::{self, Write};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::svg;
use crate::conn::LinkEvent;
use crate::layout::Size;
use crate::replay::{self, Recording};
use crate::state::{Access, Msg, Settings, State, Users};
use crate::theme::Theme;
use crate::view;

/// The longest side of a picture, cells.
const MAX_SIDE: u16 = 500;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Recording(#[from] replay::Error),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

impl FromStr for Size {
    type Err = &'static str;

    /// `110x26`.
    fn from_str(text: &str) -> Result<Size, Self::Err> {
        let side = |text: &str| text.parse().ok().filter(|n| (1..=MAX_SIDE).contains(n));
        let parts = text.split_once('x');
        parts
            .and_then(|(width, height)| Some((side(width)?, side(height)?)))
            .map(|(width, height)| Size { width, height })
            .ok_or("write columns and lines, as in 110x26")
    }
}

/// Prints the screen after `recording` and `keys`.
pub fn run(
    settings: Settings,
    theme: &Theme,
    recording: Recording,
    size: Size,
    keys: &str,
) -> ExitCode {
    match draw(settings, theme, recording, size, keys) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtop: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn draw(
    settings: Settings,
    theme: &Theme,
    mut recording: Recording,
    size: Size,
    keys: &str,
) -> Result<(), Failure> {
    // As it looked to the one who recorded it.
    let settings = Settings {
        access: Access::Full,
        ..settings
    };
    let mut state = State::new(settings, Users::of_machine(), size);
    let mut now = Duration::ZERO;
    for index in 0..recording.len() {
        let snapshot = Box::new(recording.read(index)?);
        now = recording.time(index);
        state.update(now, Msg::Link(LinkEvent::Snapshot(snapshot)));
    }
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            key => KeyCode::Char(key),
        };
        let event = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
        state.update(now, Msg::Terminal(event));
    }
    let mut terminal = Terminal::new(TestBackend::new(size.width, size.height))
        .unwrap_or_else(|never| match never {});
    let frame = terminal
        .draw(|frame| view::draw(frame, &state, theme))
        .unwrap_or_else(|never| match never {});
    io::stdout()
        .lock()
        .write_all(svg::svg(frame.buffer).as_bytes())?;
    Ok(())
}
