//! The control plane: doorbells, many clients, an agent that is gone.

mod crowd;
mod doorbell;
mod failopen;
pub mod puppet;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::bench::report::Metric;
use crate::bench::workbench::Workbench;
use crate::build::Built;

/// Metrics that need the real agent and its clients.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    let bench = Workbench::new(built)?;
    let mut metrics = doorbell::measure(&bench)?;
    metrics.extend(crowd::measure(&bench)?);
    metrics.extend(failopen::measure(&bench)?);
    Ok(metrics)
}

/// One request to the agent of `run_dir`.
fn ask(run_dir: &Path, request: &str) -> anyhow::Result<Value> {
    let mut stream = UnixStream::connect(run_dir.join("api.sock")).context("the agent's API")?;
    writeln!(stream, "{request}")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn set_class(run_dir: &Path, pid: u32, class: &str) -> anyhow::Result<()> {
    let request = format!(r#"{{"op":"set","pid":{pid},"class":"{class}"}}"#);
    let answer = ask(run_dir, &request)?;
    ensure!(answer["type"] == "settled", "{answer}");
    Ok(())
}

/// A child that is talked to by lines; killed at the end.
struct Talking {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Talking {
    fn start(command: &mut Command) -> anyhow::Result<Talking> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let to = child.stdin.take().context("no stdin")?;
        let from = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Talking { child, to, from })
    }

    /// This program as a puppet that joins the agent of `bench`.
    fn puppet(bench: &Workbench<'_>, arguments: &[&str]) -> anyhow::Result<Talking> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("puppet")
            .args(arguments)
            .env("XSCHED_RUN_DIR", bench.run_dir());
        Talking::start(&mut command)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn say(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.to, "{line}")?)
    }

    fn hear(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.from.read_line(&mut line)? > 0, "a puppet has died");
        Ok(line.trim().to_owned())
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
