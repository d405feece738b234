//! A child that is talked to by lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The child; killed when it goes out of scope.
pub struct Dialogue {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    name: String,
    /// Breaks with this, and ends the wait for a limit.
    limit: Option<Sender<()>>,
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
            limit: None,
        })
    }

    /// Kills it after so long: an answer that never comes is an error then, and no wait without end.
    pub fn limit(&mut self, time: Duration) -> anyhow::Result<()> {
        let child = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let (done, waits) = channel::<()>();
        self.limit = Some(done);
        std::thread::spawn(move || {
            if waits.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                // It may have ended by itself.
                let _ = pidfd_send_signal(&child, Signal::KILL);
            }
        });
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_never_comes_is_an_error_after_the_limit() {
        let mut child = Dialogue::start(Command::new("sleep").arg("60"), "it").expect("started");
        child.limit(Duration::from_millis(50)).expect("limited");
        let error = child.line().expect_err("it says nothing");
        assert!(error.to_string().contains("it ended early"), "{error}");
    }
}
