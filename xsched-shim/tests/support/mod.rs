//! A fake HIP runtime, programs on it, and an agent, for the tests that run
//! the built library in real processes.

#![allow(dead_code, reason = "every test file uses another part")]

pub mod agent;
pub mod dialogue;
pub mod scripted;
pub mod simulated;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xsched_common::platform::Platform;

/// No process of a test lives longer.
pub const WATCHDOG: Duration = Duration::from_secs(30);

/// The library under test, as cargo has built it for this test binary.
pub fn shim() -> PathBuf {
    shim_of(Platform::Hip)
}

/// A platform's.
pub fn shim_of(platform: Platform) -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a path");
    let shim = exe.with_file_name(platform.names().shim);
    assert!(shim.exists(), "{} was not built", shim.display());
    shim
}

/// The library as users have it, built when it is first asked for.
pub fn release_shim() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // Apart from the build that runs these tests, which holds its folder's lock.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release-build");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--quiet", "--locked", "--lib"])
            .args(["--package", "xsched-shim", "--target-dir"])
            .arg(&target)
            .status()
            .expect("cargo runs");
        assert!(built.success());
        target.join("release/libxsched_shim.so")
    })
}

/// Directory with the fake runtime and the programs that have been compiled.
pub fn bin() -> &'static Path {
    bin_of(Platform::Hip)
}

/// The same with a platform's.
pub fn bin_of(platform: Platform) -> &'static Path {
    static BINS: [OnceLock<TempDir>; 2] = [const { OnceLock::new() }; 2];
    BINS[platform as usize]
        .get_or_init(|| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let (fake, runtime) = runtime(platform);
            let map = source(&format!("{fake}.map"));
            shared_library(
                fake,
                &dir.path().join(runtime),
                &[
                    "-fno-omit-frame-pointer".as_ref(),
                    format!("-Wl,-soname,{runtime}").as_ref(),
                    format!("-Wl,--version-script={}", map.display()).as_ref(),
                ],
            );
            dir
        })
        .path()
}

/// The source and the name of a platform's fake runtime.
fn runtime(platform: Platform) -> (&'static str, &'static str) {
    match platform {
        Platform::Hip => ("fake_hip", "libamdhip64.so.5"),
        Platform::Cuda => ("fake_cuda", "libcuda.so.1"),
    }
}

/// These open the runtime themselves.
const UNLINKED: [&str; 4] = ["handles", "deepbind", "deepbound", "profiler"];

/// A file of `tests/programs`.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../xsched-shim/tests/programs")
        .join(name)
}

/// A program of `tests/programs`, compiled when it is first asked for.
pub fn compiled(name: &str) -> PathBuf {
    compiled_on(Platform::Hip, name)
}

/// The same for a platform.
pub fn compiled_on(platform: Platform, name: &str) -> PathBuf {
    static COMPILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let out = bin_of(platform).join(name);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if !compiled.contains(&out) {
        let source = source(&format!("{name}.c"));
        let runtime = bin_of(platform).join(runtime(platform).1);
        let mut arguments = vec![source.as_os_str(), "-pthread".as_ref(), "-ldl".as_ref()];
        arguments.extend(["-o".as_ref(), out.as_os_str()]);
        if platform == Platform::Cuda {
            arguments.push("-DCUDA".as_ref());
        }
        if !UNLINKED.contains(&name) {
            arguments.push(runtime.as_os_str());
        }
        cc(&arguments);
        compiled.insert(out.clone());
    }
    out
}

/// Compiles a source of `tests/programs` to a shared library.
pub fn shared_library(name: &str, out: &Path, more: &[&OsStr]) {
    let source = source(&format!("{name}.c"));
    let mut arguments: Vec<&OsStr> = ["-shared", "-fPIC", "-DSHARED"].map(AsRef::as_ref).into();
    arguments.push(source.as_os_str());
    arguments.extend(more);
    arguments.extend(["-o".as_ref(), out.as_os_str()]);
    cc(&arguments);
}

/// Compiles C.
pub fn cc(arguments: &[&OsStr]) {
    let status = Command::new("cc")
        .args(["-O2", "-g", "-Wall", "-Werror"])
        .args(arguments)
        .status()
        .expect("a C compiler is installed");
    assert!(status.success(), "cc {arguments:?}");
}

/// Whether a program runs under the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preload {
    /// It does.
    Shim,
    /// It runs alone.
    Nothing,
}

/// A program of `tests/programs`, looking for its agent in `run_dir`.
pub fn program(name: &str, preload: Preload, run_dir: &Path) -> Command {
    program_on(Platform::Hip, name, preload, run_dir)
}

/// The same on a platform.
pub fn program_on(platform: Platform, name: &str, preload: Preload, run_dir: &Path) -> Command {
    let mut command = Command::new(compiled_on(platform, name));
    command
        .env("LD_LIBRARY_PATH", bin_of(platform))
        .env("XSCHED_RUN_DIR", run_dir)
        .env_remove("LD_PRELOAD")
        .stdin(Stdio::null());
    if preload == Preload::Shim {
        command.env("LD_PRELOAD", shim_of(platform));
    }
    command
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let guard = Guard::watch(&child);
    let output = child.wait_with_output().expect("the program ends");
    drop(guard);
    output
}

/// The standard output of a program that must succeed.
pub fn stdout_of(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Kills a process that goes on for longer than [`WATCHDOG`] after it was
/// started or last given something to do.
pub struct Guard(std::sync::mpsc::Sender<()>);

impl Guard {
    /// Watches `child` until the guard is dropped.
    pub fn watch(child: &Child) -> Guard {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let pid = child.id() as i32;
        std::thread::spawn(move || {
            use std::sync::mpsc::RecvTimeoutError;
            loop {
                match receiver.recv_timeout(WATCHDOG) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    // SAFETY: the child is not reaped while the guard lives.
                    Err(RecvTimeoutError::Timeout) => unsafe {
                        libc::kill(pid, libc::SIGKILL);
                        return;
                    },
                }
            }
        });
        Guard(sender)
    }

    /// It has something new to do.
    pub fn renew(&self) {
        // Fails once the process was killed, which shows soon enough.
        let _ = self.0.send(());
    }
}

/// A new pipe: the end to read and the end to write.
pub fn pipe(flags: i32) -> (OwnedFd, OwnedFd) {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | flags) };
    assert_eq!(made, 0);
    // SAFETY: both are new and owned by nobody else.
    unsafe { ends.map(|end| OwnedFd::from_raw_fd(end)).into() }
}

/// A new eventfd that does not block.
pub fn eventfd() -> OwnedFd {
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: new and owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Waits until `condition` holds, at most 5 s.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How a process ended.
pub fn succeeded(status: ExitStatus) {
    assert!(status.success(), "{status}");
}

/// The middle of some measurements.
pub fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}
