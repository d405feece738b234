//! xtop against a real agent with real processes: what it shows, and a change
//! by key. Needs the built `xtop` beside the agent.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use serde_json::Value;
use xsched_testkit::machine::Machine;
use xsched_testkit::pty::Pty;
use xsched_testkit::{Agent, agent_command, built};

/// The row of `pid` in what a command prints as a snapshot.
fn row_in(command: &mut Command, pid: u32) -> Value {
    let output = command.stdin(Stdio::null()).output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    let snapshot: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = snapshot["processes"].as_array().expect("processes");
    let row = rows.iter().find(|row| row["pid"] == pid);
    row.unwrap_or_else(|| panic!("no pid {pid} in {snapshot}"))
        .clone()
}

#[test]
fn xtop_shows_a_joined_process_and_changes_its_class() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("xsched.toml");
    std::fs::write(&file, "[sharing]\nmode = \"slo\"\n").expect("writes");
    let file = file.to_str().expect("text").to_owned();
    let machine = Machine::with(Agent::start_in_with(dir, &["--no-bpf", "--config", &file]));
    let mut service = agent_command();
    service
        .args(["run", "--class", "high", "--slo", "30ms", "--"])
        .arg(built("hipsim-service"));
    let service = machine.spawn(&mut service);
    let pid = service.pid();
    machine.row("bursts", pid, |row| {
        row["burst"]["count"].as_u64() > Some(0)
    });

    let socket = machine.agent.run_dir.api_socket();
    let proxy = format!("{} proxy", built("xsched-agent").display());
    let ways = [
        [OsStr::new("--socket"), socket.as_os_str()],
        [OsStr::new("--command"), OsStr::new(&proxy)],
    ];
    for way in ways {
        let mut once = Command::new(built("xtop"));
        once.args(way).args(["--once", "--format", "json"]);
        let row = row_in(machine.at_home(&mut once), pid);
        assert_eq!(
            (&row["shim"], &row["class"]),
            (&"joined".into(), &"high".into())
        );
        assert_eq!(row["slo"]["target_p99_ns"], 30_000_000, "{row}");
        let states = ["unknown", "met", "adapting", "impossible"];
        let state = row["slo"]["state"].as_str().expect("a state");
        assert!(states.contains(&state), "{row}");
        assert_ne!(row["slo"]["reason"], "", "{row}");
        let busy = row["busy_ratio"].as_f64().expect("a busy ratio");
        assert!(busy > 0.0 && busy <= 1.0, "{row}");
    }

    let arguments = [ways[0][0], ways[0][1], OsStr::new("-d"), OsStr::new("0.2")];
    let mut xtop = Pty::start(built("xtop"), &arguments, (100, 24));
    xtop.wait_for("the service", |s| s.contains(&pid.to_string()));
    xtop.press("c4\r");
    xtop.wait_for("the change", |s| s.contains(&format!("pid {pid} is low")));
    let mut ps = agent_command();
    ps.args(["ps", "--json"]);
    machine.at_home(&mut ps);
    // The agent answers before its next picture is drawn.
    xsched_testkit::wait_for("the class in ps", || row_in(&mut ps, pid)["class"] == "low");
    xtop.press("q");
    assert!(xtop.wait().success());
}

#[test]
fn a_target_of_a_process_without_the_shim_says_that_nobody_follows_it() {
    if xsched_testkit::no_bpf() {
        return;
    }
    let machine = Machine::observing();
    let native = machine.native("hipsim-service", &[], &[]);
    machine.row("the process", native.pid(), |_| true);
    let set = format!(
        r#"{{"op":"set","pid":{},"slo_p99_ns":30000000}}"#,
        native.pid()
    );
    assert_eq!(machine.agent.ask_raw(&set)["type"], "settled");
    let row = machine.row("a target", native.pid(), |row| !row["slo"].is_null());
    assert_eq!(row["slo"]["state"], "unknown");
    assert_eq!(row["slo"]["reason"], "it has not joined");
}
