//! What the integration tests share: the installed library, compiling test programs, running them under a watchdog.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Longest run of a test program.
const WATCHDOG: Duration = Duration::from_secs(30);

/// The library that cargo built for this test run: it lies beside the test programs.
pub fn built_library() -> PathBuf {
    let exe = std::env::current_exe().expect("the test program's path");
    let built = exe.with_file_name("libhipsim.so");
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
        hipsim::install::install(&built_library(), &dir.path().join("lib"))
            .expect("install the library");
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn library(&self) -> PathBuf {
        self.path("lib")
    }

    /// Compiles a C program of tests/c against the installed library.
    pub fn compile(&self, name: &str) -> PathBuf {
        let program = self.path(name.rsplit('/').next().unwrap_or(name));
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
            .arg(root.join("include"))
            .arg(root.join(format!("tests/c/{name}.c")))
            .arg("-o")
            .arg(&program)
            .arg("-L")
            .arg(self.library())
            .args(["-l:libamdhip64.so.5", "-ldl", "-lm"]);
        succeed(
            &mut compiler,
            "a C compiler is needed: apt-get install gcc libc6-dev",
        );
        program
    }

    /// Compiles a HIP program of tests/hip with hipcc.
    pub fn hipcc(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let program = self.path(name);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/hip/{name}.cpp"));
        let mut compiler = Command::new("hipcc");
        compiler
            .args(["--offload-arch=gfx906", "-O1", "-w"])
            .arg(source)
            .arg("-o")
            .arg(&program)
            .args(arguments);
        succeed(
            &mut compiler,
            "hipcc is needed: apt-get install hipcc librocrand-dev libamdhip64-dev",
        );
        program
    }

    /// A program on this bench's device.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HIPSIM_") {
                command.env_remove(name);
            }
        }
        command
            .env("LD_LIBRARY_PATH", self.library())
            .env("HIPSIM_DEVICE", self.path("device"))
            .env_remove("LD_PRELOAD");
        command
    }

    /// Runs a program to its end and returns what it printed. It must succeed.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> String {
        finish(self.command(program).args(arguments))
    }
}

/// Starts a command with its output captured; killed when dropped.
pub fn start(command: &mut Command) -> Running {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Running(
        child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")),
        format!("{command:?}"),
    )
}

/// Runs a command to its end; its standard output. It must succeed within the watchdog's time.
pub fn finish(command: &mut Command) -> String {
    let description = format!("{command:?}");
    let (status, out, err) = start(command).wait();
    assert!(status.success(), "{description}: {status}\n{out}\n{err}");
    out
}

/// A running program.
pub struct Running(pub Child, String);

impl Running {
    /// Waits for the end: status, standard output, standard error.
    pub fn wait(mut self) -> (ExitStatus, String, String) {
        let deadline = Instant::now() + WATCHDOG;
        let status = loop {
            if let Some(status) = self.0.try_wait().expect("wait for the program") {
                break status;
            }
            assert!(Instant::now() < deadline, "{} hangs", self.1);
            std::thread::sleep(Duration::from_millis(5));
        };
        let (mut out, mut err) = (String::new(), String::new());
        if let (Some(stdout), Some(stderr)) = (&mut self.0.stdout, &mut self.0.stderr) {
            stdout.read_to_string(&mut out).expect("read its output");
            stderr.read_to_string(&mut err).expect("read its errors");
        }
        (status, out, err)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.0.kill().expect("kill the program");
        self.0.wait().expect("reap the program");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the program has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn succeed(command: &mut Command, needs: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}; {needs}"));
    assert!(
        output.status.success(),
        "{command:?} failed; {needs}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A bench for tests that only look at files.
pub static SHARED: LazyLock<Bench> = LazyLock::new(Bench::new);
