//! The charts above the list.

use xsched_common::api::{AgentWarning, GateShares, UnscheduledRow};

use super::*;

/// A minute of a service with a target, two others of its class, two batches
/// and one that escapes.
fn six(width: u16, height: u16) -> Ui {
    let mut ui = start(width, height);
    for second in 0..=60_u64 {
        let busy = second / 10 % 2 == 0;
        let mut next = typical();
        next.time_unix_ns += second * 1_000_000_000;
        for n in 0..3_u32 {
            let kind = (n % 2) as usize;
            let mut process = next.processes[kind].clone();
            process.pid = 6_000 + n;
            process.slo = None;
            next.processes.push(process);
        }
        for process in &mut next.processes {
            let closed = match (process.class, busy) {
                (Class::Low, true) => 0.75,
                _ => 0.0,
            };
            process.gate_shares = process.gate.as_ref().map(|_| GateShares {
                open_ratio: 1.0 - closed,
                capped_ratio: 0.0,
                closed_ratio: closed,
            });
            if let Some(burst) = &mut process.burst {
                burst.p99_ns = Nanos(burst.p99_ns.0 * (4 + second % 4) / 4);
            }
        }
        let device = &mut next.devices[0];
        let shares = if busy { [0.6, 0.2] } else { [0.1, 0.7] };
        for (class, share) in device.classes.iter_mut().zip(shares) {
            class.busy_ratio = Some(share);
        }
        device.unscheduled = Some(UnscheduledRow {
            processes: 1,
            pids: vec![5100],
            launches_per_s: 812.5,
            launch_ratio: Some(0.06),
            busy_ratio: Some(0.1),
            ..UnscheduledRow::default()
        });
        let event = LinkEvent::Snapshot(Box::new(next));
        ui.update(Duration::from_secs(second), Msg::Link(event));
    }
    ui
}

/// Cells between the first and the last thing of each line, of all.
fn informing(screen: &str) -> f64 {
    let (mut informing, mut all) = (0, 0);
    for line in screen.lines() {
        let cells: Vec<char> = line.trim_matches('"').chars().collect();
        all += cells.len();
        let first = cells.iter().position(|c| *c != ' ');
        let last = cells.iter().rposition(|c| *c != ' ');
        if let (Some(first), Some(last)) = (first, last) {
            informing += last + 1 - first;
        }
    }
    informing as f64 / all as f64
}

#[test]
fn six_processes_fill_two_thirds_of_a_large_screen() {
    let ui = six(200, 60);
    let text = screen(&ui);
    let share = informing(&text);
    assert!(share >= 2.0 / 3.0, "{share}\n{text}");
    for needed in ["BUSY", "unscheduled", "LATENCY", "target", "GATES", "75%"] {
        assert!(text.contains(needed), "{needed}\n{text}");
    }
    insta::assert_snapshot!("overview_200x60", text);
    insta::assert_snapshot!("overview_120x40", screen(&six(120, 40)));
}

#[test]
fn a_small_screen_is_the_lists() {
    let text = screen(&six(80, 24));
    assert!(
        !text.contains("BUSY 0000") && text.contains("COMMAND"),
        "{text}"
    );
}

/// Areas have letters where there are no colours, and all of it is ASCII.
#[test]
fn charts_are_told_apart_without_colours() {
    let ui = six(120, 40);
    let theme = Theme::new(Palette::Mono, Charset::Ascii);
    let text = drawn(&ui, &theme).backend().to_string();
    assert!(text.is_ascii() && !text.contains("??"), "{text}");
    for letters in ["HHH", "LLL", "UUU", "==="] {
        assert!(text.contains(letters), "{letters}\n{text}");
    }
    insta::assert_snapshot!("overview_ascii", text);
}

#[test]
fn charts_zoom_and_scroll_back() {
    let mut ui = six(120, 40);
    assert!(screen(&ui).contains("-60 s"));
    press(&mut ui, "+");
    let near = screen(&ui);
    assert!(near.contains("-30 s") && !near.contains("-60 s"), "{near}");
    press(&mut ui, ",,,,");
    let back = screen(&ui);
    assert!(back.contains("-60 s") && !back.contains("now"), "{back}");
    press(&mut ui, "=");
    assert!(screen(&ui).contains("now"));
}

#[test]
fn warnings_have_names_on_every_screen() {
    let mut snapshot = typical();
    snapshot.agent.warnings = (1..=3)
        .map(|n| AgentWarning {
            code: format!("warning_{n}"),
            text: "something to do\x1b[2J".into(),
        })
        .collect();
    for keys in ["", "j\n", "3", "4", "5"] {
        let mut ui = showing(80, 24, snapshot.clone());
        press(&mut ui, keys);
        let text = screen(&ui);
        assert!(text.contains("! warning_1: something to do^[[2J"), "{text}");
        assert!(text.contains("(and 1 more: a)"), "{text}");
    }
}

#[test]
fn columns_are_chosen() {
    let mut ui = showing(80, 24, typical());
    // The menu begins at the command; two further down is the weight, then the
    // gate.
    press(&mut ui, "Cjjj ");
    let text = screen(&ui);
    assert!(
        text.contains("[ ] gate") && text.contains("[x] command"),
        "{text}"
    );
    press(&mut ui, "C");
    let text = screen(&ui);
    assert!(!text.contains("GATE") && text.contains("COMMAND"), "{text}");
}
