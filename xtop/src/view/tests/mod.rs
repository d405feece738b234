//! The screens, as text.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use xsched_client::LinkEvent;
use xsched_common::api::{
    Diagnosis, DropCount, ExplainStep, Explanation, Finding, GateState, History, HistoryPoint,
    Override, OverrideRow, Request, Response, Settled, Severity, SloState, Snapshot,
};
use xsched_common::units::{Class, Nanos, Weight};

use crate::fixture::{self, many, press, process, service_process, snapshot, typical};
use crate::replay::{Motion, Position};
use crate::state::{Access, Msg, Query, Size, Topic};
use crate::theme::{Charset, Palette, Theme};
use crate::ui::Ui;
use crate::view;

mod edges;
mod overview;
mod popups;

fn start(width: u16, height: u16) -> Ui {
    fixture::start(Size { width, height }, Access::Full)
}

fn showing(width: u16, height: u16, snapshot: Snapshot) -> Ui {
    fixture::showing(Size { width, height }, snapshot, "")
}

fn lost(mut state: Ui) -> Ui {
    let event = LinkEvent::Lost {
        error: "no agent at /run/xsched/api.sock: start it with `sudo xsched-agent`".into(),
        retry_in: Duration::from_secs(2),
    };
    state.update(Duration::from_secs(9), Msg::Link(event));
    state
}

fn terminal(size: Size) -> Terminal<TestBackend> {
    Terminal::new(TestBackend::new(size.width, size.height)).expect("a test terminal")
}

fn drawn(state: &Ui, theme: &Theme) -> Terminal<TestBackend> {
    let mut terminal = terminal(state.state.size);
    terminal
        .draw(|frame| view::draw(frame, &state.state, &state.keys, theme))
        .expect("draws");
    terminal
}

fn screen(state: &Ui) -> String {
    drawn(state, &Theme::new(Palette::Dark, Charset::Unicode))
        .backend()
        .to_string()
}

#[test]
fn processes_at_each_size() {
    for (width, height) in [(60, 15), (80, 24), (200, 60)] {
        let state = showing(width, height, typical());
        insta::assert_snapshot!(format!("processes_{width}x{height}"), screen(&state));
    }
}

#[test]
fn a_thousand_processes() {
    for (width, height) in [(60, 15), (80, 24), (200, 60)] {
        let mut state = showing(width, height, many(1_000));
        press(&mut state, "Gk");
        insta::assert_snapshot!(format!("many_{width}x{height}"), screen(&state));
    }
}

#[test]
fn nothing_to_show_says_what_to_do() {
    for (width, height) in [(60, 15), (80, 24), (200, 60)] {
        let empty = showing(width, height, snapshot(Vec::new()));
        insta::assert_snapshot!(format!("empty_{width}x{height}"), screen(&empty));
        let lost = lost(start(width, height));
        insta::assert_snapshot!(format!("disconnected_{width}x{height}"), screen(&lost));
    }
    insta::assert_snapshot!("connecting", screen(&start(80, 24)));
    let mut filtered = showing(80, 24, typical());
    press(&mut filtered, "/nobody\n");
    insta::assert_snapshot!("no_match", screen(&filtered));
}

#[test]
fn a_lost_connection_keeps_the_last_data() {
    let state = lost(showing(80, 24, typical()));
    insta::assert_snapshot!(screen(&state));
}

#[test]
fn no_bpf_and_drops_are_said() {
    let mut dropped = typical();
    dropped.agent.bpf.available = false;
    dropped.agent.bpf.reason = Some("needs root or CAP_BPF: run it with sudo".into());
    dropped.agent.drops.total = 1_234;
    dropped.agent.drops.by_reason = vec![DropCount {
        reason: "map_full".into(),
        count: 1_234,
        ..DropCount::default()
    }];
    let mut state = showing(80, 24, dropped);
    insta::assert_snapshot!("dropped", screen(&state));
    let theme = Theme::new(Palette::Dark, Charset::Unicode);
    let terminal = drawn(&state, &theme);
    let top = screen(&state).lines().next().expect("a line").to_owned();
    let x = top.chars().position(|c| c == '1').expect("the count");
    let red = (0..80).any(|x| terminal.backend().buffer()[(x, 0)].style().fg == theme.bad.fg);
    assert!(
        x > 0 && red && theme.bad.fg == Some(Color::Indexed(203)),
        "drops are red"
    );
    press(&mut state, "a");
    insta::assert_snapshot!("agent", screen(&state));
}

