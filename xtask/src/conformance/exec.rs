//! One run of a program under a watchdog.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal};

use crate::child::ends_within;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// By the watchdog.
    Hung,
}

/// What a run left.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its process.
    pub pid: u32,
    /// Its standard output.
    pub transcript: String,
    /// Its standard error, for people.
    pub errors: String,
    /// How it ended.
    pub end: End,
}

/// Runs a program and all its descendants in a process group of their own, which is killed in the end.
///
/// The output goes to files: a pipe would be held open by descendants that outlive the program.
///
/// # Errors
/// The program cannot be started.
pub fn run(command: &mut Command, watchdog: Duration) -> anyhow::Result<Ran> {
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let group = Pid::from_child(&child);
    let end = ends_within(&mut child, watchdog)?.map_or(End::Hung, end_of);
    let stacks = if end == End::Hung {
        stacks(child.id())
    } else {
        String::new()
    };
    // Fails when no descendant is left, which is the rule.
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    if end == End::Hung {
        child.wait()?;
    }
    Ok(Ran {
        pid: child.id(),
        transcript: text(&mut out)?,
        errors: text(&mut err)? + &stacks,
        end,
    })
}

/// Where the threads of a hanging program are, if there is a gdb to ask. A hang may not come again for hours.
fn stacks(pid: u32) -> String {
    let output = Command::new("timeout")
        .args(["-k", "1", "20", "gdb", "-batch", "-p", &pid.to_string()])
        .args(["-ex", "thread apply all backtrace 16"])
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("Thread ") || line.starts_with('#'));
    lines.fold(String::from("\n"), |all, line| all + line + "\n")
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Killed(signal.unwrap_or_default()),
    }
}

fn text(file: &mut File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str, watchdog: u64) -> Ran {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(&mut command, Duration::from_millis(watchdog)).expect("sh starts")
    }

    #[test]
    fn output_and_status_are_kept() {
        let ran = shell("echo out; echo err >&2; exit 3", 10_000);
        assert_eq!(
            (ran.end, ran.transcript.as_str(), ran.errors.as_str()),
            (End::Exited(3), "out\n", "err\n")
        );
        assert_eq!(shell("kill -SEGV $$", 10_000).end, End::Killed(11));
    }

    #[test]
    fn the_watchdog_ends_the_whole_group() {
        let begun = Instant::now();
        let ran = shell("sleep 60 & echo $!; sleep 60", 300);
        assert_eq!(ran.end, End::Hung);
        assert!(begun.elapsed() < Duration::from_secs(20));
        let descendant = format!("/proc/{}/cmdline", ran.transcript.trim());
        let gone = || std::fs::read(&descendant).map_or(true, |line| !line.starts_with(b"sleep"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < deadline, "the descendant still runs");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
