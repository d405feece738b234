//! A runtime, shims, libraries and programs in C with planted faults, compiled
//! when the tests start, and the processes that run them.

mod sources;

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use xsched_common::Abi;
use xsched_common::elf_note::ShimNote;

use sources::*;

/// Something to compile.
struct Job {
    source: String,
    name: String,
    options: Vec<String>,
}

impl Job {
    fn new(source: &str, name: &str, options: &[&str]) -> Job {
        Job {
            source: source.to_owned(),
            name: name.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        }
    }

    /// Whether it is linked with libraries of the set.
    fn needs_others(&self) -> bool {
        let options = self.options.iter();
        let mut linked = options.filter(|option| !option.starts_with('-'));
        linked.any(|option| option.contains(".so"))
    }
}

/// The compiled files.
pub struct Fixtures {
    directory: tempfile::TempDir,
}

static SET: OnceLock<Fixtures> = OnceLock::new();

/// All tests share one set.
pub fn fixtures() -> &'static Fixtures {
    SET.get_or_init(|| {
        // SAFETY: `remove` is a function of this program and takes nothing.
        unsafe { libc::atexit(remove) };
        Fixtures::build()
    })
}

/// Statics are never dropped.
extern "C" fn remove() {
    if let Some(set) = SET.get() {
        let _ = std::fs::remove_dir_all(set.directory.path());
    }
}

