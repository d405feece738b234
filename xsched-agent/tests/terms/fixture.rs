//! An agent with a file, and processes for its rules to match.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use xsched_common::units::Class;
use xsched_testkit::{Agent, wait_for};

/// A process that does nothing; killed at the end.
pub struct Idle(pub Child);

impl Idle {
    /// With an argument that rules can match; `sleep` adds them up.
    pub fn start(mark: &str) -> Idle {
        Idle::spawn(Command::new("sleep").args(["600", mark]))
    }

    pub fn spawn(command: &mut Command) -> Idle {
        Idle(command.stdin(Stdio::null()).spawn().expect("it starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process whose parent may be gone.
pub struct Orphan(pub u32);

impl Drop for Orphan {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.0.cast_signed()).expect("a pid");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Waits until a process has executed its program: until then it is evaluated as
/// whoever started it.
pub fn wait_until_it_is(pid: u32, command: &str) {
    wait_for(&format!("process {pid} is {command}"), || {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim() == command)
    });
}

/// An agent with a file of its own.
pub struct Configured {
    pub agent: Agent,
    pub file: PathBuf,
}

impl Configured {
    pub fn start(text: &str) -> Configured {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("xsched.toml");
        std::fs::write(&file, text).expect("writes");
        Configured {
            agent: start_in(dir, &file),
            file,
        }
    }

    pub fn write(&self, text: &str) {
        std::fs::write(&self.file, text).expect("writes");
    }

    pub fn hang_up(&self) {
        let pid = rustix::process::Pid::from_raw(self.agent.child.id().cast_signed());
        rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::HUP)
            .expect("it runs");
    }

    pub fn explain(&self, pid: u32) -> Value {
        self.ask(&format!(r#"{{"op":"explain","pid":{pid}}}"#))
    }

    pub fn ask(&self, line: &str) -> Value {
        let answer = self.agent.ask_raw(line);
        assert_ne!(answer["type"], "error", "{line}: {answer}");
        answer
    }

    /// As [`Configured::ask`], whatever the answer is.
    pub fn ask_any(&self, line: &str) -> Value {
        self.agent.ask_raw(line)
    }

    /// Waits until a process has a class, and says what it is explained by.
    pub fn wait_for_class(&self, pid: u32, class: Class) -> String {
        let mut last = Value::Null;
        wait_for(&format!("process {pid} is {class}"), || {
            last = self.explain(pid);
            last["settled"]["class"] == class.name()
        });
        applied(&last)
    }
}

pub fn start_in(dir: tempfile::TempDir, file: &Path) -> Agent {
    let file = file.to_str().expect("text").to_owned();
    Agent::start_in_with(dir, &["--no-bpf", "--config", &file])
}

/// The source that won.
pub fn applied(explanation: &Value) -> String {
    let steps = explanation["steps"].as_array().expect("steps");
    let first = steps.iter().find(|step| step["applied"] == true);
    first.expect("something applies")["source"]
        .as_str()
        .expect("text")
        .to_owned()
}

pub fn step<'v>(explanation: &'v Value, source: &str) -> &'v Value {
    let steps = explanation["steps"].as_array().expect("steps");
    let named = |step: &&Value| {
        let text = step["source"].as_str().expect("text");
        text.starts_with(source)
    };
    steps
        .iter()
        .find(named)
        .unwrap_or_else(|| panic!("no step {source}: {explanation}"))
}
