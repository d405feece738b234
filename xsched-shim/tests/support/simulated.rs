//! The simulated device's runtimes, for what the fake runtime does not have.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{cc, shim};

/// The runtimes installed, a device, and room for programs.
pub struct Simulated(TempDir);

impl Simulated {
    /// In a directory of its own.
    pub fn install() -> Simulated {
        let exe = std::env::current_exe().expect("the test has a path");
        let built = exe.with_file_name("libhipsim.so");
        let dir = tempfile::tempdir().expect("a directory");
        hipsim::install::install(&built, &dir.path().join("hip")).expect("hipsim is built");
        Simulated(dir)
    }

    /// A file of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The runtime of this major version.
    pub fn runtime(&self, major: u8) -> PathBuf {
        self.path(&format!("hip/libamdhip64.so.{major}"))
    }

    /// Compiles a program of `tests/programs/simulated` for HIP 6.
    pub fn compile(&self, name: &str) -> PathBuf {
        self.compile_as(name, name, &[])
    }

    /// Compiles it with more flags, as `binary`.
    pub fn compile_as(&self, name: &str, binary: &str, flags: &[&str]) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (binary, include) = (self.path(binary), root.join("hipsim/include"));
        let source = super::source(&format!("simulated/{name}.c"));
        let runtime = self.runtime(6);
        let mut arguments: Vec<&OsStr> = flags.iter().map(AsRef::as_ref).collect();
        arguments.extend(["-I".as_ref(), include.as_os_str()]);
        arguments.extend([source.as_os_str(), runtime.as_os_str()]);
        arguments.extend::<[&OsStr; 3]>(["-pthread".as_ref(), "-o".as_ref(), binary.as_os_str()]);
        cc(&arguments);
        binary
    }

    /// A program on this device, under the shim, with its agent in `run_dir`.
    pub fn command(&self, program: impl AsRef<OsStr>, run_dir: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("LD_LIBRARY_PATH", self.path("hip"))
            .env("LD_PRELOAD", shim())
            .env("XSCHED_RUN_DIR", run_dir)
            .env("HIPSIM_DEVICE", self.path("device"))
            .env_remove("XSCHED_VERBOSE");
        command
    }
}
