//! What is given by hand outlives the agent, in its directory.

use std::path::Path;
use std::process::{Command, Stdio};

use xsched_common::units::Class;
use xsched_testkit::{Agent, FakeClient, wait_for};

use crate::fixture::{Configured, Orphan, applied, start_in, step};

#[test]
fn what_was_given_by_hand_survives_the_agent_and_the_giver() {
    let configured = Configured::start("");
    let Configured { agent, file } = configured;
    // A launcher that is gone when the agent comes back.
    let mut launcher = Command::new("sh")
        .args(["-c", "sleep 600 & echo $!; wait"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let orphan = {
        use std::io::BufRead as _;
        let mut line = String::new();
        let mut out = std::io::BufReader::new(launcher.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("reads");
        Orphan(line.trim().parse().expect("a pid"))
    };
    let me = std::process::id();
    let ancestor = launcher.id();
    for line in [
        format!(r#"{{"op":"set","pid":{me},"class":"high","weight":7}}"#),
        format!(r#"{{"op":"set","pid":{ancestor},"class":"low","way":"run"}}"#),
    ] {
        assert_eq!(agent.ask_raw(&line)["type"], "settled");
    }
    let explain =
        |agent: &Agent| agent.ask_raw(&format!(r#"{{"op":"explain","pid":{}}}"#, orphan.0));
    let inherited = format!("inherited from {ancestor} (run)");
    assert_eq!(applied(&explain(&agent)), inherited);
    let _client = FakeClient::join(&agent.run_dir);
    let dir = agent.kill();
    launcher.kill().expect("kill");
    launcher.wait().expect("wait");

    let agent = start_in(dir, &file);
    let again = FakeClient::join(&agent.run_dir);
    let class = || {
        again
            .control()
            .class
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    wait_for("it has its class again", || class() == Class::High as u32);
    assert_eq!(
        applied(&explain(&agent)),
        inherited,
        "from the dead, over a restart"
    );
    let explained = agent.ask_raw(&format!(r#"{{"op":"explain","pid":{me}}}"#));
    assert_eq!(explained["settled"]["weight"], 7);
    assert!(
        step(&explained, "set by hand")["because"]
            .to_string()
            .contains("uid 0")
    );
    let kept = agent.run_dir.0.join("terms.json");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&kept).expect("kept"));
    assert_eq!(mode & 0o777, 0o600);

    // Damaged, the file costs what it kept and nothing else.
    let dir = agent.kill();
    std::fs::write(&kept, b"{\"version\":1,\"boot_id\":[").expect("writes");
    let agent = start_in(dir, &file);
    let client = FakeClient::join(&agent.run_dir);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let class = client
        .control()
        .class
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(class, Class::Normal as u32);
}

/// As docs/POLICIES.md says.
#[test]
fn the_directory_and_its_files_have_the_documented_modes() {
    let configured = Configured::start("");
    let me = std::process::id();
    configured.ask(&format!(r#"{{"op":"set","pid":{me},"class":"low"}}"#));
    let directory = &configured.agent.run_dir.0;
    let mode = |path: &Path| {
        let metadata = std::fs::symlink_metadata(path).expect("it is there");
        std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777
    };
    assert_eq!(mode(directory), 0o755);
    let mut found: Vec<(String, u32)> = std::fs::read_dir(directory)
        .expect("lists")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, mode(&path))
        })
        .collect();
    found.sort();
    let expected = [
        ("agent.lock", 0o644),
        ("agent.sock", 0o666),
        ("api.sock", 0o666),
        ("terms.json", 0o600),
    ];
    let expected: Vec<(String, u32)> = expected.map(|(name, mode)| (name.into(), mode)).into();
    assert_eq!(found, expected);
}
