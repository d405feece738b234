//! The agent and the programs of one run.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use xsched_common::api::{ProcessRow, Request, Snapshot};
use xsched_common::units::Class;

use crate::agent;
use crate::build;
use crate::child::Guarded;
use crate::dialogue::Dialogue;

/// Where everything is that a run needs: no part of it is built there.
pub struct Tools {
    /// xsched-agent, the shim, xtop, and the programs.
    pub dir: PathBuf,
    /// What the programs use.
    pub loads: Loads,
}

/// What the programs use.
pub enum Loads {
    /// PyTorch, on the machine's GPU.
    Torch,
    /// The simulated driver in this folder.
    Simulated(PathBuf),
}

impl Tools {
    /// A file of the bundle.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn loads_name(&self) -> &'static str {
        match self.loads {
            Loads::Torch => "torch",
            Loads::Simulated(_) => "simulated",
        }
    }
}

/// The names of the shim's and the agent's files.
pub const SHIM: &str = "libxsched_shim_cuda.so";
pub const AGENT: &str = "xsched-agent";
pub const XTOP: &str = "xtop";

/// How the kernels of a rehearsal are timed.
const KERNELS: &str = "short_kernel=20us,batch_kernel=300us,long_kernel=50ms";

/// Whether the agent sets time slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slices {
    On,
    Off,
}

/// What a program runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// Nothing.
    Nothing,
    /// The shim, with this class.
    Shim(Class),
    /// MPS, with this client priority if it has one.
    Mps(Option<u8>),
    /// Both.
    ShimOnMps(Class),
}

