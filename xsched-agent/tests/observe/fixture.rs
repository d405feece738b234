//! A runtime, two libraries and a program, compiled into a directory of
//! their own, and the program's remote control.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xsched_agent::observe::{Observer, Plan, probe_support};

/// Whether BPF tests are to run. They fail where BPF is missing, unless the
/// environment says to leave them out.
pub fn bpf_or_left_out() -> bool {
    if std::env::var_os("XSCHED_TEST_NO_BPF").is_some_and(|v| v == "1") {
        eprintln!("LEFT OUT: a test that needs BPF (XSCHED_TEST_NO_BPF=1)");
        return false;
    }
    if let Err(reason) = probe_support() {
        panic!("{reason}. XSCHED_TEST_NO_BPF=1 leaves the tests out that need BPF");
    }
    true
}

/// For tests whose programs fill maps: every observer counts all programs, so
/// one such test at a time.
pub fn fills_maps() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An observer that has looked at every process.
pub fn observe(plan: Plan) -> Observer {
    let mut observer = Observer::start(plan).expect("observer");
    finish_looking(&mut observer);
    observer
}

/// Has it look at every process again.
pub fn look(observer: &mut Observer) {
    observer.refresh();
    finish_looking(observer);
}

/// A look ends after a quarter of a second, wherever it is, and waits for a
/// process for a moment only: beside others that have the processors it may
/// not come to a test's program.
fn finish_looking(observer: &mut Observer) {
    let late = ["left for the next look", "could not be looked at"];
    let is_late = |limit: &str| late.iter().any(|late| limit.contains(late));
    until("/proc is seen whole", || {
        let done = !observer.limits().any(is_late);
        if !done {
            observer.refresh();
        }
        done
    });
    for limit in observer.limits() {
        eprintln!("not seen: {limit}");
    }
}

/// Waits, at most 20 s, until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
    }
}

/// Functions that library.c can call, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Launch = 0,
    ModuleLaunch = 1,
    ExtLaunch = 2,
    LaunchExC = 3,
    /// LaunchExC with a configuration that cannot be read.
    BadPointer = 4,
    CopyAsync = 5,
    StreamWait = 6,
    DeviceWait = 7,
    /// Takes as many milliseconds as the stream's handle says.
    SlowWait = 8,
}

impl Api {
    pub fn symbol(self) -> &'static str {
        match self {
            Api::Launch => "hipLaunchKernel",
            Api::ModuleLaunch => "hipModuleLaunchKernel",
            Api::ExtLaunch => "hipExtLaunchKernel",
            Api::LaunchExC | Api::BadPointer => "hipLaunchKernelExC",
            Api::CopyAsync => "hipMemcpyAsync",
            Api::StreamWait => "hipStreamSynchronize",
            Api::DeviceWait => "hipDeviceSynchronize",
            Api::SlowWait => "hipEventSynchronize",
        }
    }
}

/// What the program is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preload {
    Nothing,
    Shim,
}

pub struct Fixture {
    dir: TempDir,
}

impl Fixture {
    pub fn build() -> Fixture {
        let dir = TempDir::new().expect("temporary directory");
        let at = dir.path();
        fs::write(at.join("map"), "hip_4.2 { global: hip*; local: *; };\n")
            .expect("version script");
        let shared = ["-shared", "-fPIC"];
        cc(
            at,
            &[
                "-fcf-protection=branch",
                "-fno-omit-frame-pointer",
                "-Wl,-soname,libamdhip64.so.5",
                "-Wl,--version-script=map",
            ],
            &shared,
            "runtime.c",
            "libamdhip64.so.5",
            &[],
        );
        for (run, library) in [("-DRUN=run_a", "liba.so"), ("-DRUN=run_b", "libb.so")] {
            cc(
                at,
                &[run],
                &shared,
                "library.c",
                library,
                &["libamdhip64.so.5"],
            );
        }
        cc(at, &[], &shared, "shim.c", "libxsched_shim.so", &[]);
        let libraries = ["liba.so", "libb.so", "libamdhip64.so.5", "-lpthread"];
        cc(at, &[], &[], "program.c", "program", &libraries);
        cc(at, &[], &[], "late.c", "late", &[]);
        cc(at, &["-fexceptions"], &[], "odd.c", "odd", &libraries);
        Fixture { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn start(&self, preload: Preload) -> Program {
        let mut command = Command::new(self.path().join("program"));
        if preload == Preload::Shim {
            command.env("LD_PRELOAD", self.path().join("libxsched_shim.so"));
        }
        Program::start(command)
    }

    /// The program of another user, or of root.
    pub fn start_as(&self, uid: u32) -> Program {
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o755)).expect("opened");
        let mut command = Command::new(self.path().join("program"));
        command.uid(uid);
        Program::start(command)
    }

    /// The program as it is found in another directory.
    pub fn start_in(&self, dir: &Path) -> Program {
        Program::start(Command::new(dir.join("program")))
    }

