//! The screen at the end of a recording, as an SVG picture: how this
//! repository's documents are illustrated (`cargo xtask screenshot`).

#[cfg(test)]
mod browser;
mod row;
mod shapes;
mod svg;

use clap::Parser;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use xsched_client::LinkEvent;
use xtop::cli::Args;
use xtop::saved::Saved;
use xtop::state::{Access, Msg, Settings, Size, State};
use xtop::ui::Ui;

#[derive(Parser)]
struct PictureOptions {
    /// The screen: columns and lines, as in 110x26.
    #[arg(long, value_name = "COLUMNSxLINES", value_parser = size)]
    size: Size,
    /// Keys to press at the end.
    #[arg(long, default_value = "")]
    keys: String,
    /// So many pictures from the recording's last part instead of one, each for
    /// half a second.
    #[arg(long, default_value_t = 1)]
    frames: usize,
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
    let PictureOptions {
        size,
        keys,
        frames,
        xtop,
    } = PictureOptions::parse();
    let config = xtop.config()?;
    let settings = Settings {
        // As it looked to the one who recorded it.
        access: Access::Full,
        ..xtop.settings(&Saved::default())
    };
    let mut recording = xtop.tape()?.replay.ok_or("--replay is missing")?;
    let mut ui = Ui {
        state: State::new(settings, size),
        theme: xtop.theme(&config),
        keys: config.keys,
    };
    let mut terminal = Terminal::new(TestBackend::new(size.width, size.height))?;
    let mut pictures = Vec::new();
    let first = recording.len().saturating_sub(frames.max(1));
    for index in 0..recording.len() {
        let snapshot = Box::new(recording.read(index)?);
        let now = recording.time(index);
        ui.update(now, Msg::Link(LinkEvent::Snapshot(snapshot)));
        if index == first {
            for key in keys.chars() {
                let code = match key {
                    '\n' => KeyCode::Enter,
                    key => KeyCode::Char(key),
                };
                let event = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
                ui.event(now, &event);
            }
        }
        if index >= first {
            let frame = terminal.draw(|frame| ui.draw(frame))?;
            pictures.push(frame.buffer.clone());
        }
    }
    print!("{}", svg::animated(&pictures, 0.5));
    Ok(())
}
