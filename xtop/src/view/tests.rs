//! The screens, as text.

use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use xsched_common::api::{Diagnosis, DropCount, Finding, GateState, Severity, Snapshot};
use xsched_common::units::{Class, Nanos};

use super::draw;
use crate::conn::LinkEvent;
use crate::fixture::{many, process, service_process, snapshot, typical, users};
use crate::layout::Size;
use crate::replay::{Motion, Position};
use crate::state::{Access, Msg, Settings, Sort, State};
use crate::theme::{Charset, Palette, Theme};

fn start(width: u16, height: u16) -> State {
    let settings = Settings {
        socket: "/run/xsched/api.sock".into(),
        interval: Duration::from_secs(1),
        access: Access::Full,
        sort: Sort::default(),
        filter: String::new(),
        keys: crate::input::Keymap::default(),
    };
    State::new(settings, users(), Size { width, height })
}

fn showing(width: u16, height: u16, snapshot: Snapshot) -> State {
    let mut state = start(width, height);
    let event = LinkEvent::Snapshot(Box::new(snapshot));
    state.update(Duration::from_secs(1), Msg::Link(event));
    state.update(Duration::from_millis(1_300), Msg::Tick);
    state
}

fn lost(mut state: State) -> State {
    let event = LinkEvent::Lost {
        error: "no agent at /run/xsched/api.sock: start it with `sudo xsched-agent`".into(),
        retry_in: Duration::from_secs(2),
    };
    state.update(Duration::from_secs(9), Msg::Link(event));
    state
}

fn press(state: &mut State, keys: &str) {
    for c in keys.chars() {
        let code = if c == '\n' {
            KeyCode::Enter
        } else {
            KeyCode::Char(c)
        };
        let event = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
        state.update(state.now, Msg::Terminal(event));
    }
}

fn terminal(size: Size) -> Terminal<TestBackend> {
    Terminal::new(TestBackend::new(size.width, size.height)).expect("a test terminal")
}

fn drawn(state: &State, theme: &Theme) -> Terminal<TestBackend> {
    let mut terminal = terminal(state.size);
    terminal
        .draw(|frame| draw(frame, state, theme))
        .expect("draws");
    terminal
}

fn screen(state: &State) -> String {
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
fn minute(width: u16, height: u16) -> State {
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
        let event = LinkEvent::Snapshot(Box::new(next));
        state.update(Duration::from_secs(second), Msg::Link(event));
    }
    state
}

const SIZES: [(u16, u16); 3] = [(60, 15), (80, 24), (200, 60)];

