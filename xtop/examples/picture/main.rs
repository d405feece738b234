//! The screen at the end of a recording, as an SVG picture: how this
//! repository's documents are illustrated (`cargo xtask screenshot`).

mod svg;

use std::time::Duration;

use clap::Parser;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use xsched_client::LinkEvent;
use xtop::cli::Args;
use xtop::layout::Size;
use xtop::state::{Access, Msg, Settings, State, Users};

#[derive(Parser)]
struct Options {
    /// The screen: columns and lines, as in 110x26.
    #[arg(long, value_name = "COLUMNSxLINES", value_parser = size)]
    size: Size,
    /// Keys to press at the end.
    #[arg(long, default_value = "")]
    keys: String,
    /// With --replay.
    #[command(flatten)]
    xtop: Args,
}

fn size(text: &str) -> Result<Size, String> {
    let sides = text.split_once('x').ok_or("no x")?;
    let side = |text: &str| text.parse().map_err(|e| format!("{text}: {e}"));
    let (width, height) = (side(sides.0)?, side(sides.1)?);
    Ok(Size { width, height })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Options { size, keys, xtop } = Options::parse();
    let config = xtop.config()?;
    let settings = Settings {
        // As it looked to the one who recorded it.
        access: Access::Full,
        ..xtop.settings(&config)
    };
    let mut recording = xtop.tape()?.replay.ok_or("--replay is missing")?;
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
    let mut terminal = Terminal::new(TestBackend::new(size.width, size.height))?;
    let theme = xtop.theme(&config);
    let frame = terminal.draw(|frame| xtop::view::draw(frame, &state, &theme))?;
    print!("{}", svg::svg(frame.buffer));
    Ok(())
}