    /// The program where its files are in no other process's sight.
    pub fn start_in_own_mount_namespace(&self) -> Program {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]).arg(
            "mkdir \"$0/own\" && mount -t tmpfs tmpfs \"$0/own\" && \
             cp \"$0\"/*.so* \"$0/program\" \"$0/own\" && exec \"$0/own/program\"",
        );
        command.arg(self.path());
        Program::start(command)
    }

    /// The program with a library preloaded that has one of the names that it
    /// asks for.
    pub fn start_with_library(&self, library: &Path) -> Program {
        let mut command = Command::new(self.path().join("program"));
        command.env("LD_PRELOAD", library);
        Program::start(command)
    }

    /// The program on the simulated device's runtime, perhaps with a library
    /// preloaded. It can wait there; its launches are no kernels.
    pub fn start_on_hipsim(&self, preload: Option<&Path>) -> Program {
        let hip = self.path().join("hip");
        hipsim::install::install(&built("libhipsim.so"), &hip).expect("installed");
        let mut command = Command::new(self.path().join("program"));
        command
            .env("LD_LIBRARY_PATH", &hip)
            .env("HIPSIM_DEVICE", self.path().join("device"))
            .env("XSCHED_RUN_DIR", self.path().join("nobody"));
        if let Some(library) = preload {
            command.env("LD_PRELOAD", library);
        }
        Program::start(command)
    }

    /// late.c: without a runtime, until it is told which library to open.
    pub fn start_late(&self) -> Program {
        Program::start(Command::new(self.path().join("late")))
    }

    /// odd.c; its first line tells it what to do.
    pub fn start_odd(&self, preload: Option<&Path>) -> Program {
        let mut command = Command::new(self.path().join("odd"));
        if let Some(library) = preload {
            command.env("LD_PRELOAD", library);
            command.env("XSCHED_RUN_DIR", self.path().join("nobody"));
        }
        Program::start(command)
    }

    /// The program with a second runtime preloaded whose symbol tables are
    /// damaged beyond reading, in a file that the linker still maps.
    pub fn start_with_garbage_runtime(&self) -> Program {
        let file = self.path().join("libamdhip64.so.9");
        let mut image = fs::read(self.path().join("libxsched_shim.so")).expect("shim");
        // The dynamic linker does not ask how long the string table is
        // (DT_STRSZ, 10); a reader whose names reach past the end of the file
        // has nothing to go by.
        let word = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().expect("8 bytes"));
        let headers = (0..usize::from(image[56])).map(|i| word(32) as usize + 56 * i);
        let dynamic = headers
            .filter(|&at| image[at] == 2)
            .map(|at| word(at + 8) as usize);
        let entries = dynamic.flat_map(|at| (0..64).map(move |i| at + 16 * i));
        let size = entries
            .into_iter()
            .find(|&at| word(at) == 10)
            .expect("a size")
            + 8;
        image[size..size + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        fs::write(&file, image).expect("garbage");
        let mut command = Command::new(self.path().join("program"));
        command.env("LD_PRELOAD", file);
        Program::start(command)
    }
}

/// A library that `cargo build` has built.
pub fn built(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_BIN_EXE_xsched-agent")).with_file_name(name);
    assert!(file.exists(), "run `cargo build` first");
    file
}

fn cc(dir: &Path, flags: &[&str], kind: &[&str], source: &str, output: &str, libraries: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/observe")
        .join(source);
    let result = Command::new("cc")
        .current_dir(dir)
        .args(["-O1", "-w", "-Wl,-rpath,$ORIGIN"])
        .args(flags)
        .args(kind)
        .arg(source)
        .args(["-o", output])
        .args(libraries)
        .output()
        .expect("a C compiler named cc");
    assert!(
        result.status.success(),
        "{output}: {}",
        String::from_utf8_lossy(&result.stderr)
    );
}

/// A directory seen through overlayfs. Unmounted when dropped.
pub struct Overlay {
    dir: TempDir,
}

impl Overlay {
    pub fn of(lower: &Path) -> Overlay {
        let dir = TempDir::new().expect("temporary directory");
        let at = dir.path();
        for part in ["upper", "work", "merged"] {
            fs::create_dir(at.join(part)).expect("directory");
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            at.join("upper").display(),
            at.join("work").display()
        );
        let status = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(at.join("merged"))
            .status()
            .expect("mount");
        assert!(status.success(), "overlayfs cannot be mounted: {status}");
        Overlay { dir }
    }

    pub fn merged(&self) -> PathBuf {
        self.dir.path().join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Lazily: the kernel may still be letting go of the last probe.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.merged())
            .status();
    }
}

/// A running program.c. Killed when dropped; kills itself after two minutes.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(mut command: Command) -> Program {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("program starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut program = Program {
            child,
            input,
            output,
        };
        assert_eq!(program.answer(), "ready");
        program
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer");
        line.trim().to_owned()
    }

    /// Calls a function `count` times; ns per call.
    pub fn call(&mut self, library: char, api: Api, stream: u64, count: i64) -> u64 {
        let input = self.input.as_mut().expect("still running");
        writeln!(input, "{library} {} {stream:x} {count}", api as u8).expect("told");
        self.answer().parse().expect("ns per call")
    }

    /// Gives it a line and waits until it has obeyed.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("still running");
        writeln!(input, "{line}").expect("told");
        assert_eq!(self.answer(), "0");
    }

    /// Gives it a line; its answer.
    pub fn ask(&mut self, line: &str) -> String {
        let input = self.input.as_mut().expect("still running");
        writeln!(input, "{line}").expect("told");
        self.answer()
    }

    /// Lets it end and reaps it.
    pub fn end(&mut self) {
        self.input = None;
        let status = self.child.wait().expect("reaped");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
