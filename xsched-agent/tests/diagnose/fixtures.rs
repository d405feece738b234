//! A runtime, shims, libraries and programs in C, compiled when the tests
//! start, and the processes that run them.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use xsched_common::Abi;
use xsched_common::note::ShimNote;

/// The real prototypes: where arguments travel matters to the observer.
const HEADER: &str = r#"
typedef struct { unsigned x, y, z; } dim3;
#define LAUNCH(name) \
    int name(const void *f, dim3 g, dim3 b, void **args, unsigned long shared, void *stream)
LAUNCH(hipLaunchKernel);
int hipGraphLaunch(void *graph, void *stream);
int hipGetDeviceCount(int *n);
static const dim3 one = {1, 1, 1};
/* How to call: 0 not at all, 1 on a created stream, 2 on the NULL stream. */
#define STREAM(call) ((void *)((call) == 1 ? 0x5000 : 0))
"#;

/// libamdhip64.so.5: one launch function under two nodes.
const RUNTIME: &str = r#"
LAUNCH(hipLaunchKernel) { return 0; }
#ifndef OLDEST
LAUNCH(hipLaunchKernel_99) { return 0; }
__asm__(".symver hipLaunchKernel_99, hipLaunchKernel@hip_99.0");
#endif
#ifndef OLDER
int hipGraphLaunch(void *g, void *s) { return 0; }
#endif
int hipGetDeviceCount(int *n) { *n = 1; return 0; }
"#;
const RUNTIME_NODES: &str = "hip_4.2 { global: hipLaunchKernel; hipGetDeviceCount; local: *; };
hip_4.3 { global: hipGraphLaunch; } hip_4.2; hip_99.0 { } hip_4.3;";

/// A release without hipGraphLaunch.
const OLDER_NODES: &str = "hip_4.2 { global: hipLaunchKernel; hipGetDeviceCount; local: *; };
hip_99.0 { } hip_4.2;";

const SHIM: &str = r#"
void *dlsym(void *, const char *);
LAUNCH(hipLaunchKernel) {
    static int (*real)(const void *, dim3, dim3, void **, unsigned long, void *);
    if (!real) real = dlsym((void *)-1L, "hipLaunchKernel");
    return real(f, g, b, args, shared, stream);
}
"#;
const SHIM_NODES: &str = "hip_4.2 { global: hipLaunchKernel; hipGetDeviceCount; local: *; };";

/// Calls the runtime as `go`, as a math library would.
const LIBRARY: &str = r#"
int go(int call) { return call ? hipLaunchKernel(go, one, one, 0, 0, STREAM(call)) : 0; }
"#;
const LIBRARY_99: &str = r#"
__asm__(".symver hipLaunchKernel, hipLaunchKernel@hip_99.0");
int go(int call) { return call ? hipLaunchKernel(go, one, one, 0, 0, STREAM(call)) : 0; }
"#;
const LIBRARY_GRAPH: &str = r#"
int go(int call) { return call ? hipGraphLaunch(0, STREAM(call)) : 0; }
"#;
/// Takes the function's address instead of calling it.
const LIBRARY_POINTER: &str = r#"
LAUNCH((*pointer)) = hipLaunchKernel;
int go(int call) { return pointer(go, one, one, 0, 0, STREAM(call)); }
"#;
/// Looks the function up on the runtime's handle, as Triton does.
const LIBRARY_HANDLE: &str = r#"
void *dlopen(const char *, int);
void *dlsym(void *, const char *);
int go(int call) {
    static LAUNCH((*pointer));
    if (!pointer) pointer = dlsym(dlopen("libamdhip64.so.5", 1), "hipLaunchKernel");
    return pointer(go, one, one, 0, 0, STREAM(call));
}
"#;

/// Looks it up wherever its dlsym finds it, as a library does that lets the
/// user choose the runtime; and keeps the address.
const LIBRARY_LOOKUP: &str = r#"
void *dlsym(void *, const char *);
void *dlopen(const char *, int);
static LAUNCH((*pointer));
int go(int call) {
    if (!pointer) pointer = dlsym(dlopen("libamdhip64.so.5", 1), "hipLaunchKernel");
    return call ? pointer(go, one, one, 0, 0, STREAM(call)) : 0;
}
"#;
/// The same of something else.
const LIBRARY_LOOKUP_OTHER: &str = r#"
void *dlsym(void *, const char *);
static int (*pointer)(int);
int go(int call) { if (!pointer) pointer = dlsym(0, "abs"); return pointer(call); }
"#;

