//! Odd names, odd terminals, many processes.

use xsched_common::api::{JobRow, PodRow};

use super::*;
use crate::layout::Layout;
use crate::view::page::PageLine;

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
    for keys in [
        "", "p", "?", "s", "c", "w", "b", "a", "/x:", "2", "3", "3m", "4", "5", "t", "C", "+++",
        ",,",
    ] {
        for (width, height) in [
            (0, 0),
            (1, 1),
            (5, 3),
            (20, 5),
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
    for keys in ["", "Gp", "t", "\n", "3", "4", "5"] {
        let mut state = showing(200, 60, many(1_000));
        press(&mut state, keys);
        let mut terminal = terminal(state.state.size);
        let mut times: Vec<Duration> = (0..101)
            .map(|i| {
                press(&mut state, if i % 2 == 0 { "k" } else { "j" });
                let start = Instant::now();
                terminal
                    .draw(|frame| view::draw(frame, &state.state, &state.keys, &theme))
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

/// Lines that nobody sees are not written: a frame takes as long as the screen
/// is high, however many processes there are.
#[test]
fn of_a_thousand_processes_only_those_on_screen_are_written() {
    let theme = Theme::new(Palette::Dark, Charset::Unicode);
    for (keys, each) in [("2", 0), ("3", 600), ("4", 1_000), ("5", 0)] {
        let mut state = showing(200, 60, many(1_000));
        press(&mut state, keys);
        let Ui { state, .. } = &state;
        let area = Layout::of(state.size, state).main;
        let lines = view::lines(state.screen, area, state, &theme);
        assert!(lines.len() >= each, "{keys}: {}", lines.len());
        let is_written = |line: &&PageLine<'_>| match line {
            PageLine::Written(line) => line.width() > 0,
            PageLine::Later(_) => false,
        };
        let written = lines.iter().filter(is_written).count();
        assert!(written <= 2 * 60, "{keys}: {written}");
    }
}

/// A class group stands below its process, and the cursor passes over it.
#[test]
fn groups_stand_below_their_processes() {
    let mut service = service_process();
    service.groups = serde_json::from_value(serde_json::json!([{
        "class": "low", "wish": "low", "origin": "hint", "device": null,
        "gate": {"state": "closed", "cap": null, "reason": "a higher class is active", "waiting": 1},
        "commands": 7, "burst": null, "gate_wait": null,
        "guards": {"trickle": 0, "stall": 0, "lease": 0}, "in_flight": 2, "kernel_ns": null,
        "busy_ratio": 0.25
    }]))
    .expect("a group");
    let mut last = process(7, "batch");
    last.launches_per_s = 1.0;
    let mut state = showing(120, 24, snapshot(vec![service, last]));
    let text = screen(&state);
    let lines: Vec<&str> = text.lines().collect();
    let line = |what: &str| {
        lines
            .iter()
            .position(|line| line.contains(what))
            .expect("a line")
    };
    let group = line("group low by hint");
    assert_eq!(line("4242 "), group - 1, "{text}");
    assert!(
        lines[group].contains("closed") && lines[group].contains("25%"),
        "{text}"
    );
    press(&mut state, "j");
    let selected = state.state.processes.selected().map(|row| row.process.pid);
    assert_eq!(selected, Some(7));
}

/// Whose work a process is in a cluster.
#[test]
fn pods_and_jobs_have_a_column_and_a_line() {
    let mut snapshot = typical();
    snapshot.processes[0].pod = Some(PodRow {
        uid: "0d6d-uid".into(),
        namespace: Some("team-a".into()),
        name: Some("infer-0\x1b[2J".into()),
        container: Some("0123456789ab".into()),
    });
    snapshot.processes[1].job = Some(JobRow {
        id: 42,
        step: Some("batch".into()),
        qos: Some("high".into()),
        ..JobRow::default()
    });
    let text = screen(&showing(140, 30, snapshot.clone()));
    for shown in ["WORKLOAD", "team-a/infer-0^[[2J", "job 42.batch"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    for (filter, shown) in [
        ("42.batch", "job 42.batch, qos high"),
        ("workload:team-a/", "container 0123456789ab"),
    ] {
        let mut state = showing(140, 30, snapshot.clone());
        press(&mut state, &format!("/{filter}\np"));
        let text = screen(&state);
        assert!(
            text.contains("1 of 3 processes") && text.contains(shown),
            "{text}"
        );
    }
    assert!(!screen(&showing(140, 30, typical())).contains("WORKLOAD"));
}