#[test]
fn each_screen_at_each_size() {
    for (name, keys) in [("process", "j\n"), ("devices", "3"), ("events", "4")] {
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
    for keys in ["j\n", "3", "4"] {
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

#[test]
fn findings_and_exits() {
    let mut state = minute(80, 60);
    press(&mut state, "j\nd");
    let target = state.subject().expect("a process").identity();
    let examining = screen(&state);
    assert!(examining.contains("examining ..."), "{examining}");
    let finding = Finding {
        code: "symbol-version-bypass".into(),
        severity: Severity::Error,
        pid: 4242,
        title: "launches of libtorch_hip.so go past the shim: it lacks version hip_99.0".into(),
        evidence: vec!["jump_slot of hipLaunchKernel@hip_99.0\x1b[2J".into()],
        effect: Some("1,000 of 1,000 launches/s never reach the shim".into()),
        fix: "use a shim that exports hip_99.0".into(),
    };
    let diagnosis = Diagnosis {
        pid: 4242,
        findings: vec![finding],
        limits: vec!["/proc/4242/environ could not be read".into()],
    };
    state.update(state.now, Msg::Diagnosed(target, Ok(diagnosis)));
    let event = LinkEvent::Snapshot(Box::new(snapshot(Vec::new())));
    state.update(state.now, Msg::Link(event));
    insta::assert_snapshot!(screen(&state));
}

#[test]
fn a_tree_and_a_replay() {
    let mut family = typical();
    family.processes[0].parent = Some(4242);
    family.processes[2].parent = Some(977);
    let mut state = showing(80, 24, family);
    press(&mut state, "t");
    let position = Position {
        at: Duration::from_secs(75),
        length: Duration::from_secs(3_600),
        speed: 2,
        motion: Motion::Held,
    };
    state.update(state.now, Msg::Replay(position));
    insta::assert_snapshot!(screen(&state));
    press(&mut state, "t");
    insta::assert_snapshot!("units", screen(&state));
}

#[test]
fn popups() {
    for (name, keys) in [
        ("help", "?"),
        ("sort", "s"),
        ("class", "jc4"),
        ("filter", "/p99:>x"),
    ] {
        for (width, height) in [(60, 15), (80, 24)] {
            let mut state = showing(width, height, typical());
            press(&mut state, keys);
            insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen(&state));
        }
    }
    let mut help = showing(120, 60, typical());
    press(&mut help, "?");
    insta::assert_snapshot!("help_120x60", screen(&help));
}

#[test]
fn wide_and_hostile_names() {
    let mut wide = service_process();
    wide.command = "推論サービス".into();
    wide.arguments = "/opt/推論 --モデル=大きい言語モデル --日本語 --ずっと長い引数".into();
    let mut hostile = process(666, "evil");
    hostile.command = "\x1b[2J\x1b[Hroot\u{202e}".into();
    hostile.arguments = "x \u{9b}31m\r\n\t👩‍🔬é".into();
    hostile.launches_per_s = -1e300;
    hostile.bypass_ratio = Some(1e300);
    hostile.launches = u64::MAX;
    for (width, height) in [(60, 15), (80, 24), (200, 60)] {
        let mut state = showing(width, height, snapshot(vec![wide.clone(), hostile.clone()]));
        press(&mut state, "Gp");
        insta::assert_snapshot!(format!("wide_{width}x{height}"), screen(&state));
    }
}

#[test]
fn ascii_is_ascii() {
    let mut wide = service_process();
    wide.command = "推論サービス".into();
    let mut processes = typical().processes;
    processes.push(wide);
    let mut state = showing(80, 24, snapshot(processes));
    press(&mut state, "p");
    let theme = Theme::new(Palette::Mono, Charset::Ascii);
    let text = drawn(&state, &theme).backend().to_string();
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn no_colours_means_none() {
    let mut state = showing(80, 24, typical());
    press(&mut state, "p");
    let theme = Theme::new(Palette::Mono, Charset::Unicode);
    let terminal = drawn(&state, &theme);
    for cell in &terminal.backend().buffer().content {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
    }
}

#[test]
fn any_size_draws() {
    let theme = Theme::new(Palette::Dark, Charset::Unicode);
    for keys in ["", "p", "?", "s", "c", "a", "/x:", "2", "3", "4", "t"] {
        for (width, height) in [
            (0, 0),
            (1, 1),
            (5, 3),
            (59, 15),
            (60, 14),
            (60, 15),
            (500, 9),
        ] {
            let mut state = showing(width, height, many(40));
            press(&mut state, keys);
            drawn(&state, &theme);
        }
    }
    insta::assert_snapshot!("too_small", screen(&showing(40, 6, typical())));
}

/// The bound is for release builds; without optimisation it is ten times as
/// wide and still notices work that grows with the number of processes.
#[test]
fn a_frame_of_a_thousand_processes_is_quick() {
    let bound = if cfg!(debug_assertions) { 50 } else { 5 };
    let theme = Theme::new(Palette::Dark, Charset::Unicode);
    for keys in ["Gp", "t", "\n", "3", "4"] {
        let mut state = showing(200, 60, many(1_000));
        press(&mut state, keys);
        let mut terminal = terminal(state.size);
        let mut times: Vec<Duration> = (0..101)
            .map(|i| {
                press(&mut state, if i % 2 == 0 { "k" } else { "j" });
                let start = Instant::now();
                terminal
                    .draw(|frame| draw(frame, &state, &theme))
                    .expect("draws");
                start.elapsed()
            })
            .collect();
        times.sort();
        let median = times[times.len() / 2];
        println!("frame of 1,000 processes at 200x60 after {keys:?}: median {median:?}");
        assert!(
            median < Duration::from_millis(bound),
            "{keys:?}: {median:?}"
        );
    }
}