/// Refers to a function that only another release of the runtime has, by a
/// name that says nothing, and to data of device code.
const LIBRARY_STRANGE: &str = r#"
extern int strange(void);
__asm__(".symver strange, _Z7strangev@hip_4.2");
char __hip_fatbin_1234[8];
char *fatbin(void) { return __hip_fatbin_1234; }
int go(int call) { return call > 5 ? strange() : 0; }
"#;
const RUNTIME_STRANGE: &str = r#"
int strange(void) { return 0; }
__asm__(".symver strange, _Z7strangev@@hip_4.2");
"#;

/// A shim that answers look-ups.
const SHIM_LOOKUP: &str = r#"
#define _GNU_SOURCE
void *dlvsym(void *, const char *, const char *);
LAUNCH(hipLaunchKernel) {
    static int (*real)(const void *, dim3, dim3, void **, unsigned long, void *);
    if (!real) real = dlvsym((void *)-1L, "hipLaunchKernel", "hip_4.2");
    return real(f, g, b, args, shared, stream);
}
int strcmp(const char *, const char *);
void *dlsym(void *handle, const char *name) {
    if (!strcmp(name, "hipLaunchKernel")) return hipLaunchKernel;
    static void *(*real)(void *, const char *);
    if (!real) real = dlvsym((void *)-1L, "dlsym", "GLIBC_2.2.5");
    return real(handle, name);
}
"#;

/// A runtime as of HIP 6.1: its exports go through a table.
const RUNTIME_SIX: &str = r#"
/* The table lies across the end of the file's data. */
int row(void) { return 0; }
int data = 1;
struct { unsigned long size; void *rows[474]; } hip_table;
__attribute__((constructor)) void fill(void) {
    for (int i = 0; i < 474; i++) hip_table.rows[i] = row;
    hip_table.size = sizeof hip_table;
}
LAUNCH(hipLaunchKernel) { return ((int (*)(void))hip_table.rows[214])(); }
"#;
const RUNTIME_SIX_NODES: &str = "hip_4.2 { global: hipLaunchKernel; hip_table; local: *; };";

/// Replaces an entry of the table, as profilers do.
const TOOL: &str = r#"
extern struct { unsigned long size; void *rows[474]; } hip_table;
int replacement(void) { return 0; }
int go(int call) { if (call) hip_table.rows[214] = replacement; return 0; }
"#;

/// Holds the addresses of functions of its own, with other data between.
const LIBRARY_OWN: &str = r#"
LAUNCH(hipLaunchKernel) { return 0; }
int other(void) { return 0; }
void *table[] = { &hipLaunchKernel, &other, &other, &hipLaunchKernel };
"#;

