//! What the benchmarks share: a directory of their own, programs compiled
//! into it, an agent that nobody else sees.

use std::ffi::OsStr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::agent;
use crate::build::{self, Built};
use crate::child::Guarded;
use crate::platform::Platform;

/// The directory, removed at the end.
pub struct Workbench<'b> {
    pub built: &'b Built,
    /// Whose shim its programs run under.
    pub platform: Platform,
    pub dir: PathBuf,
}

impl Drop for Workbench<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Whether a program runs under the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shim {
    Without,
    With,
}

impl<'b> Workbench<'b> {
    pub fn new(built: &'b Built) -> anyhow::Result<Workbench<'b>> {
        Workbench::of(built, Platform::Hip)
    }

    pub fn of(built: &'b Built, platform: Platform) -> anyhow::Result<Workbench<'b>> {
        let dir = build::scratch("bench")?;
        // The agent makes none there.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir.join("run"))?;
        Ok(Workbench {
            built,
            platform,
            dir,
        })
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// A command with the directories of this benchmark.
    pub fn command(&self, program: &Path, runtime: &str, shim: Shim) -> Command {
        let mut command = Command::new(program);
        command
            .env("XSCHED_RUN_DIR", self.run_dir())
            .env("HIPSIM_DEVICE", self.dir.join("device"))
            .env("LD_LIBRARY_PATH", self.dir.join(runtime))
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::null());
        if shim == Shim::With {
            command.env("LD_PRELOAD", self.platform.shim(self.built));
        }
        command
    }

    /// An agent that serves this benchmark.
    pub fn start_agent(&self, options: &[&str]) -> anyhow::Result<Guarded> {
        let mut command = Command::new(self.built.file("xsched-agent"));
        command
            .args(options)
            .env("XSCHED_RUN_DIR", self.run_dir())
            .stderr(Stdio::null());
        let agent = Guarded::start(&mut command, "the agent")?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !agent::serves(&self.run_dir()) {
            ensure!(
                Instant::now() < deadline,
                "the agent does not serve {}",
                self.run_dir().display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(agent)
    }
}

/// The runtime of the shim's own tests, which does nothing, in `directory`.
pub fn null_runtime(directory: &Path, options: &[&str]) -> anyhow::Result<PathBuf> {
    let programs = build::root().join("xsched-shim/tests/programs");
    let runtime = directory.join("libamdhip64.so.5");
    std::fs::create_dir_all(directory)?;
    let script = format!(
        "-Wl,--version-script={}",
        programs.join("fake_hip.map").display()
    );
    let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    let source = programs.join("fake_hip.c");
    arguments.extend([
        "-shared".as_ref(),
        "-fPIC".as_ref(),
        "-Wl,-soname,libamdhip64.so.5".as_ref(),
        script.as_ref(),
        source.as_os_str(),
        "-o".as_ref(),
        runtime.as_os_str(),
    ]);
    cc(&arguments)?;
    Ok(runtime)
}

pub fn cc(arguments: &[&OsStr]) -> anyhow::Result<()> {
    build::run(
        Command::new("cc")
            .args(["-O2", "-g", "-Wall", "-Wno-unused-function"])
            .args(arguments),
    )
}
