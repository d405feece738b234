//! `xsched-agent proxy` and `xsched-agent events`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use xsched_common::units::Class;
use xsched_testkit::{Agent, FakeClient, agent_command, set_class, wait_for};

fn piped(agent: &Agent, arguments: &[&str]) -> Child {
    agent_command()
        .args(arguments)
        .env("XSCHED_RUN_DIR", &agent.run_dir.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts")
}

fn finish(mut child: Child, input: &str) -> Output {
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("reads");
    drop(stdin);
    child.wait_with_output().expect("ends")
}

#[test]
fn requests_go_in_and_all_answers_come_out() {
    let agent = Agent::start();
    let requests = "{\"op\":\"hello\"}\n{\"op\":\"list\"}\nnonsense\n{\"op\":\"history\"}\n";
    let out = finish(piped(&agent, &["proxy"]), requests);
    assert_eq!(out.status.code(), Some(0), "stdin ended");
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let types: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["type"].clone())
        .collect();
    assert_eq!(types, ["hello", "snapshot", "error", "history"]);
    assert!(out.stderr.is_empty());
}

#[test]
fn a_watch_through_it_ends_with_either_side() {
    let agent = Agent::start();
    let watch = |agent: &Agent| {
        let mut proxy = piped(agent, &["proxy"]);
        let mut stdin = proxy.stdin.take().expect("piped");
        stdin
            .write_all(b"{\"op\":\"watch\",\"interval_ms\":100}\n")
            .expect("reads");
        let mut out = BufReader::new(proxy.stdout.take().expect("piped"));
        for _ in 0..3 {
            let mut line = String::new();
            out.read_line(&mut line).expect("a snapshot");
            assert!(line.starts_with("{\"type\":\"snapshot\""), "{line}");
        }
        (proxy, stdin, out)
    };
    let (mut proxy, stdin, out) = watch(&agent);
    drop(stdin);
    assert_eq!(proxy.wait().expect("ends").code(), Some(0), "stdin ended");
    drop(out);

    let (mut proxy, _stdin, out) = watch(&agent);
    drop(out);
    assert_eq!(proxy.wait().expect("ends").code(), Some(0), "nobody reads");

    let (mut proxy, _stdin, _out) = watch(&agent);
    drop(agent);
    assert_eq!(
        proxy.wait().expect("ends").code(),
        Some(2),
        "the agent is gone"
    );
    let mut error = String::new();
    let stderr = proxy.stderr.as_mut().expect("piped");
    stderr.read_to_string(&mut error).expect("reads");
    assert!(error.contains("has ended the connection"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn without_an_agent_it_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    for command in ["proxy", "events"] {
        let out = agent_command()
            .arg(command)
            .env("XSCHED_RUN_DIR", dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("runs");
        assert_eq!(out.status.code(), Some(2));
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(error.contains("no agent at"), "{error}");
    }
}

/// The agent takes the user who runs the relay for who asks.
#[test]
fn who_runs_it_is_who_asks() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: needs root to become somebody else");
        return;
    }
    let agent = Agent::start();
    let client = FakeClient::join(&agent.run_dir);
    let me = std::process::id();
    let copy = agent.dir.path().join("xsched-agent");
    xsched_testkit::copy_program(env!("CARGO_BIN_EXE_xsched-agent"), &copy);
    use std::os::unix::fs::PermissionsExt as _;
    for open in [agent.dir.path(), &agent.run_dir.0] {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).expect("opens");
    }
    let nobody = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .arg("proxy")
        .env("XSCHED_RUN_DIR", &agent.run_dir.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("setpriv is there");
    let request = format!("{{\"op\":\"set\",\"pid\":{me},\"class\":\"low\"}}\n");
    let out = finish(nobody, &request);
    let answer: Value = serde_json::from_slice(&out.stdout).expect("an answer");
    assert_eq!(answer["code"], "not_permitted", "{answer}");
    wait_for("the refusal is an event", || {
        let out = agent.cli(&["events"]);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.contains("refused") && text.contains("by uid 65534 (pid ")
    });
    drop(client);
}

#[test]
fn events_are_followed() {
    let agent = Agent::start();
    let mut follow = piped(&agent, &["events", "--follow", "--json"]);
    let client = FakeClient::join(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    let mut lines = BufReader::new(follow.stdout.take().expect("piped")).lines();
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let line = lines.next().expect("an event").expect("reads");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(event["number"], kinds.len() as u64 + 1);
        kinds.push(event["kind"].clone());
    }
    kinds.sort_by_key(Value::to_string);
    assert_eq!(kinds, ["changed", "joined"]);
    drop(client);
    follow.kill().expect("kill");
    follow.wait().expect("wait");
    let out = agent.cli(&["events"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("  joined         process "));
}
