//! A real agent asked for a diagnosis: over its socket, as xtop does, and by
//! the command line. Both must find the same.

use serde_json::Value;
use xsched_testkit::{Agent, agent_command};

use super::*;

/// What the agent itself finds, and what the command line finds beside it.
fn both(agent: &Agent, pid: u32) -> [Value; 2] {
    let request = format!("{{\"op\":\"diagnose\",\"pid\":{pid},\"duration_ms\":0}}");
    let of_socket = agent.ask_raw(&request);
    assert_eq!(of_socket["type"], "diagnosis", "{of_socket}");
    let run = |arguments: &[&str]| {
        let output = agent_command()
            .args(["diagnose", "--json"])
            .args(arguments)
            .env("XSCHED_RUN_DIR", &agent.run_dir.0)
            .output()
            .expect("it starts");
        String::from_utf8(output.stdout).expect("text")
    };
    let of_one = run(&["--duration", "0", "--pid", &pid.to_string()]);
    let of_one: Value = serde_json::from_str(&of_one).expect("a report");
    let all = run(&["--all"]);
    let mut all = all.lines().map(|line| {
        let report: Value = serde_json::from_str(line).expect("a report");
        report
    });
    let of_all = all.find(|report| report["pid"] == pid).expect("listed");
    assert_eq!(of_all["findings"], of_one["findings"]);
    assert_eq!(of_socket["limits"], of_one["limits"]);
    [of_socket, of_one].map(|mut report| report["findings"].take())
}

/// It is not the same as no agent.
#[test]
fn an_agent_that_says_nothing_is_said_to_say_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run_dir = xsched_common::run_dir::RunDir(dir.path().join("run"));
    std::fs::create_dir(&run_dir.0).expect("made");
    let socket = std::os::unix::net::UnixListener::bind(run_dir.api_socket()).expect("bound");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = socket.accept() {
            drop(stream);
        }
    });
    let process = fixtures().start("program", None, &[]);
    let limits = |run_dir: &std::path::Path| {
        let output = agent_command()
            .args(["diagnose", "--json", "--duration", "0", "--pid"])
            .arg(process.pid().to_string())
            .env("XSCHED_RUN_DIR", run_dir)
            .output()
            .expect("it starts");
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        report["limits"].to_string()
    };
    let said = "what the agent knows";
    assert!(limits(&run_dir.0).contains(said));
    assert!(!limits(dir.path()).contains(said), "no agent at all");
}

#[test]
fn the_agent_and_the_command_line_find_the_same() {
    let agent = Agent::start();
    let set = fixtures();
    let start = |shim: &str| {
        set.start(
            "program",
            Some(&set.text(shim)),
            &["./libnow99.so", "1", "1"],
        )
    };
    // A shim that only the agent's own ABI condemns, and a bypass.
    let [of_socket, of_command] = both(&agent, start("abi99/libxsched_shim.so").pid());
    assert_eq!(of_socket, of_command);
    let codes: Vec<&Value> = of_socket
        .as_array()
        .expect("a list")
        .iter()
        .map(|f| &f["code"])
        .collect();
    assert_eq!(codes, ["abi-mismatch", "symbol-version-bypass"]);
    let evidence = of_socket[0]["evidence"].to_string();
    assert!(
        evidence.contains("the running agent is version"),
        "{evidence}"
    );
    assert_eq!(of_socket[0]["severity"], "error");
    let twin = set.start("program", Some(&set.text("noted/libxsched_shim.so")), &[]);
    assert_eq!(
        both(&agent, twin.pid()),
        [Value::Array(vec![]), Value::Array(vec![])]
    );
}
