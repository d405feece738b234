//! Driving `programs/puppet.c`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{Guard, Preload, WATCHDOG, program};

/// A running puppet; killed when dropped.
pub struct Puppet {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    _guard: Guard,
}

/// The answer to one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the last HIP call returned.
    pub error: i32,
    /// How long the command took.
    pub took: Duration,
}

impl Puppet {
    /// Starts one under the shim.
    pub fn start(run_dir: &Path) -> Puppet {
        Puppet::start_with(Preload::Shim, run_dir, &[])
    }

    /// Starts one with more environment variables.
    pub fn start_with(preload: Preload, run_dir: &Path, env: &[(&str, &str)]) -> Puppet {
        let mut command = program("puppet", preload, run_dir);
        command.envs(env.iter().copied());
        Puppet::spawn(&mut command)
    }

    /// Starts one by a command of one's own that ends in running it.
    pub fn spawn(command: &mut Command) -> Puppet {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the puppet starts");
        let guard = Guard::watch(&child);
        let input = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Puppet {
            child,
            input,
            answers,
            _guard: guard,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command without waiting for the answer.
    pub fn begin(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("the puppet lives");
    }

    /// Waits for the next answer.
    pub fn end(&mut self) -> Answer {
        let line = self.line();
        let (error, took) = line.split_once(' ').expect("two numbers");
        Answer {
            error: error.parse().expect("an error code"),
            took: Duration::from_micros(took.parse().expect("microseconds")),
        }
    }

    /// Whether an answer has come already.
    pub fn answers_within(&mut self, time: Duration) -> Option<String> {
        self.answers.recv_timeout(time).ok()
    }

    fn line(&mut self) -> String {
        self.answers.recv_timeout(WATCHDOG).expect("an answer")
    }

    /// Sends a command and waits for the answer.
    pub fn ask(&mut self, command: &str) -> Answer {
        self.begin(command);
        self.end()
    }

    /// The same for a command whose calls must all succeed.
    pub fn run(&mut self, command: &str) -> Duration {
        let answer = self.ask(command);
        assert_eq!(answer.error, 0, "{command}");
        answer.took
    }

    /// One of the fake runtime's counters.
    pub fn stat(&mut self, name: &str) -> u64 {
        self.begin("stats");
        let line = self.line();
        line.split_whitespace()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {line}"))
    }

    /// Ends it and checks that it ends well.
    pub fn quit(mut self) {
        self.begin("quit");
        super::succeeded(self.child.wait().expect("the puppet ends"));
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
