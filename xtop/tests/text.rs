//! The real binary printing text, against a fake agent.

use std::process::{Command, Output, Stdio};

use crate::support::agent::{Behaviour, FakeAgent, snapshot};
use xsched_common::api::{Request, Snapshot};

fn xtop(agent: &FakeAgent, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtop"))
        .arg("--socket")
        .arg(&agent.socket)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("runs")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn error(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let error = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(error.trim_end().lines().count(), 1, "one line: {error}");
    error
}

#[test]
fn once_as_json_is_the_agents_snapshot() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let output = xtop(&agent, &["--once", "--format", "json", "--sort", "pid"]);
    let printed: Snapshot = serde_json::from_str(&text(&output)).expect("a snapshot");
    assert_eq!(printed, snapshot());
    insta::assert_snapshot!(text(&output));
    assert_eq!(*agent.requests.lock().expect("requests"), [Request::List]);
}

#[test]
fn once_as_csv() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let output = xtop(&agent, &["--once", "--format", "csv", "--sort", "p99"]);
    // The names of users are this machine's.
    let columns: Vec<String> = text(&output)
        .lines()
        .map(|line| {
            let fields = line.splitn(6, ',').collect::<Vec<_>>();
            [&fields[..4], &fields[5..]].concat().join(",")
        })
        .collect();
    insta::assert_snapshot!(columns.join("\n"));
}

#[test]
fn filter_and_sort_apply_to_text() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let arguments = [
        "--once",
        "--filter",
        "shim:joined",
        "--sort",
        "launches:asc",
    ];
    let table = text(&xtop(&agent, &arguments));
    let pids: Vec<&str> = table
        .lines()
        .skip(2)
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert_eq!(pids, ["4242", "977"]);
}

#[test]
fn recordings_are_written_and_printed_as_text() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("recording");
    let file = file.to_str().expect("text");
    let json = ["--batch", "-n", "3", "-d", "0.1", "--format", "json"];
    let live = text(&xtop(&agent, &[&json[..], &["--record", file]].concat()));
    let replay = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_xtop"))
            .args(["--replay", file])
            .args(arguments)
            .output()
            .expect("runs")
    };
    assert_eq!(text(&replay(&["--batch", "--format", "json"])), live);
    let two = text(&replay(&[
        "--batch",
        "-n",
        "2",
        "--format",
        "csv",
        "--filter",
        "!/^train/",
    ]));
    assert_eq!(two.lines().count(), 1 + 2 * 2);
    assert_eq!(text(&replay(&["--once"])).matches("agent").count(), 1);
    let again = error(&xtop(&agent, &[&json[..], &["--record", file]].concat()), 2);
    assert!(
        again.contains("File exists"),
        "nothing is overwritten: {again}"
    );
    std::fs::write(file, "{\"some\":\"thing\"}\n").expect("writes");
    assert!(error(&replay(&["--once"]), 2).contains("no recording of xtop"));
}

#[test]
fn mistakes_in_the_configuration_are_exit_status_2() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("xtop.toml");
    std::fs::write(&path, "[keys]\nquit = ['Hyper-q']\n").expect("writes");
    let path = path.to_str().expect("text");
    let message = error(&xtop(&agent, &["--once", "--config", path]), 2);
    assert!(
        message.contains("xtop.toml: keys of quit: no key 'Hyper-q'"),
        "{message}"
    );
}

#[test]
fn batch_prints_as_many_as_asked() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let output = xtop(
        &agent,
        &["--batch", "-n", "3", "-d", "0.1", "--format", "csv"],
    );
    let text = text(&output);
    assert_eq!(
        text.lines().count(),
        1 + 3 * 3,
        "one header, three snapshots of three"
    );
    assert_eq!(text.matches("time_unix_ns").count(), 1);
    let watch = Request::Watch { interval_ms: 100 };
    assert_eq!(*agent.requests.lock().expect("requests"), [watch]);
}

#[test]
fn a_lost_agent_is_exit_status_1() {
    for (behaviour, expected) in [
        (Behaviour::HangsUp, "the agent closed the connection"),
        (Behaviour::Garbage, "must be of one version"),
    ] {
        let agent = FakeAgent::start(behaviour);
        let output = xtop(&agent, &["--batch", "-n", "3", "-d", "0.1"]);
        assert!(!output.stdout.is_empty(), "the first snapshot is printed");
        assert!(error(&output, 1).contains(expected));
    }
}

#[test]
fn no_agent_and_bad_usage_are_exit_status_2() {
    let agent = FakeAgent::start(Behaviour::Steady);
    std::fs::remove_file(&agent.socket).expect("removes");
    let message = error(&xtop(&agent, &["--once"]), 2);
    assert!(message.starts_with("xtop: no agent at /") && message.contains("start it with `"));
    let message = error(&xtop(&agent, &[]), 2);
    assert!(message.contains("--once"), "not on a terminal: {message}");
    let output = xtop(&agent, &["--once", "--sort", "colour"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no column 'colour'"));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let agent = FakeAgent::start(Behaviour::Steady);
    let mut child = Command::new(env!("CARGO_BIN_EXE_xtop"))
        .arg("--socket")
        .arg(&agent.socket)
        .args(["--batch", "-d", "0.1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.try_wait().expect("waits") {
            break status;
        }
        if std::time::Instant::now() > deadline {
            child.kill().expect("killed");
            panic!("did not notice that nobody reads");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(status.success());
}