/// Directories and the agent.
pub struct Stage {
    /// What it is made of.
    pub tools: Tools,
    dir: PathBuf,
    agent: Option<Guarded>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.agent = None;
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Stage {
    /// An empty one.
    pub fn new(tools: Tools) -> anyhow::Result<Stage> {
        let dir = build::scratch("gpu-bench")?;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(dir.join("run"))?;
        let stage = Stage {
            tools,
            dir,
            agent: None,
        };
        stage.configure(Slices::On)?;
        Ok(stage)
    }

    /// Where the agent serves.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// A folder of this run.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A command with what every program of the run needs to know.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env("XSCHED_RUN_DIR", self.run_dir())
            .env("XSCHED_SHIM", self.tools.file(SHIM))
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::null());
        if let Loads::Simulated(runtime) = &self.tools.loads {
            command
                .env("LD_LIBRARY_PATH", runtime)
                .env("HIPSIM_DEVICE", self.dir.join("device"))
                .env("HIPSIM_KERNELS", KERNELS);
        }
        command
    }

    fn configuration(&self) -> PathBuf {
        self.dir.join("xsched.toml")
    }

    fn configure(&self, slices: Slices) -> anyhow::Result<()> {
        let switch = match slices {
            Slices::On => "on",
            Slices::Off => "off",
        };
        let text = format!("[platform.nvidia]\ntime_slices = \"{switch}\"\n");
        fs::write(self.configuration(), text).context("cannot write the agent's configuration")
    }

    /// Starts the agent and waits until it serves.
    pub fn start_agent(&mut self, options: &[&str]) -> anyhow::Result<()> {
        self.agent = None;
        let log = fs::File::create(self.dir.join("agent.log"))?;
        let mut command = self.command(self.tools.file(AGENT));
        command
            .arg("--config")
            .arg(self.configuration())
            .args(options)
            .stderr(log);
        self.agent = Some(Guarded::start(&mut command, "the agent")?);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !agent::serves(&self.run_dir()) {
            ensure!(
                Instant::now() < deadline,
                "the agent does not serve: {}",
                self.agent_log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What the agent has said.
    pub fn agent_log(&self) -> String {
        fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default()
    }

    /// Ends it in good order.
    pub fn stop_agent(&mut self) -> anyhow::Result<()> {
        match self.agent.take() {
            Some(agent) => agent.stop().map(drop),
            None => Ok(()),
        }
    }

    /// Kills it.
    pub fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// Has the configuration say so, and read.
    pub fn slices(&self, slices: Slices) -> anyhow::Result<()> {
        self.configure(slices)?;
        agent::ask(&self.run_dir(), &Request::Reload).map(drop)
    }

    /// A subcommand of the agent; what it prints.
    pub fn tell(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self
            .command(self.tools.file(AGENT))
            .args(arguments)
            .output()?;
        ensure!(
            output.status.code() != Some(2),
            "xsched-agent {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Gives a program a class.
    pub fn class(&self, worker: &Worker, class: &str) -> anyhow::Result<()> {
        let pid = worker.pid().to_string();
        self.tell(&["set", "--pid", &pid, "--class", class])
            .map(drop)
    }

    /// What the agent sees.
    pub fn snapshot(&self) -> anyhow::Result<Snapshot> {
        agent::snapshot(&self.run_dir())
    }

    /// What it sees of a program.
    pub fn row(&self, worker: &Worker) -> anyhow::Result<Option<ProcessRow>> {
        let processes = self.snapshot()?.processes;
        let is_it = |row: &ProcessRow| row.pid == worker.pid();
        Ok(processes.into_iter().find(is_it))
    }

    /// Waits until `holds` of what the agent sees of it; whether it came so.
    pub fn wait_for(
        &self,
        worker: &Worker,
        holds: impl Fn(&ProcessRow) -> bool,
    ) -> anyhow::Result<bool> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if self.row(worker)?.is_some_and(|row| holds(&row)) {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(false)
    }

    /// Starts a worker; it is not ready yet.
    pub fn worker(&self, name: &str, under: Under) -> anyhow::Result<Worker> {
        let mut command = self.program("worker.py", under)?;
        command.arg(self.tools.loads_name());
        Ok(Worker(Dialogue::start(&mut command, name)?))
    }

    /// A program of the bundle, without arguments.
    pub fn program(&self, name: &str, under: Under) -> anyhow::Result<Command> {
        let mut command = match under {
            Under::Nothing | Under::Mps(_) => self.command("python3"),
            Under::Shim(class) | Under::ShimOnMps(class) => {
                let mut command = self.command(self.tools.file(AGENT));
                command.args(["run", "--class", class.name(), "--", "python3"]);
                command
            }
        };
        if let Under::Mps(_) | Under::ShimOnMps(_) = under {
            command.env(super::mps::PIPES_AT, self.folder(super::mps::PIPES)?);
        }
        if let Under::Mps(Some(priority)) = under {
            command.env("CUDA_MPS_CLIENT_PRIORITY", priority.to_string());
        }
        command.arg(self.tools.file(name));
        Ok(command)
    }
}

/// A program that does as it is told.
pub struct Worker(Dialogue);

impl Worker {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Kills it unless all is done by then: who waits for an answer gets its end.
    pub fn limit(&mut self, time: Duration) -> anyhow::Result<()> {
        self.0.limit(time)
    }

    /// Says something of which the answer is read later.
    pub fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        self.0.tell(command)
    }

    /// Its next answer.
    pub fn answer<T: serde::de::DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = self.0.line()?;
        serde_json::from_str(&line).with_context(|| format!("a worker answered {line:?}"))
    }

    /// Both.
    pub fn ask<T: serde::de::DeserializeOwned>(&mut self, command: &str) -> anyhow::Result<T> {
        self.tell(command)?;
        self.answer()
    }

    /// Begins work without end.
    pub fn work(&mut self, load: &str) -> anyhow::Result<()> {
        self.ask::<String>(&format!("work {load}")).map(drop)
    }

    /// How far it is.
    pub fn progress(&mut self) -> anyhow::Result<Progress> {
        self.ask("count")
    }

    /// Ends it.
    pub fn stop(&mut self) -> anyhow::Result<Progress> {
        self.ask("stop")
    }

    /// Latencies of requests in so many seconds, ms.
    pub fn serve(&mut self, load: &str, seconds: f64) -> anyhow::Result<Vec<f64>> {
        self.ask(&format!("serve {load} {seconds}"))
    }
}

/// Iterations done, and by the worker's clock when the last was complete, s.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
pub struct Progress(u64, f64);

impl Progress {
    /// Iterations per second since `earlier`.
    pub fn rate_since(self, earlier: Progress) -> f64 {
        let seconds = self.1 - earlier.1;
        match seconds > 0.0 {
            true => (self.0 - earlier.0) as f64 / seconds,
            false => 0.0,
        }
    }
}
