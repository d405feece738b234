//! The real binary with the agent behind a command instead of a socket. The
//! commands here are shell scripts that answer from files.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;
use xsched_common::api::{Response, Settled, Snapshot};
use xsched_common::units::{Class, Weight};
use xsched_testkit::pty::Pty;

const XTOP: &str = env!("CARGO_BIN_EXE_xtop");

/// Answers as an agent does: a watch every 0.1 s, a list and a change once.
const AGENT: &str = r#"
read -r request
case $request in
    *watch*) while cat snapshot; do sleep 0.1; done ;;
    *list*) cat snapshot ;;
    *set*) echo "$request" >>requests; cat settled ;;
esac
"#;

/// A directory in which scripts run, with the answers in it.
struct Answers {
    dir: TempDir,
}

impl Answers {
    fn new() -> Answers {
        let dir = tempfile::tempdir().expect("a directory");
        let snapshot: Snapshot =
            serde_json::from_str(include_str!("data/snapshot.json")).expect("a snapshot");
        let settled = Settled {
            pid: 977,
            class: Class::High,
            weight: Weight::default(),
            slo_p99_ns: None,
            hold: None,
            joined: true,
            ..Settled::default()
        };
        let answers = Answers { dir };
        answers.write("snapshot", &line(&Response::Snapshot(Box::new(snapshot))));
        answers.write("settled", &line(&Response::Settled(settled)));
        answers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("writes");
    }

    /// A command that runs `script` here.
    fn command(&self, script: &str) -> String {
        self.write("script", script);
        format!("cd {} && . ./script", self.dir.path().display())
    }
}

fn line(response: &Response) -> String {
    serde_json::to_string(response).expect("serialises") + "\n"
}

fn once(arguments: &[&str], path: Option<&Path>) -> Output {
    let mut xtop = Command::new(XTOP);
    if let Some(path) = path {
        let rest = std::env::var("PATH").unwrap_or_default();
        xtop.env("PATH", format!("{}:{rest}", path.display()));
    }
    xtop.args(["--once", "--format", "csv"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("runs")
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(error.trim_end().lines().count(), 1, "one line: {error}");
    error
}

#[test]
fn a_command_leads_to_the_agent() {
    let answers = Answers::new();
    let output = once(&["--command", &answers.command(AGENT)], None);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 4);
}

#[test]
fn ssh_is_called_so_that_it_asks_for_nothing() {
    let answers = Answers::new();
    let directory = answers.dir.path().display();
    let ssh = format!("#!/bin/sh\ncd {directory}\necho \"$@\" >arguments\n{AGENT}");
    answers.write("ssh", &ssh);
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(answers.path("ssh"), mode).expect("executable");
    let output = once(&["--ssh", "gpu7"], Some(answers.dir.path()));
    assert!(output.status.success(), "{output:?}");
    let arguments = std::fs::read_to_string(answers.path("arguments")).expect("written");
    assert!(arguments.contains("BatchMode=yes"), "{arguments}");
    assert!(arguments.ends_with("-- gpu7 xsched-agent proxy\n"));
}

#[test]
fn the_end_of_a_command_says_what_to_do() {
    let answers = Answers::new();
    let refused = answers.command("echo 'Permission denied (publickey).' >&2\nexit 255");
    let message = error(&once(&["--command", &refused], None));
    assert!(message.contains("status 255 (Permission denied (publickey).)"));
    assert!(message.contains("try it in a shell"));
    let missing = error(&once(&["--command", "xsched-agent-nowhere proxy"], None));
    assert!(missing.contains("found no such program") && missing.contains("install"));
}

/// The first connection brings one snapshot and breaks; the next ones last.
#[test]
fn a_broken_connection_is_made_again_and_changes_go_the_same_way() {
    let answers = Answers::new();
    let breaking = format!(
        "if mkdir first 2>/dev/null; then read -r request; cat snapshot; \
         echo 'Connection reset' >&2; exit 255; fi\n{AGENT}"
    );
    let command = answers.command(&breaking);
    let arguments = ["--fresh", "--command", &command, "-d", "0.1"].map(OsStr::new);
    let mut xtop = Pty::start(XTOP, &arguments, (100, 24));
    xtop.wait_for("the loss", |s| s.contains("(Connection reset)"));
    xtop.wait_for("data again", |s| s.contains("● agent 0.1.0"));
    xtop.press("c2\r");
    xtop.wait_for("the change", |s| s.contains("pid 977 is high"));
    let requests = std::fs::read_to_string(answers.path("requests")).expect("written");
    assert_eq!(
        requests,
        "{\"op\":\"set\",\"pid\":977,\"class\":\"high\"}\n"
    );
    assert!(xtop.is_taken());
    xtop.signal(Signal::TERM);
    assert_eq!(xtop.wait().code(), Some(143));
    xtop.assert_restored();
}