impl Fixtures {
    fn build() -> Fixtures {
        let directory = tempfile::Builder::new()
            .prefix("xsched-diagnose-")
            .tempdir()
            .expect("a temporary directory");
        let set = Fixtures { directory };
        set.write("hip.h", HEADER);
        set.write("runtime.map", RUNTIME_NODES);
        set.write("older.map", OLDER_NODES);
        set.write("shim.map", SHIM_NODES);
        let jobs = RefCell::new(Vec::new());
        let library = |source: &str, name: &str, extra: &[&str]| {
            let mut options = vec!["-shared", "-fPIC"];
            options.extend_from_slice(extra);
            jobs.borrow_mut().push(Job::new(source, name, &options));
        };
        let runtime = [
            "-Wl,-soname,libamdhip64.so.5",
            "-Wl,--version-script=runtime.map",
        ];
        library(RUNTIME, "libamdhip64.so.5", &runtime);
        library(RUNTIME, "copy/libamdhip64.so.5", &runtime);
        let older = [runtime[0], "-DOLDER", "-Wl,--version-script=older.map"];
        library(RUNTIME, "older/libamdhip64.so.5", &older);
        let oldest = [
            runtime[0],
            "-DOLDER",
            "-DOLDEST",
            "-Wl,--version-script=shim.map",
        ];
        library(RUNTIME, "oldest/libamdhip64.so.5", &oldest);
        library("", "absent/libabsent.so.5", &["-Wl,-soname,libabsent.so.5"]);
        let versioned = ["-Wl,--version-script=shim.map"];
        library(SHIM, "libxsched_shim.so", &versioned);
        library(SHIM, "libshimhip.so", &versioned);
        library(SHIM, "libhalhip.so", &versioned);
        library(SHIM, "libmine.so", &[]);
        let with_graphs = format!("{SHIM}int hipGraphLaunch(void *g, void *s) {{ return 0; }}");
        library(&with_graphs, "graphs/libxsched_shim.so", &[]);
        let only_99 = "LAUNCH(launch_99) { return 0; }
            __asm__(\".symver launch_99, hipLaunchKernel@@hip_99.0\");";
        set.write(
            "only99.map",
            "hip_99.0 { global: hipLaunchKernel; local: *; };",
        );
        let wrong_node = ["-Wl,--version-script=only99.map"];
        library(only_99, "wrong/libshimhip.so", &wrong_node);
        // Shims that say their ABI: of this release, and of another.
        let note = |directory: &str, note: ShimNote| {
            let bytes = note.encode().map(|byte| byte.to_string()).join(",");
            let source = format!(
                "{SHIM}\n__asm__(\".section .note.xsched,\\\"a\\\",@note; .p2align 2; .byte {bytes}; .previous\");"
            );
            library(
                &source,
                &format!("{directory}/libxsched_shim.so"),
                &versioned,
            );
        };
        note("noted", ShimNote::of_this_build());
        let foreign = Abi {
            major: 99,
            minor: 0,
        };
        note("abi99", ShimNote::new(foreign, "9.9.9"));
        let hip = ["libamdhip64.so.5", "-Wl,-rpath,.", "-Wl,-z,lazy"];
        let now = ["libamdhip64.so.5", "-Wl,-rpath,.", "-Wl,-z,now"];
        let no_plt = ["libamdhip64.so.5", "-Wl,-rpath,.", "-fno-plt"];
        library(LIBRARY, "liblazy.so", &hip);
        library(LIBRARY, "libnow.so", &now);
        library(LIBRARY, "libnoplt.so", &no_plt);
        let lonely = [
            "libamdhip64.so.5",
            "-Wl,--no-as-needed",
            "absent/libabsent.so.5",
        ];
        library(LIBRARY, "lonely/libnow.so", &lonely);
        library(LIBRARY_99, "liblazy99.so", &hip);
        library(LIBRARY_99, "libnow99.so", &now);
        library(LIBRARY_GRAPH, "libgraph.so", &now);
        library(LIBRARY_POINTER, "libpointer.so", &now);
        library(LIBRARY_HANDLE, "libhandle.so", &[]);
        library(LIBRARY_LOOKUP, "liblookup.so", &[]);
        library(LIBRARY, "librccl.so.1", &hip);
        library(LIBRARY_LOOKUP_OTHER, "libother.so", &[]);
        library(SHIM_LOOKUP, "lookup/libxsched_shim.so", &[]);
        set.write("strange.map", "hip_4.2 { global: _Z7strangev; local: *; };");
        let strange = [runtime[0], "-Wl,--version-script=strange.map"];
        library(RUNTIME_STRANGE, "strange/libamdhip64.so.5", &strange);
        let on_strange = ["strange/libamdhip64.so.5", "-Wl,-z,lazy"];
        library(LIBRARY_STRANGE, "libstrange.so", &on_strange);
        set.write("six.map", RUNTIME_SIX_NODES);
        let six = [
            "-Wl,-soname,libamdhip64.so.6",
            "-Wl,--version-script=six.map",
        ];
        library(RUNTIME_SIX, "libamdhip64.so.6", &six);
        let on_six = ["libamdhip64.so.6", "-Wl,-rpath,.", "-Wl,-z,now"];
        library(LIBRARY, "libonsix.so", &on_six);
        library(TOOL, "libtool.so", &on_six);
        let strict = ["libamdhip64.so.6", "-Wl,-rpath,."];
        library(TOOL, "strict/libxsched_shim.so", &strict);
        let own = ["-Wl,-Bsymbolic"];
        library(LIBRARY_OWN, "libown.so", &own);
        let packed = ["-Wl,-Bsymbolic", "-Wl,-z,pack-relative-relocs"];
        library(LIBRARY_OWN, "libpacked.so", &packed);
        let program = |name: &str, extra: &[&str]| {
            let mut options = vec!["-DWITH_HIP"];
            options.extend_from_slice(extra);
            options.extend_from_slice(&["-ldl", "libamdhip64.so.5"]);
            jobs.borrow_mut().push(Job::new(PROGRAM, name, &options));
        };
        let rpath = format!("-Wl,-rpath,{}", set.directory.path().display());
        program("program", &[&rpath]);
        program("rpath", &[&rpath, "-Wl,--disable-new-dtags"]);
        program(
            "fixed",
            &[
                "-no-pie",
                "-fno-pic",
                "-DTAKE_ADDRESS",
                "-Wl,-z,lazy",
                &rpath,
            ],
        );
        let (mut first, mut then) = (Vec::new(), jobs.into_inner());
        then.push(Job::new(PROGRAM, "plain", &["-ldl"]));
        then.push(Job::new(PROGRAM, "static", &["-static", "-DSTATIC"]));
        // What others are linked with.
        first.extend(then.extract_if(.., |job| !job.needs_others()));
        set.compile(&first);
        set.compile(&then);
        set
    }

    /// All at once: all tests wait for them.
    fn compile(&self, jobs: &[Job]) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Relaxed)) {
                let options: Vec<&str> = job.options.iter().map(String::as_str).collect();
                self.cc(&job.source, &job.name, &options);
            }
        };
        std::thread::scope(|scope| {
            let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
    }

    /// The path of a file of the set.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// Lets other users reach the files.
    pub fn open_to_all(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.directory.path(), open).expect("ours");
    }

    /// A file with this content.
    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("writable");
    }

    /// Compiles C.
    pub fn cc(&self, source: &str, name: &str, options: &[&str]) {
        let input = format!("{}.c", name.replace('/', "_"));
        self.write(&input, source);
        if let Some(parent) = Path::new(name).parent() {
            std::fs::create_dir_all(self.path("").join(parent)).expect("writable");
        }
        let output = Command::new("cc")
            .current_dir(self.directory.path())
            .args(["-O2", "-w", "-include", "hip.h", "-o", name, &input])
            .args(options)
            .output()
            .expect("a C compiler: apt-get install gcc");
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts a program of the set.
    pub fn start(&self, program: &str, preload: Option<&str>, arguments: &[&str]) -> Process {
        let mut command = Command::new(self.path(program));
        command.args(arguments);
        if let Some(preload) = preload {
            command.env("LD_PRELOAD", preload);
        }
        self.spawn(command)
    }

    /// Starts a program that goes on launching.
    pub fn start_loop(&self, program: &str, preload: Option<&str>, arguments: &[&str]) -> Process {
        let mut command = Command::new(self.path(program));
        command.args(arguments).env("LOOP", "1");
        if let Some(preload) = preload {
            command.env("LD_PRELOAD", preload);
        }
        self.spawn(command)
    }

    /// Starts `command` in the set's directory and waits until it is ready.
    pub fn spawn(&self, mut command: Command) -> Process {
        command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: prctl is async-signal-safe and touches only the child.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        // The program's own alarm ends the wait if it hangs.
        let mut stdout = BufReader::new(stdout);
        let _ = stdout.read_line(&mut line);
        if line != "ready\n" {
            let output = child.wait_with_output().expect("it ended");
            panic!("not ready: {}", String::from_utf8_lossy(&output.stderr));
        }
        Process {
            child,
            _stdout: stdout,
        }
    }
}

/// A running program, killed when it goes out of scope.
pub struct Process {
    child: Child,
    /// Open, so that a program that executes itself can say so again.
    _stdout: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and reaps it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill has no memory effects; the pid is a child's, not reaped yet.
        unsafe { libc::kill(self.pid() as i32, signal) };
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
