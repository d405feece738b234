//! Sample programs on a simulated device, with or without the shim.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use xsched_common::platform::Platform;

use super::{Agent, DEADLINE, agent_command, built};

/// A machine of our own: an agent, a device, a runtime.
pub struct Machine {
    /// The agent.
    pub agent: Agent,
    /// Where device and runtime are.
    pub dir: tempfile::TempDir,
    /// Whose programs run.
    pub platform: Platform,
}

/// A program that is killed when it goes out of scope.
pub struct Program(pub Child);

impl Program {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// SIGTERM, then what it printed.
    pub fn stop(mut self) -> Value {
        use std::io::Read as _;
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
        let mut text = String::new();
        self.0
            .stdout
            .take()
            .expect("piped")
            .read_to_string(&mut text)
            .expect("reads");
        assert!(self.0.wait().expect("ends").success(), "{text}");
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    /// With an observing agent.
    pub fn observing() -> Machine {
        Machine::with(Agent::start_observing())
    }

    /// With this agent.
    pub fn with(agent: Agent) -> Machine {
        Machine::on(Platform::Hip, agent)
    }

    /// The same for a platform's programs.
    pub fn on(platform: Platform, agent: Agent) -> Machine {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let hip = dir.path().join("hip");
        hipsim::install::install(&built("libhipsim.so"), &hip).expect("installs");
        if platform == Platform::Cuda {
            let cuda = dir.path().join("cuda");
            cudasim::install::install(&built("libcudasim.so"), &hip, &cuda).expect("installs");
        }
        Machine {
            agent,
            dir,
            platform,
        }
    }

    /// Where the runtime of the platform is.
    pub fn runtime(&self) -> PathBuf {
        self.dir.path().join(self.platform.name())
    }

    /// The name of a sample program of the platform.
    pub fn sample(&self, name: &str) -> String {
        match self.platform {
            Platform::Hip => format!("hipsim-{name}"),
            Platform::Cuda => format!("cudasim-{name}"),
        }
    }

    /// A command that finds agent, shim, device and runtime here.
    pub fn at_home<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("XSCHED_RUN_DIR", &self.agent.run_dir.0)
            .env("XSCHED_SHIM", built(self.platform.names().shim))
            .env("HIPSIM_DEVICE", self.dir.path().join("device"))
            .env("LD_LIBRARY_PATH", self.runtime())
            .stdout(Stdio::piped())
    }

    /// Under the shim, by `xsched-agent run`.
    pub fn run(&self, class: &str, program: &str, arguments: &[&str]) -> Program {
        let mut command = agent_command();
        command
            .args(["run", "--class", class, "--"])
            .arg(built(program))
            .args(arguments);
        Program(self.at_home(&mut command).spawn().expect("starts"))
    }

    /// Any command, at home.
    pub fn spawn(&self, command: &mut Command) -> Program {
        Program(self.at_home(command).spawn().expect("starts"))
    }

    /// Without anything of ours.
    pub fn native(&self, program: &str, arguments: &[&str], env: &[(&str, &str)]) -> Program {
        let mut command = Command::new(built(program));
        command.args(arguments).envs(env.iter().copied());
        Program(self.at_home(&mut command).spawn().expect("starts"))
    }

    /// The row of a process, once `ready` accepts it.
    pub fn row(&self, what: &str, pid: u32, ready: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let row = self.agent.row(pid);
            if row.is_object() {
                if ready(&row) {
                    return row;
                }
                last = row;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}: {last}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
