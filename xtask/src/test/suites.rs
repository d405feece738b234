//! The test binaries, run so that none takes another's processors.
//!
//! Most tests wait more than they compute, for real programs and real time, so
//! that they take minutes and little of the processors. What only computes
//! runs meanwhile at the kernel's idle priority, which takes from the others
//! nothing that they would use.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Args, watched};
use crate::build;
use crate::left_out::Reader;

/// Suites that compute, and ask for no time.
const COMPUTING: [&str; 10] = [
    "diagnosis",
    "dist",
    "elf_files",
    "memory",
    "picture",
    "protocols",
    "scenarios",
    "watch",
    "xsched_common",
    "xsched_host",
];

/// A test binary.
#[derive(Debug, PartialEq, Eq)]
pub struct Suite {
    /// The target's name.
    name: String,
    /// The package's folder, in which it runs.
    dir: PathBuf,
    executable: PathBuf,
}

/// Builds all of the workspace's, and says which there are.
pub fn list() -> anyhow::Result<Vec<Suite>> {
    let mut cargo = build::cargo();
    cargo.args(["test", "--workspace", "--no-run", "--message-format=json"]);
    let output = cargo.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "cargo test --no-run failed");
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(suite).collect())
}

/// The test binary of a line of cargo's messages.
fn suite(line: &str) -> Option<Suite> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["profile"]["test"] == true;
    let text = |value: &Value| Some(PathBuf::from(value.as_str()?));
    Some(Suite {
        executable: text(&message["executable"]).filter(|_| is_test)?,
        dir: text(&message["manifest_path"])?.parent()?.to_owned(),
        name: message["target"]["name"].as_str()?.to_owned(),
    })
}

/// Runs them all; the names of those that failed.
pub fn run(suites: &[Suite], args: &Args, left_out: &mut Reader) -> anyhow::Result<Vec<String>> {
    let (computing, waiting): (Vec<_>, Vec<_>) = suites
        .iter()
        .partition(|suite| COMPUTING.contains(&suite.name.as_str()));
    let mut idle = VecDeque::new();
    for suite in computing {
        idle.push_back((
            suite.name.clone(),
            suite.command(&["chrt", "--idle", "0"], args),
        ));
    }
    if args.lints {
        let mut clippy = Command::new("chrt");
        clippy.args(["--idle", "0", "cargo", "clippy", "--quiet", "--locked"]);
        clippy.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
        clippy.current_dir(build::root());
        idle.push_back(("clippy".to_owned(), clippy));
    }
    // Their output comes when the others have ended, each in one piece.
    let beside = std::thread::spawn(move || {
        let mut ended = Vec::new();
        for (name, mut command) in idle {
            let began = Instant::now();
            ended.push((name, command.output(), began.elapsed()));
        }
        ended
    });
    let mut failed = Vec::new();
    for suite in waiting {
        eprintln!("== {}", suite.title());
        let began = Instant::now();
        let status = watched(&mut suite.command(&[], args), left_out)?;
        eprintln!("== {} took {:.0?}", suite.title(), began.elapsed());
        if !status.success() {
            failed.push(suite.title());
        }
    }
    for (name, output, took) in beside
        .join()
        .map_err(|_| anyhow::anyhow!("a runner died"))?
    {
        eprintln!("== {name}, at idle priority");
        let output = output.with_context(|| format!("cannot start {name}"))?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if left_out.take(line) {
                println!("{line}");
            }
        }
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        eprintln!("== {name} took {took:.0?}");
        if !output.status.success() {
            failed.push(name);
        }
    }
    Ok(failed)
}

impl Suite {
    fn title(&self) -> String {
        let package = self.dir.file_name().unwrap_or_default();
        format!("{}: {}", package.display(), self.name)
    }

    /// As cargo would run it, behind a command that runs others.
    fn command(&self, before: &[&str], args: &Args) -> Command {
        let mut words = before
            .iter()
            .map(Into::into)
            .chain([self.executable.clone()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .arg("--show-output")
            .current_dir(&self.dir)
            .env("CARGO_MANIFEST_DIR", &self.dir);
        args.environment(&mut command);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_name_the_test_binaries() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/p/a/Cargo.toml",
            "target":{"kind":["test"],"name":"faults"},"profile":{"test":true},"executable":"/t/faults-1"}"#;
        let expected = Suite {
            name: "faults".into(),
            dir: "/p/a".into(),
            executable: "/t/faults-1".into(),
        };
        assert_eq!(suite(line), Some(expected));
        assert_eq!(
            suite(&line.replace("\"test\":true", "\"test\":false")),
            None
        );
        assert_eq!(suite(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
