//! Programs with known calls: a runtime, two libraries and a program, compiled
//! into a directory of their own, and the program's remote control.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::{built, c_sources};

/// Functions that library.c can call, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `hipLaunchKernel`.
    Launch = 0,
    /// `hipModuleLaunchKernel`.
    ModuleLaunch = 1,
    /// `hipExtLaunchKernel`.
    ExtLaunch = 2,
    /// `hipLaunchKernelExC`.
    LaunchExC = 3,
    /// LaunchExC with a configuration that cannot be read.
    BadPointer = 4,
    /// `hipMemcpyAsync`.
    CopyAsync = 5,
    /// `hipStreamSynchronize`.
    StreamWait = 6,
    /// `hipDeviceSynchronize`.
    DeviceWait = 7,
    /// `hipEventSynchronize`, which takes as many milliseconds as the stream's handle says.
    SlowWait = 8,
}

impl Api {
    /// The function's exported name.
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
    /// Nothing.
    Nothing,
    /// The fake shim.
    Shim,
}

/// The compiled files.
pub struct Fixture {
    dir: TempDir,
}

impl Fixture {
    /// Compiles them.
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

    /// Where they are.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the program.
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
    /// preloaded, which may find an agent in `run_dir`. It can wait there; its
    /// launches are no kernels.
    pub fn start_on_hipsim(&self, preload: Option<&Path>, run_dir: &Path) -> Program {
        let hip = self.path().join("hip");
        hipsim::install::install(&built("libhipsim.so"), &hip).expect("installed");
        let mut command = Command::new(self.path().join("program"));
        command
            .env("LD_LIBRARY_PATH", &hip)
            .env("HIPSIM_DEVICE", self.path().join("device"))
            .env("XSCHED_RUN_DIR", run_dir);
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

fn cc(dir: &Path, flags: &[&str], kind: &[&str], source: &str, output: &str, libraries: &[&str]) {
    let source = c_sources().join(source);
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

    /// Its pid.
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