#[test]
fn the_selected_process_in_detail() {
    for (width, height) in [(60, 15), (80, 24), (200, 60)] {
        let mut state = showing(width, height, typical());
        press(&mut state, "p");
        insta::assert_snapshot!(format!("detail_{width}x{height}"), screen(&state));
    }
    let mut state = showing(80, 24, typical());
    press(&mut state, "Gp");
    insta::assert_snapshot!("detail_without_shim", screen(&state));
}

/// A minute in which the service works every other ten seconds.
fn minute(width: u16, height: u16) -> Ui {
    let mut state = showing(width, height, typical());
    for second in 2..60_u64 {
        let mut next = typical();
        next.time_unix_ns += second * 1_000_000_000;
        let busy = second / 10 % 2 == 0;
        next.devices[0].top_active = Some(if busy { Class::High } else { Class::Low });
        if let Some(gate) = &mut next.processes[0].gate {
            gate.state = match (busy, second % 10) {
                (false, _) => GateState::Open,
                (true, 0) => GateState::Closed,
                (true, _) => GateState::Capped,
            };
        }
        for burst in next.processes.iter_mut().filter_map(|p| p.burst.as_mut()) {
            burst.p99_ns = Nanos(burst.p99_ns.0 * (1 + second % 7));
            burst.count = if second % 13 == 0 { 0 } else { burst.count };
        }
        if second > 40 {
            next.processes.truncate(2);
        }
        next.events = fixture::listed();
        next.events.retain(|e| e.time_unix_ns <= next.time_unix_ns);
        let event = LinkEvent::Snapshot(Box::new(next));
        state.update(Duration::from_secs(second), Msg::Link(event));
    }
    state
}

const SIZES: [(u16, u16); 3] = [(60, 15), (80, 24), (200, 60)];

#[test]
fn each_screen_at_each_size() {
    for (name, keys) in [
        ("process", "j\n"),
        ("devices", "3"),
        ("hardware", "4"),
        ("events", "5"),
    ] {
        for (width, height) in SIZES {
            let mut state = minute(width, height);
            press(&mut state, keys);
            insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen(&state));
            let mut empty = start(width, height);
            press(&mut empty, keys);
            let text = screen(&empty);
            assert!(!text.contains("more"), "{text}");
        }
        let mut huge = showing(80, 24, many(1_000));
        press(&mut huge, keys);
        insta::assert_snapshot!(format!("{name}_huge"), screen(&huge));
        let mut none = showing(80, 24, snapshot(Vec::new()));
        press(&mut none, keys);
        insta::assert_snapshot!(format!("{name}_empty"), screen(&none));
        let mut lost = lost(minute(80, 24));
        press(&mut lost, keys);
        insta::assert_snapshot!(format!("{name}_disconnected"), screen(&lost));
        let mut ascii = minute(80, 24);
        press(&mut ascii, keys);
        let theme = Theme::new(Palette::Mono, Charset::Ascii);
        let text = drawn(&ascii, &theme).backend().to_string();
        assert!(text.is_ascii() && !text.contains("??"), "{text}");
        insta::assert_snapshot!(format!("{name}_ascii"), text);
    }
}

#[test]
fn the_screens_scroll_to_their_ends() {
    for keys in ["j\n", "3", "5"] {
        let mut state = showing(60, 15, many(40));
        press(&mut state, keys);
        let top = screen(&state);
        assert!(top.contains("more: j"), "{top}");
        press(&mut state, "G");
        let bottom = screen(&state);
        assert!(!bottom.contains("more: j") && bottom != top, "{bottom}");
        press(&mut state, "g");
        assert_eq!(screen(&state), top);
    }
}
