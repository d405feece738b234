//! Driving `programs/scripted program.c`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use xsched_common::platform::Platform;

use super::dialogue::Dialogue;
use super::{Preload, program, program_on};

/// A running scripted program; killed when dropped.
pub struct ScriptedProgram(Dialogue);

/// The answer to one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the last HIP call returned.
    pub error: i32,
    /// How long the command took.
    pub took: Duration,
}

impl ScriptedProgram {
    /// Starts one under the shim.
    pub fn start(run_dir: &Path) -> ScriptedProgram {
        ScriptedProgram::start_with(Preload::Shim, run_dir, &[])
    }

    /// The same on a platform.
    pub fn start_on(platform: Platform, run_dir: &Path) -> ScriptedProgram {
        let mut command = program_on(platform, "scripted", Preload::Shim, run_dir);
        ScriptedProgram::spawn(&mut command)
    }

    /// Starts one with more environment variables.
    pub fn start_with(preload: Preload, run_dir: &Path, env: &[(&str, &str)]) -> ScriptedProgram {
        let mut command = program("scripted", preload, run_dir);
        command.envs(env.iter().copied());
        ScriptedProgram::spawn(&mut command)
    }

    /// Starts one by a command of one's own that ends in running it.
    pub fn spawn(command: &mut Command) -> ScriptedProgram {
        ScriptedProgram(Dialogue::begin(command))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Sends a command without waiting for the answer.
    pub fn begin(&mut self, command: &str) {
        self.0.say(command);
    }

    /// Waits for the next answer.
    pub fn end(&mut self) -> Answer {
        let line = self.0.line();
        let (error, took) = line.split_once(' ').expect("two numbers");
        Answer {
            error: error.parse().expect("an error code"),
            took: Duration::from_micros(took.parse().expect("microseconds")),
        }
    }

    /// Whether an answer has come already.
    pub fn answers_within(&mut self, time: Duration) -> Option<String> {
        self.0.line_within(time)
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
        let line = self.0.line();
        line.split_whitespace()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {line}"))
    }

    /// Ends it and checks that it ends well.
    pub fn quit(mut self) {
        self.begin("quit");
        self.0.end();
    }
}
