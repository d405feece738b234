//! What was set is taken back, and a change says what it reaches.

use std::process::{Command, Stdio};

use serde_json::Value;
use xsched_common::units::Class;

use crate::fixture::{Configured, Idle};

const RULE: &str = "[[rule]]\nname = \"mine\"\nmatch = { arg = \"77\" }\nclass = \"high\"\n";

#[test]
fn what_was_set_by_hand_is_taken_back() {
    let configured = Configured::start(RULE);
    let process = Idle::start("77");
    let pid = process.pid().to_string();
    configured.wait_for_class(process.pid(), Class::High);
    let cli = |arguments: &[&str]| {
        let out = configured.agent.cli(arguments);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{arguments:?}: {out:?}");
        said
    };
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&cli(&[arguments, &["--json"]].concat())).expect("JSON")
    };
    let set = json(&["set", "--pid", &pid, "--class", "low", "--weight", "7"]);
    assert_eq!((&set["class"], &set["weight"]), (&"low".into(), &7.into()));

    let class = json(&["set", "--pid", &pid, "--class", "default"]);
    assert_eq!(
        (&class["class"], &class["weight"]),
        (&"high".into(), &7.into())
    );
    let both = json(&[
        "set", "--pid", &pid, "--weight", "default", "--class", "low",
    ]);
    assert_eq!(
        (&both["class"], &both["weight"]),
        (&"low".into(), &100.into())
    );
    let unset = json(&["unset", "--pid", &pid]);
    assert_eq!(
        (&unset["class"], &unset["weight"]),
        (&"high".into(), &100.into())
    );
    let again = cli(&["unset", "--pid", &pid]);
    assert!(
        again.contains("class high"),
        "nothing to take back: {again}"
    );
    let gone = configured.agent.cli(&["unset", "--pid", "4194305"]);
    assert_eq!(gone.status.code(), Some(2));

    // It is forgotten by the file as well.
    let kept = std::fs::read_to_string(configured.agent.run_dir.0.join("terms.json"));
    let kept: Value = serde_json::from_str(&kept.expect("kept")).expect("JSON");
    assert_eq!(kept["given"], Value::Array(Vec::new()));

    let line = format!(r#"{{"op":"unset","pid":{pid},"terms":["colour"]}}"#);
    assert_eq!(configured.ask_any(&line)["code"], "malformed");
}

/// What `run` was told is no change of mind, and stays.
#[test]
fn what_a_process_was_started_with_stays() {
    let configured = Configured::start("");
    let process = Idle::start("1");
    let pid = process.pid();
    let ask = |line: &str| configured.ask(line)["class"].clone();
    ask(&format!(
        r#"{{"op":"set","pid":{pid},"class":"low","way":"run"}}"#
    ));
    assert_eq!(
        ask(&format!(r#"{{"op":"set","pid":{pid},"class":"high"}}"#)),
        "high"
    );
    assert_eq!(ask(&format!(r#"{{"op":"unset","pid":{pid}}}"#)), "low");
}

#[test]
fn a_change_says_how_many_inherit_it() {
    let configured = Configured::start("");
    let mut shell = Command::new("sh")
        .args(["-c", "sleep 600 & sleep 600 & echo; wait"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut line = [0];
    std::io::Read::read_exact(shell.stdout.as_mut().expect("piped"), &mut line).expect("a line");
    let pid = shell.id().to_string();
    let out = configured
        .agent
        .cli(&["set", "--pid", &pid, "--class", "low"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    for child in children
        .as_deref()
        .unwrap_or_default()
        .split_ascii_whitespace()
    {
        let child = rustix::process::Pid::from_raw(child.parse().expect("a pid"));
        let _ = rustix::process::kill_process(child.expect("a pid"), rustix::process::Signal::KILL);
    }
    shell.wait().expect("ends");
    if children.is_err() {
        eprintln!("LEFT OUT: this kernel does not tell of children");
        return;
    }
    assert!(
        said.contains("2 processes that descend from it inherit this"),
        "{said}"
    );
}
