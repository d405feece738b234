//! A child that is talked to by lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};

/// The child; killed when it goes out of scope.
pub struct Dialogue {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    name: String,
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Dialogue {
    /// Starts it; errors call it `name`.
    pub fn start(command: &mut Command, name: &str) -> anyhow::Result<Dialogue> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let output = child.stdout.take().context("its output is piped")?;
        Ok(Dialogue {
            input: child.stdin.take(),
            output: BufReader::new(output),
            child,
            name: name.to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its next line.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("{} ended early: {}", self.name, self.child.wait()?);
        }
        Ok(line.trim().to_owned())
    }

    /// Says a line to it; the answer, if there is one, is its next line.
    pub fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("its input is open")?;
        writeln!(input, "{command}").with_context(|| format!("{} has ended", self.name))
    }

    /// Says a line to it and waits for its answer.
    pub fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        self.tell(command)?;
        self.line()
    }

    /// The number that answers a command.
    pub fn number(&mut self, command: &str) -> anyhow::Result<f64> {
        let answer = self.ask(command)?;
        answer
            .parse()
            .with_context(|| format!("{} answered {answer:?} to {command:?}", self.name))
    }

    /// Ends its input; its last line.
    pub fn finish(mut self) -> anyhow::Result<String> {
        drop(self.input.take());
        self.line()
    }
}
