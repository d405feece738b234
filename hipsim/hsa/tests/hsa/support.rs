//! What the tests share: the installed library, compiled programs, runs under a watchdog.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Longest run of a test program, in seconds, for timeout(1).
const WATCHDOG: &str = "60";

/// A library that cargo built for this test run: it lies beside the test programs.
pub fn built(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("the test program's path");
    let built = exe.with_file_name(name);
    assert!(
        built.exists(),
        "{} is missing; run the tests through cargo",
        built.display()
    );
    built
}

/// A folder with the library installed, a device of its own, and room for programs.
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let bench = Self { dir };
        hsasim::install::install(&built("libhsasim.so"), &bench.path("lib"))
            .expect("install the library");
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Compiles a C program of tests/c, linked with a library of a folder.
    pub fn compile_with(&self, name: &str, folder: &Path, library: &str) -> PathBuf {
        let program = self.path(name);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut compiler = Command::new("cc");
        compiler
            .args([
                "-O1",
                "-g",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-Wno-unused-function",
                "-pthread",
                "-I",
            ])
            .arg(root.join("../include"))
            .arg(root.join(format!("tests/c/{name}.c")))
            .arg("-o")
            .arg(&program)
            .arg("-L")
            .arg(folder)
            .arg(format!("-l:{library}"));
        succeed(
            &mut compiler,
            "a C compiler is needed: apt-get install gcc libc6-dev",
        );
        program
    }

    /// Compiles a C program of tests/c against the installed library.
    pub fn compile(&self, name: &str) -> PathBuf {
        self.compile_with(name, &self.path("lib"), hsasim::install::SONAME)
    }

    /// Compiles tests/c/kernels.hip to a bundle of code objects.
    pub fn kernels(&self) -> PathBuf {
        let bundle = self.path("kernels.co");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/kernels.hip");
        let mut hipcc = Command::new("hipcc");
        hipcc
            .args(["--genco", "--offload-arch=gfx906", "-O1"])
            .arg(source)
            .arg("-o")
            .arg(&bundle);
        succeed(
            &mut hipcc,
            "hipcc is needed: apt-get install hipcc libamdhip64-dev",
        );
        bundle
    }

    /// A command that runs a program on this bench's device, of the architecture that the distribution's hipcc knows.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["-k", "1", WATCHDOG])
            .arg(program)
            .env("LD_LIBRARY_PATH", self.path("lib"))
            .env("HIPSIM_DEVICE", self.path("device"))
            .env("HIPSIM_ARCHITECTURE", "gfx906")
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::null());
        command
    }

    /// The same without timeout(1) around the program: what is killed is the program.
    pub fn direct(&self, program: &Path) -> Command {
        let mut direct = Command::new(program);
        direct.stdin(Stdio::null());
        for (name, value) in self.command(program).get_envs() {
            match value {
                Some(value) => direct.env(name, value),
                None => direct.env_remove(name),
            };
        }
        direct
    }

    /// Runs a program to its good end; its output.
    pub fn run(&self, program: &Path, arguments: &[&OsStr]) -> String {
        output(self.command(program).args(arguments))
    }
}

/// The output of a command that must succeed.
pub fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn succeed(command: &mut Command, otherwise: &str) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{error}: {otherwise}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
