//! A folder with a simulated device, an agent and programs of its own.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use simdevice::code::{self, Kernel};

use crate::build::{self, Built};
use crate::child::Guarded;
use crate::platform::Platform;
use crate::real_runtime::{self, Version};

/// How long kernels of the batch program take.
pub const BATCH_KERNEL: Duration = Duration::from_micros(300);

/// The folder that all of one play's processes share; removed at the end.
pub struct Stage<'b> {
    built: &'b Built,
    dir: PathBuf,
    place: Place,
    platform: Platform,
}

/// What is to be under the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A simulated runtime.
    Simulated(Platform),
    /// AMD's, on the simulated HSA library.
    Real(Version),
}

/// Which runtime the programs find.
enum Place {
    /// The simulated one, in this folder.
    Simulated(PathBuf),
    /// AMD's, where this process has gone, with these kernels.
    Real { code: PathBuf },
}

/// Kernels of the sample programs, as code for a real runtime: all take one number.
const KERNELS: [&str; 3] = ["hipsim_spin", "batch_kernel", "nullstream_kernel"];
/// The processor of the simulated device under a real runtime.
const ARCHITECTURE: &str = "gfx942";

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Whether a program runs under the shim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shim {
    /// It does.
    With,
    /// It does not.
    Without,
}

impl<'b> Stage<'b> {
    /// Lays everything out in a folder named after `play`.
    pub fn new(built: &'b Built, play: &str) -> anyhow::Result<Stage<'b>> {
        Stage::on(built, play, Ground::Simulated(Platform::default()))
    }

    /// The same on this ground. To a real runtime this process goes itself, so it has one thread.
    pub fn on(built: &'b Built, play: &str, ground: Ground) -> anyhow::Result<Stage<'b>> {
        let dir = build::scratch(play).context("cannot create a folder")?;
        let runtime = dir.join("runtime");
        std::fs::create_dir_all(&runtime)
            // The agent makes none there.
            .and_then(|()| DirBuilder::new().mode(0o755).create(dir.join("run")))
            .with_context(|| format!("cannot create {}", dir.display()))?;
        let mut stage = Stage {
            built,
            place: Place::Simulated(runtime.clone()),
            dir,
            platform: match ground {
                Ground::Simulated(platform) => platform,
                Ground::Real(_) => Platform::Hip,
            },
        };
        match ground {
            Ground::Simulated(platform) => platform.install(built, &runtime)?,
            Ground::Real(version) => {
                let kernels = KERNELS.map(|name| Kernel {
                    name,
                    arguments: &[8],
                });
                let code = stage.dir.join("kernels.bundle");
                std::fs::write(&code, code::bundle(&[ARCHITECTURE], &kernels))?;
                real_runtime::enter(
                    version,
                    &built.file("libhsasim.so"),
                    &stage.dir.join("real"),
                    real_runtime::Above::default(),
                )?;
                stage.place = Place::Real { code };
            }
        }
        Ok(stage)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A program or library that was built, by file name.
    pub fn built(&self, name: &str) -> PathBuf {
        self.built.file(name)
    }

    /// A sample program of the stage's platform.
    pub fn program(&self, name: &str) -> PathBuf {
        self.built(&format!("{}-{name}", self.platform.samples()))
    }

    /// Starts the agent with these options and waits until it serves.
    pub fn start_agent(&self, options: &[&OsStr]) -> anyhow::Result<Guarded> {
        let log = std::fs::File::create(self.dir.join("agent.log"))?;
        let mut command = self.agent();
        command.args(options).stderr(log);
        let agent = Guarded::start(&mut command, "the agent")?;
        let socket = self.run_dir().join("api.sock");
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.snapshot().is_err() {
            if Instant::now() >= deadline {
                let log = std::fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default();
                bail!(
                    "the agent does not serve {}: {}",
                    socket.display(),
                    log.trim()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(agent)
    }

    /// The folder of the agent's sockets.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// `xsched-agent`, here.
    pub fn agent(&self) -> Command {
        self.at_home(Command::new(self.built.file("xsched-agent")))
    }

    /// A sample program on the simulated device, under the shim or not.
    pub fn sample(&self, file: &Path, shim: Shim, class: &str) -> Command {
        match shim {
            Shim::Without => self.at_home(Command::new(file)),
            Shim::With => {
                let mut command = self.agent();
                command.args(["run", "--class", class, "--"]).arg(file);
                command
            }
        }
    }

    fn at_home(&self, mut command: Command) -> Command {
        command
            .env("XSCHED_RUN_DIR", self.run_dir())
            .env("HIPSIM_DEVICE", self.dir.join("device"))
            .env(
                "HIPSIM_KERNELS",
                format!("batch*={}us", BATCH_KERNEL.as_micros()),
            )
            .env_remove("LD_LIBRARY_PATH")
            .env_remove("LD_PRELOAD");
        match &self.place {
            Place::Simulated(runtime) => command.env("LD_LIBRARY_PATH", runtime),
            Place::Real { code } => command.env("HIPSIM_CODE", code),
        };
        command
    }

    /// Starts the batch program.
    pub fn batch(&self, shim: Shim) -> anyhow::Result<Guarded> {
        let mut command = self.sample(&self.program("batch"), shim, "low");
        Guarded::start(&mut command, "the batch program")
    }

    /// What the agent sees.
    pub fn snapshot(&self) -> anyhow::Result<Value> {
        let output = self
            .agent()
            .args(["ps", "--json"])
            .stderr(Stdio::null())
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
