//! How long a frame takes: `frame PROCESSES` prints each screen and its median,
//! ms (`cargo xtask bench xtop`).

use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use xsched_client::{Endpoint, LinkEvent};
use xsched_common::api::Snapshot;
use xtop::input::Keymap;
use xtop::state::{Access, Msg, Settings, Size, Sort, State};
use xtop::theme::{Charset, Palette, Theme};
use xtop::ui::Ui;

/// Frames of each screen.
const FRAMES: u64 = 101;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let processes = std::env::args().nth(1).ok_or("say how many processes")?;
    let processes: usize = processes.parse()?;
    let template: Snapshot = serde_json::from_str(include_str!("../tests/data/snapshot.json"))?;
    let mut snapshot = template.clone();
    let kinds = template.processes.iter().cycle().take(processes);
    snapshot.processes = kinds
        .zip(0_u32..)
        .map(|(process, n)| {
            let mut process = process.clone();
            process.pid = 10_000 + n;
            process.launches_per_s = f64::from(n * 7_919 % 5_000);
            process
        })
        .collect();
    let size = Size {
        width: 200,
        height: 60,
    };
    let settings = Settings {
        endpoint: Endpoint::Socket("/nowhere".into()),
        interval: Duration::from_secs(1),
        access: Access::Full,
        sort: Sort::default(),
        filter: String::new(),
        uid: 0,
    };
    let mut ui = Ui {
        state: State::new(settings, size),
        keys: Keymap::default(),
        theme: Theme::new(Palette::Dark, Charset::Unicode),
    };
    let mut terminal = Terminal::new(TestBackend::new(size.width, size.height))?;
    let mut second = 0;
    for key in "12345".chars() {
        let mut times = Vec::new();
        for _ in 0..FRAMES {
            second += 1;
            let mut next = snapshot.clone();
            next.time_unix_ns += second * 1_000_000_000;
            let now = Duration::from_secs(second);
            ui.update(now, Msg::Link(LinkEvent::Snapshot(Box::new(next))));
            let press = KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE);
            ui.event(now, &Event::Key(press));
            let begin = Instant::now();
            terminal.draw(|frame| ui.draw(frame))?;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        let median = times[times.len() / 2];
        println!("{key} {:.3}", median.as_secs_f64() * 1e3);
    }
    Ok(())
}
