//! The file: checked before it counts, read again while the agent runs.

use std::process::Command;

use serde_json::Value;
use xsched_common::units::Class;
use xsched_testkit::{Agent, FakeClient, agent_command, wait_for};

use crate::fixture::{Configured, Idle, step};

#[test]
fn a_joined_process_follows_the_file_and_a_bad_one_changes_nothing() {
    let rule = |class: &str| {
        format!("[[rule]]\nname = \"me\"\nmatch = {{ exe = \"terms-*\" }}\nclass = \"{class}\"\n")
    };
    let configured = Configured::start(&rule("high"));
    let client = FakeClient::join(&configured.agent.run_dir);
    let class = || {
        client
            .control()
            .class
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    wait_for("the rule applies", || class() == Class::High as u32);

    configured.write(&rule("low"));
    configured.hang_up();
    wait_for("the new file applies", || class() == Class::Low as u32);

    configured.write(&rule("lowest"));
    configured.hang_up();
    let events = || configured.ask(r#"{"op":"list"}"#)["events"].clone();
    wait_for("the bad file is noted", || {
        let events = events();
        let events = events.as_array().expect("events");
        events.iter().any(|event| {
            let text = event["text"].as_str().expect("text");
            event["kind"] == "configuration" && text.contains("xsched.toml:4:9: error: ")
        })
    });
    assert_eq!(class(), Class::Low as u32);
    let reload = configured.agent.cli(&["config", "reload"]);
    assert_eq!(reload.status.code(), Some(2));
    let message = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert!(message.contains("xsched.toml:4:9: error: "), "{message}");

    configured.write(&rule("realtime"));
    let reload = configured.agent.cli(&["config", "reload", "--json"]);
    assert!(reload.status.success());
    let reloaded: Value = serde_json::from_slice(&reload.stdout).expect("JSON");
    assert_eq!(
        (&reloaded["rules"], &reloaded["changed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        class(),
        Class::Realtime as u32,
        "in force when the answer comes"
    );
    let rows = || configured.ask(r#"{"op":"list"}"#)["processes"].clone();
    wait_for("the snapshot says so", || {
        rows()[0]["terms_from"] == "rule \"me\"" && rows()[0]["class"] == "realtime"
    });
}

#[test]
fn environment_and_reload_reach_modes_and_passthrough() {
    let configured = Configured::start(
        "[[rule]]\nname = \"gold\"\nmatch = { env = { TIER = \"gold*\" } }\nweight = 500\n",
    );
    let gold = Idle::spawn(Command::new("sleep").arg("600").env("TIER", "golden"));
    let lead = Idle::spawn(Command::new("sleep").arg("600").env("TIER", "lead"));
    wait_for("it is gold", || {
        configured.explain(gold.pid())["settled"]["weight"] == 500
    });
    let explained = configured.explain(lead.pid());
    assert_eq!(explained["settled"]["weight"], 100);
    assert!(
        !explained.to_string().contains("lead"),
        "environments are not told: {explained}"
    );

    let client = FakeClient::join(&configured.agent.run_dir);
    let passes = || client.control().passthrough.passes(b"librocfft.so.0");
    assert!(!passes());
    configured.write("[passthrough]\nlibraries = [\"librocfft\"]\n");
    configured.ask(r#"{"op":"reload"}"#);
    wait_for("the client is told", passes);
    // The client's own device.
    let mode = configured
        .agent
        .cli(&["mode", "--device", "0000:c1:00.0", "off", "--json"]);
    let set: Value = serde_json::from_slice(&mode.stdout).expect("JSON");
    assert_eq!(
        (&set["device"], &set["mode"]),
        (&"0000:c1:00.0".into(), &"off".into())
    );
    let nowhere = configured
        .agent
        .cli(&["mode", "--device", "0000:fe:1f.7", "off"]);
    assert_eq!(nowhere.status.code(), Some(2));
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    let expected = "there is no device 0000:fe:1f.7: joined processes use 0000:c1:00.0";
    assert!(said.contains(expected), "{said}");
    let bad = configured.ask_any(r#"{"op":"set_mode","device":"device 0","mode":"off"}"#);
    assert_eq!(bad["code"], "bad_value");
}

/// A rule's own list is in place of the file's, for its processes and their
/// children only.
#[test]
fn a_rule_s_passthrough_is_over_the_file_s() {
    let common = "[passthrough]\nlibraries = [\"librocfft\"]\n";
    let own = "[[rule]]\nname = \"me\"\nmatch = { exe = \"terms-*\" }\n\
               passthrough = { libraries = [\"librocrand\"] }\n";
    let configured = Configured::start(&format!("{common}{own}"));
    let client = FakeClient::join(&configured.agent.run_dir);
    let passes = || {
        let list = &client.control().passthrough;
        ["librocfft.so.0", "librocrand.so.1"].map(|library| list.passes(library.as_bytes()))
    };
    wait_for("its own list", || passes() == [false, true]);
    let me = std::process::id();
    let explained = configured.explain(me);
    let because = &step(&explained, "passthrough: rule \"me\"")["because"];
    assert_eq!(because, "libraries librocrand pass");
    let child = Idle::start("1");
    let inherited = format!("passthrough: inherited from {me} (rule \"me\")");
    let explained = configured.explain(child.pid());
    assert_eq!(step(&explained, &inherited)["applied"], true);

    // The file's list changes, and its own does not.
    configured.write(&format!("[passthrough]\nlibraries = []\n{own}"));
    configured.ask(r#"{"op":"reload"}"#);
    assert_eq!(passes(), [false, true]);
    configured.write(common);
    configured.ask(r#"{"op":"reload"}"#);
    assert_eq!(passes(), [true, false], "the file's again");
}

#[test]
fn the_file_is_checked_before_it_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("xsched.toml");
    let check = |text: &str, arguments: &[&str]| {
        std::fs::write(&file, text).expect("writes");
        let path = file.to_str().expect("text");
        let out = agent_command()
            .args(["config", "check", path])
            .args(arguments)
            .output()
            .expect("runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
        )
    };
    let (code, said) = check(
        "[[rule]]\nname = \"a\"\nmatch = { user = 0 }\nclas = \"low\"\n",
        &[],
    );
    assert_eq!(code, Some(1));
    assert!(
        said.contains("xsched.toml:4:1: error: unknown key `clas`: did you mean `class`?"),
        "{said}"
    );
    let (code, said) = check("[sharing]\nmode = 1\n", &["--json"]);
    assert_eq!(code, Some(1));
    let report: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["ok"], false);
    assert_eq!(
        (
            &report["problems"][0]["line"],
            &report["problems"][0]["column"]
        ),
        (&2.into(), &8.into())
    );
    let example = agent_command()
        .args(["config", "example"])
        .output()
        .expect("runs");
    let (code, said) = check(&String::from_utf8_lossy(&example.stdout), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("fine, 3 rules\n"), "{said}");
    let missing = agent_command()
        .args(["config", "check", "/no/such/file"])
        .output()
        .expect("runs");
    assert_eq!(missing.status.code(), Some(2));

    std::fs::write(&file, "mode = 1\n").expect("writes");
    let refused = agent_command()
        .args(["--no-bpf", "--config"])
        .arg(&file)
        .env("XSCHED_RUN_DIR", dir.path().join("run"))
        .output()
        .expect("runs");
    assert_eq!(
        refused.status.code(),
        Some(2),
        "an agent does not start on a bad file"
    );
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("xsched.toml:1:1: error: unknown key `mode`"),
        "{said}"
    );
}

/// What `[agent]` says holds from the start; a reload says what waits for one.
#[test]
fn the_agent_s_own_keys_hold_from_its_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("xsched.toml");
    std::fs::write(&file, "[agent]\nmetrics = \"127.0.0.1:0\"\n").expect("writes");
    let path = file.to_str().expect("text");
    let (agent, log) = Agent::start_logging(&["--config", path]);
    let logged = |what: &str| std::fs::read_to_string(&log).expect("a log").contains(what);
    wait_for("metrics are served", || {
        logged("metrics at http://127.0.0.1:")
    });

    std::fs::write(&file, "[agent]\nprobe_returns = true\n").expect("writes");
    let reload = agent.cli(&["config", "reload", "--json"]);
    let reloaded: Value = serde_json::from_slice(&reload.stdout).expect("JSON");
    assert_eq!(
        reloaded["needs_restart"],
        serde_json::json!(["probe_returns", "metrics"])
    );
    let reload = agent.cli(&["config", "reload"]);
    let said = String::from_utf8_lossy(&reload.stderr);
    let next = "[agent] probe_returns, metrics: in force from the agent's next start";
    assert!(said.contains(next), "{said}");

    std::fs::write(&file, "[agent]\nmetrics = \"127.0.0.1:0\"\n").expect("writes");
    let (agent, log) = Agent::start_logging(&["--config", path, "--metrics=off"]);
    let logged = || std::fs::read_to_string(&log).expect("a log");
    wait_for("it serves", || logged().contains("serving "));
    assert!(
        !logged().contains("metrics at"),
        "the option is over the file"
    );
    let reload = agent.cli(&["config", "reload", "--json"]);
    let reloaded: Value = serde_json::from_slice(&reload.stdout).expect("JSON");
    assert_eq!(reloaded["needs_restart"], serde_json::json!([]));
}
