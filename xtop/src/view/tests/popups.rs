//! What is asked for: questions, findings, explanations, replays.

use super::*;

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
fn findings_and_exits() {
    let mut state = minute(80, 60);
    press(&mut state, "j\nd");
    let target = state.state.subject().expect("a process").identity();
    let query = Query {
        topic: Topic::Diagnosis(target),
        request: Request::Diagnose {
            pid: 4242,
            duration_ms: 2_000,
        },
    };
    let examining = screen(&state);
    assert!(examining.contains("examining ..."), "{examining}");
    let finding = Finding {
        code: "symbol-version-bypass".into(),
        severity: Severity::Error,
        pid: 4242,
        platform: Default::default(),
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
    state.update(
        state.state.now,
        Msg::Answer(query, Ok(Response::Diagnosis(diagnosis))),
    );
    let event = LinkEvent::Snapshot(Box::new(snapshot(Vec::new())));
    state.update(state.state.now, Msg::Link(event));
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
    state.update(state.state.now, Msg::Replay(position));
    insta::assert_snapshot!(screen(&state));
    press(&mut state, "t");
    insta::assert_snapshot!("units", screen(&state));
}

#[test]
fn questions_say_what_they_do() {
    for (name, keys) in [
        ("weight", "w300"),
        ("target", "jl7"),
        ("boost", "b"),
        ("suspend", "z1h"),
        ("resume", "r"),
        ("sharing", "3m"),
    ] {
        for (width, height) in [(60, 15), (80, 24)] {
            let mut snapshot = typical();
            if name == "resume" {
                snapshot.processes[0].hold = Some(OverrideRow {
                    hold: Override::Boosted,
                    remaining_ns: Nanos::from_secs(25),
                });
            }
            let mut state = showing(width, height, snapshot);
            press(&mut state, keys);
            insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen(&state));
        }
    }
}

/// A service that misses its target, one that is boosted, one suspended.
#[test]
fn targets_and_holds_have_columns() {
    let mut snapshot = typical();
    if let Some(slo) = &mut snapshot.processes[1].slo {
        slo.target_p99_ns = Nanos::from_millis(2);
        slo.state = SloState::Impossible;
        slo.reason = "train.py (pid 17) runs kernels of 31 ms".into();
    }
    for (process, hold) in [(0, Override::Suspended), (1, Override::Boosted)] {
        snapshot.processes[process].hold = Some(OverrideRow {
            hold,
            remaining_ns: Nanos::from_secs(25),
        });
    }
    for (width, height) in SIZES {
        let mut state = showing(width, height, snapshot.clone());
        press(&mut state, "j");
        insta::assert_snapshot!(format!("holds_{width}x{height}"), screen(&state));
        press(&mut state, "p");
        insta::assert_snapshot!(format!("holds_pane_{width}x{height}"), screen(&state));
    }
}

#[test]
fn an_old_agent_leaves_dashes() {
    for (name, keys) in [("list", ""), ("process", "j\n"), ("devices", "3")] {
        let mut state = showing(120, 30, fixture::old());
        press(&mut state, keys);
        insta::assert_snapshot!(format!("old_{name}"), screen(&state));
    }
}

/// The agent remembers a minute before xtop's start.
#[test]
fn the_past_and_the_terms_of_a_process() {
    let mut state = minute(120, 60);
    press(&mut state, "j\n");
    let target = state.state.subject().expect("a process").identity();
    let start = typical().time_unix_ns;
    let point = |n: u64| HistoryPoint {
        time_unix_ns: start - n * 1_000_000_000,
        launches_per_s: 1_000.0 + (n * 37 % 500) as f64,
        burst_p50_ns: Some(Nanos::from_millis(2)),
        burst_p99_ns: Some(Nanos::from_micros(3_000 + n * 977 % 9_000)),
        gate_wait_p99_ns: None,
        busy_ratio: Some(0.2 + (n % 7) as f64 / 10.0),
        class: Some(Class::High),
    };
    let past = History {
        pid: Some(4242),
        interval_ns: Nanos::from_secs(1),
        points: (0..60).rev().map(point).collect(),
    };
    let query = Query {
        topic: Topic::Past(target),
        request: Request::History { pid: Some(4242) },
    };
    state.update(
        state.state.now,
        Msg::Answer(query, Ok(Response::History(past))),
    );
    press(&mut state, "e");
    let step = |(source, applied, because): (&str, bool, &str)| ExplainStep {
        source: source.into(),
        applied,
        because: because.into(),
    };
    let steps = [
        ("set by hand", false, "nobody set anything"),
        (
            "rule \"serving\" (/etc/xsched/xsched.toml:12)",
            true,
            "its arguments match serve.py; class high, target 5 ms",
        ),
        ("default", true, "weight 100"),
    ];
    let explanation = Explanation {
        settled: Settled {
            pid: 4242,
            class: Class::High,
            weight: Weight::default(),
            slo_p99_ns: None,
            hold: None,
            joined: true,
            ..Settled::default()
        },
        steps: steps.map(step).to_vec(),
    };
    let query = Query {
        topic: Topic::Explanation(target),
        request: Request::Explain { pid: 4242 },
    };
    let answer = Ok(Response::Explanation(explanation));
    state.update(state.state.now, Msg::Answer(query, answer));
    insta::assert_snapshot!(screen(&state));
}