/// `program [LIBRARY HOW CALL]...`: HOW is the flags of dlopen, or -1 for
/// dlmopen. With LOOP in the environment it calls all libraries a thousand
/// times a second; with OPEN, it opens the libraries that this file lists;
/// with MAPPINGS, it makes twice as many of them;
/// with WAIT, it takes a lock or reads a FIFO at AT, as the first or the second in ROLE. Ends by itself after a minute; executes itself anew on
/// SIGUSR1.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
static char **arguments;
static void again(int signal) { execv("/proc/self/exe", arguments); }
#ifdef TAKE_ADDRESS
LAUNCH((*volatile pointer));
#endif
static void take(const char *way, int fd, pthread_mutex_t *mutex) {
    struct flock whole = {.l_type = F_WRLCK};
    char byte;
    if (!strcmp(way, "flock")) flock(fd, LOCK_EX);
    else if (!strcmp(way, "posix")) fcntl(fd, F_SETLKW, &whole);
    else if (mutex) pthread_mutex_lock(mutex);
    /* Of a FIFO, the first only holds the end that is written to. */
    else if (!strcmp(getenv("ROLE"), "second") && read(fd, &byte, 1) < 0) exit(1);
}
int main(int argc, char **argv) {
    int (*go[16])(int) = {0}, call[16], libraries = 0;
    arguments = argv;
    alarm(60);
    signal(SIGUSR1, again);
    if (getenv("MAPPINGS"))
        for (int i = 0; i < atoi(getenv("MAPPINGS")); i++) {
            /* Two that differ, so that the kernel cannot merge them. */
            char *two = mmap(0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (two == MAP_FAILED || mprotect(two, 4096, PROT_NONE)) return 1;
        }
    sigset_t set; sigemptyset(&set); sigprocmask(SIG_SETMASK, &set, 0);
#ifdef WITH_HIP
    int n;
    hipGetDeviceCount(&n);
    hipLaunchKernel(main, one, one, 0, 0, STREAM(1));
#ifdef TAKE_ADDRESS
    pointer = &hipLaunchKernel;
    pointer(main, one, one, 0, 0, STREAM(1));
#endif
#endif
#ifndef STATIC
    for (int i = 1; i + 2 < argc && libraries < 16; i += 3) {
        int how = atoi(argv[i + 1]);
        void *library = how < 0 ? dlmopen(LM_ID_NEWLM, argv[i], RTLD_LAZY) : dlopen(argv[i], how);
        if (!library) { fprintf(stderr, "%s\n", dlerror()); return 1; }
        call[libraries] = atoi(argv[i + 2]);
        go[libraries] = (int (*)(int))dlsym(library, "go");
        if (go[libraries]) { go[libraries](call[libraries]); libraries++; }
    }
    if (getenv("OPEN")) {
        char name[4096];
        FILE *list = fopen(getenv("OPEN"), "r");
        while (list && fscanf(list, "%4095s", name) == 1)
            if (!dlopen(name, RTLD_NOW)) { fprintf(stderr, "%s\n", dlerror()); return 1; }
    }
#endif
    if (getenv("FORK")) {
        /* The child, which inherits the file or opens it anew, is the one to examine. */
        int inherit = !strcmp(getenv("FORK"), "inherit");
        if (inherit) open("/dev/kfd", 0);
        if (fork()) for (;;) pause();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!inherit) open("/dev/kfd", 0);
    }
#ifndef STATIC
    /* The first holds something, or will never write; the second waits for it. */
    const char *way = getenv("WAIT");
    int first = way && !strcmp(getenv("ROLE"), "first"), fd = -1;
    pthread_mutex_t *mutex = 0;
    if (way) {
        if (strstr("fifo ownfifo", way)) mkfifo(getenv("AT"), 0600);
        /* Who waits for another cannot write itself. */
        int reader = !first && !strcmp(way, "fifo");
        fd = open(getenv("AT"), (reader ? O_RDONLY : O_RDWR) | O_CREAT, 0600);
        if (strstr("mutex inheriting", way)) {
            if (first && ftruncate(fd, 4096)) return 1;
            mutex = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        }
        if (first && mutex) {
            pthread_mutexattr_t of;
            pthread_mutexattr_init(&of);
            pthread_mutexattr_setpshared(&of, PTHREAD_PROCESS_SHARED);
            if (*way == 'i') pthread_mutexattr_setprotocol(&of, PTHREAD_PRIO_INHERIT);
            pthread_mutex_init(mutex, &of);
        }
        if (first) take(way, fd, mutex);
    }
#endif
    puts("ready");
    fflush(stdout);
#ifndef STATIC
    if (way && !first) take(way, fd, mutex);
    while (getenv("CHURN")) dlclose(dlopen("./libnow.so", RTLD_NOW));
#endif
    while (getenv("LOOP")) {
#ifdef WITH_HIP
        hipLaunchKernel(main, one, one, 0, 0, STREAM(1));
#endif
        for (int i = 0; i < libraries; i++) go[i](call[i]);
        usleep(1000);
    }
    for (;;) pause();
}
"#;

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
        let library = |source: &str, name: &str, extra: &[&str]| {
            let mut options = vec!["-shared", "-fPIC"];
            options.extend_from_slice(extra);
            set.cc(source, name, &options);
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
            set.cc(PROGRAM, name, &options);
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
        set.cc(PROGRAM, "plain", &["-ldl"]);
        set.cc(PROGRAM, "static", &["-static", "-DSTATIC"]);
        set
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
