//! Memory does not grow with time: processes come and go, every screen is
//! drawn, for 10,000 frames.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use xsched_client::{Endpoint, LinkEvent};
use xsched_common::api::Snapshot;
use xtop::input::Keymap;
use xtop::state::{Access, Msg, Settings, Size, Sort, State};
use xtop::theme::{Charset, Palette, Theme};
use xtop::ui::Ui;

/// Bytes in use.
static LIVE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Frames until histories and events are full.
const WARM_UP: u64 = 2_000;

/// Frames that are measured.
const FRAMES: u64 = 10_000;

/// Least bytes per frame that would be noticed: 16.
const TOLERANCE: isize = 160_000;

/// The machine at `second`: some processes stay, others are new.
fn snapshot(template: &Snapshot, second: u64) -> Snapshot {
    let mut snapshot = template.clone();
    snapshot.time_unix_ns += second * 1_000_000_000;
    snapshot.agent.drops.total = second / 100;
    let more: Vec<_> = (0..4)
        .map(|n| {
            let mut process = template.processes[n % template.processes.len()].clone();
            process.pid = 10_000 + n as u32;
            // Each lives ten seconds.
            process.start_time = (second + n as u64) / 10;
            process
        })
        .collect();
    snapshot.processes.extend(more);
    snapshot
}

#[test]
fn memory_is_flat_over_ten_thousand_frames() {
    let template: Snapshot =
        serde_json::from_str(include_str!("data/snapshot.json")).expect("a snapshot");
    let size = Size {
        width: 60,
        height: 15,
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
    let backend = TestBackend::new(size.width, size.height);
    let mut terminal = Terminal::new(backend).expect("a test terminal");
    let mut before = 0;
    for frame in 0..WARM_UP + FRAMES {
        if frame == WARM_UP {
            before = LIVE.load(Relaxed);
        }
        let now = Duration::from_secs(frame);
        let event = LinkEvent::Snapshot(Box::new(snapshot(&template, frame)));
        ui.update(now, Msg::Link(event));
        let key = b"1p1t2345"[frame as usize % 8];
        let key = KeyEvent::new(KeyCode::Char(key.into()), KeyModifiers::NONE);
        ui.event(now, &Event::Key(key));
        terminal.draw(|frame| ui.draw(frame)).expect("draws");
    }
    let grown = LIVE.load(Relaxed) - before;
    println!("grown by {grown} bytes over {FRAMES} frames, from {before}");
    assert!(grown < TOLERANCE, "{grown} bytes");
}
