//! Processes that use CUDA's driver library: what the same faults look like
//! there, and what only it has.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass;
use xsched_diagnose::{Files, ObservedCall, predict};

use super::*;

const LAZY: &str = "1";
const LAZY_DEEPBIND: &str = "9";
const DLMOPEN: &str = "-1";
const DRIVER: &str = "libcuda.so.1";
const SHIM: &str = "libxsched_shim_cuda.so";
const USER: [&str; 3] = ["./cuda/libuser.so", LAZY, "1"];

/// The driver's library, of which nothing is asked.
const DRIVER_SOURCE: &str = r#"
int cuLaunchKernel(void *f) { return 0; }
int cuLaunchKernel_ptsz(void *f) { return 0; }
int cuGraphLaunch(void *g, void *s) { return 0; }
int cuLaunchOfTheFuture(void) { return 0; }
"#;

/// A shim that answers look-ups.
const SHIM_SOURCE: &str = r#"
#define _GNU_SOURCE
int cuLaunchKernel(void *f) { return 0; }
int cuLaunchKernel_ptsz(void *f) { return 0; }
int cuGraphLaunch(void *g, void *s) { return 0; }
int strcmp(const char *, const char *);
void *dlvsym(void *, const char *, const char *);
void *dlsym(void *handle, const char *name) {
    if (!strcmp(name, "cuLaunchKernel")) return cuLaunchKernel;
    static void *(*real)(void *, const char *);
    if (!real) real = dlvsym((void *)-1L, "dlsym", "GLIBC_2.2.5");
    return real(handle, name);
}
"#;

/// Launches of other kinds than a library's of the driver.
const ONLY_KERNELS: &str = "int cuLaunchKernel(void *f) { return 0; }";
const USER_SOURCE: &str =
    "int cuLaunchKernel(void *); int go(int call) { return call ? cuLaunchKernel(0) : 0; }";
const PER_THREAD_SOURCE: &str = "int cuLaunchKernel_ptsz(void *); int go(int call) { return call ? cuLaunchKernel_ptsz(0) : 0; }";
const GRAPH_SOURCE: &str = "int cuGraphLaunch(void *, void *); int go(int call) { return call ? cuGraphLaunch(0, 0) : 0; }";

const FUTURE_SOURCE: &str =
    "int cuLaunchOfTheFuture(void); int go(int call) { return call ? cuLaunchOfTheFuture() : 0; }";

/// As libcudart does: it opens the driver and keeps what it looks up.
const LOOKUP_SOURCE: &str = r#"
void *dlsym(void *, const char *);
void *dlopen(const char *, int);
static int (*pointer)(void *);
int go(int call) {
    if (!pointer) pointer = dlsym(dlopen("libcuda.so.1", 1), "cuLaunchKernel");
    return call ? pointer(0) : 0;
}
"#;

/// Connects as a client of the sharing server does, and stays.
const CLIENT_SOURCE: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int cuLaunchKernel(void *);
int main(int argc, char **argv) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    alarm(60);
    if (argc > 1) {
        strcpy(at.sun_path, argv[1]);
        if (connect(fd, (struct sockaddr *)&at, sizeof at)) return perror("connect"), 1;
    }
    cuLaunchKernel(0);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
"#;

/// The set with CUDA's files in a folder of their own.
fn set() -> &'static xsched_testkit::planted::Fixtures {
    static MADE: OnceLock<()> = OnceLock::new();
    let set = fixtures();
    MADE.get_or_init(|| {
        let library = |source: &str, name: &str, extra: &[&str]| {
            let options = [&["-shared", "-fPIC", "-Wl,-rpath,$ORIGIN"], extra].concat();
            set.cc(source, &format!("cuda/{name}"), &options);
        };
        let named = format!("-Wl,-soname,{DRIVER}");
        let driver = format!("cuda/{DRIVER}");
        library(DRIVER_SOURCE, DRIVER, &[&named]);
        library(DRIVER_SOURCE, &format!("copy/{DRIVER}"), &[&named]);
        library(SHIM_SOURCE, SHIM, &[]);
        for name in ["libshimcuda.so", "libvgpu.so", "libnvshare.so"] {
            library(ONLY_KERNELS, name, &[]);
        }
        for (source, name) in [
            (USER_SOURCE, "libuser.so"),
            (USER_SOURCE, "libnccl.so.2"),
            (PER_THREAD_SOURCE, "libperthread.so"),
            (GRAPH_SOURCE, "libgraph.so"),
            (FUTURE_SOURCE, "libfuture.so"),
        ] {
            library(source, name, &[&driver]);
        }
        library(LOOKUP_SOURCE, "liblookup.so", &[]);
        let found = "-Wl,-rpath,$ORIGIN";
        set.cc(CLIENT_SOURCE, "cuda/client", &[&driver, found]);
    });
    set
}

fn file(name: &str) -> String {
    set().text(&format!("cuda/{name}"))
}

/// A program that opens `library`, under these files of the set.
fn start(preloads: &[&str], library: [&str; 3]) -> Process {
    let preloads: Vec<String> = preloads.iter().map(|name| file(name)).collect();
    let preload = (!preloads.is_empty()).then(|| preloads.join(":"));
    set().start("plain", preload.as_deref(), &library)
}

fn call(library: &str, api: &str, stream: StreamClass, route: CallRoute) -> ObservedCall {
    ObservedCall {
        object: file(library),
        api: api.into(),
        stream,
        route,
        count: 100,
    }
}

fn with_calls(process: &Process, calls: &[ObservedCall]) -> Report {
    let observed = || {
        Ok(Observed {
            duration: Duration::from_secs(1),
            calls: calls.to_vec(),
            limits: Vec::new(),
        })
    };
    examine_with(process.pid(), observed).expect("it can be examined")
}

#[test]
fn a_program_without_the_shim() {
    let report = examine(&start(&[], USER));
    let evidence = only(&report, "shim-not-loaded", Severity::Error);
    assert!(
        evidence.contains("libuser.so: 1 launch function"),
        "{evidence}"
    );
    let runtimes: Vec<&str> = report.runtimes.iter().map(|path| base(path)).collect();
    assert_eq!(runtimes, [DRIVER]);
    let fix = &report.findings[0].fix;
    assert!(fix.contains(SHIM), "{fix}");
}

#[test]
fn a_program_under_its_shim() {
    for library in [
        USER,
        ["./cuda/libperthread.so", LAZY, "1"],
        ["./cuda/libgraph.so", LAZY, "1"],
        ["./cuda/liblookup.so", LAZY, "1"],
    ] {
        let report = examine(&start(&[SHIM], library));
        assert_eq!(codes(&report), [], "{report}");
        assert_eq!(report.shim.as_deref().map(base), Some(SHIM));
    }
}

/// One shim for each platform: the other's does not take the launches.
#[test]
fn a_program_under_another_platforms_shim() {
    let hips = set().text("libxsched_shim.so");
    let report = examine(&set().start("plain", Some(&hips), &USER));
    let errors = codes(&report).iter().any(|(_, s)| *s == Severity::Error);
    assert!(errors, "{report}");
}

/// Two platforms in one process, each under its shim, as `run` preloads both.
#[test]
fn a_program_of_two_platforms() {
    let both = [set().text("libxsched_shim.so"), file(SHIM)].join(":");
    let libraries = ["./libnow.so", LAZY, "0", USER[0], USER[1], USER[2]];
    let report = examine(&set().start("plain", Some(&both), &libraries));
    assert_eq!(codes(&report), [], "{report}");
    assert_eq!(report.runtimes.len(), 2, "{report}");
    // Without, both are said to run unscheduled.
    let report = examine(&set().start("plain", None, &libraries));
    let evidence = only(&report, "shim-not-loaded", Severity::Error);
    for library in ["libuser.so: 1 launch", "libnow.so: 1 launch"] {
        assert!(evidence.contains(library), "{evidence}");
    }
}

#[test]
fn a_static_program() {
    let report = examine(&set().start("static", Some(&file(SHIM)), &[]));
    let evidence = only(&report, "static-binary", Severity::Error);
    assert!(evidence.contains("no interpreter"), "{evidence}");
    let fix = &report.findings[0].fix;
    assert!(fix.contains("libcuda.so"), "{fix}");
}

/// Forked from one that had opened the device, as CUDA forbids.
fn forked(program: &str, how: &str) -> (Process, u32) {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c"]).arg(format!(
        "mount -t tmpfs none /dev && touch /dev/nvidia-uvm && DEVICE=/dev/nvidia-uvm FORK={how} \
         LD_PRELOAD={} exec ./{program} {}",
        file(SHIM),
        USER.join(" ")
    ));
    let process = set().spawn(command);
    let children = format!("/proc/{0}/task/{0}/children", process.pid());
    let children = std::fs::read_to_string(children).expect("it lives");
    let child = children.trim().parse().expect("one child");
    (process, child)
}

#[test]
fn a_child_of_a_fork_that_uses_what_its_parent_had_opened() {
    if !is_root("making a mount namespace") {
        return;
    }
    let calls = [call(
        "libuser.so",
        "cuLaunchKernel",
        StreamClass::Created,
        CallRoute::Shim,
    )];
    let report = |child: u32| {
        let observed = || {
            Ok(Observed {
                duration: Duration::from_secs(1),
                calls: calls.to_vec(),
                limits: Vec::new(),
            })
        };
        examine_with(child, observed).expect("it can be examined")
    };
    let (_parent, child) = forked("plain", "inherit");
    let found = report(child);
    let evidence = only(&found, "fork-after-init", Severity::Error);
    assert!(evidence.contains("of CUDA functions"), "{evidence}");
    let (_parent, child) = forked("plain", "anew");
    assert_eq!(codes(&report(child)), []);
    // A static program that holds the device is known by that.
    let (_parent, child) = forked("static", "anew");
    let found = examine_with(child, || Err("not asked".into())).expect("it uses the device");
    let evidence = only(&found, "static-binary", Severity::Error);
    assert!(evidence.contains("it holds /dev/nvidia-uvm"), "{evidence}");
}

#[test]
fn a_library_that_is_bound_past_the_shim() {
    let user = |how| ["./cuda/libuser.so", how, "1"];
    let report = examine(&start(&[SHIM], user(LAZY_DEEPBIND)));
    let evidence = only(&report, "binding-bypass", Severity::Error);
    assert!(evidence.contains("RTLD_DEEPBIND"), "{evidence}");
    // In a namespace of its own it has a driver of its own, and no shim.
    let report = examine(&start(&[SHIM], user(DLMOPEN)));
    only(&report, "namespace-bypass", Severity::Error);
}

#[test]
fn look_ups_past_the_shim() {
    let lookup = |how| ["./cuda/liblookup.so", how, "1"];
    let report = examine(&start(&[SHIM], lookup(LAZY_DEEPBIND)));
    let evidence = only(&report, "lookup-bypass", Severity::Error);
    assert!(
        evidence.contains("holds the address of cuLaunchKernel"),
        "{evidence}"
    );
    // There is no table behind the driver's exports that strict mode could gate in.
    let fix = &report.findings[0].fix;
    assert!(!fix.contains("XSCHED_STRICT"), "{fix}");
    assert!(fix.contains("without RTLD_DEEPBIND"), "{fix}");
    // One that no reference and no data explains.
    let process = start(&[SHIM], USER);
    let direct = call(
        "libuser.so",
        "cuLaunchKernel",
        StreamClass::Created,
        CallRoute::Direct,
    );
    let report = with_calls(&process, &[direct]);
    let evidence = only(&report, "observed-bypass", Severity::Error);
    assert!(evidence.contains("cuGetProcAddress"), "{evidence}");
    // A shim that the program opens itself comes after the look-up.
    let late = file(SHIM);
    let libraries = [&lookup(LAZY)[..], &[late.as_str(), LAZY, "0"]].concat();
    let report = examine(&set().start("plain", None, &libraries));
    let codes = codes(&report);
    assert!(
        codes.contains(&("lookup-bypass", Severity::Error)),
        "{report}"
    );
}

#[test]
fn a_private_copy_of_the_driver_library() {
    let copy = file(&format!("copy/{DRIVER}"));
    let libraries = [&USER[..], &[copy.as_str(), LAZY, "0"]].concat();
    let report = examine(&set().start("plain", Some(&file(SHIM)), &libraries));
    let evidence = only(&report, "several-runtimes", Severity::Warning);
    assert!(evidence.contains("copy/libcuda.so.1"), "{evidence}");
    let title = &report.findings[0].title;
    assert!(title.contains("2 copies of the CUDA runtime"), "{title}");
}

#[test]
fn default_streams_under_each_shim() {
    let on = |shim: &str, api, stream| {
        let process = start(&[shim], USER);
        let calls = [call("libuser.so", api, stream, CallRoute::Shim)];
        with_calls(&process, &calls)
    };
    let report = on("libshimcuda.so", "cuLaunchKernel", StreamClass::Null);
    let evidence = only(&report, "default-stream", Severity::Error);
    assert!(
        evidence.contains("libshimcuda.so is XSched's shim: it makes a queue for a stream when"),
        "{evidence}"
    );
    let fix = &report.findings[0].fix;
    assert!(fix.contains(SHIM), "{fix}");
    let ours = on(SHIM, "cuLaunchKernel", StreamClass::Null);
    only(&ours, "default-stream", Severity::Info);
    // The default stream of a thread is a stream like any other.
    let per_thread = on(SHIM, "cuLaunchKernel_ptsz", StreamClass::PerThread);
    assert_eq!(codes(&per_thread), [], "{per_thread}");
    // Both in turn serialise.
    let process = start(&[SHIM], USER);
    let mixed = [StreamClass::Null, StreamClass::Created]
        .map(|stream| call("libuser.so", "cuLaunchKernel", stream, CallRoute::Shim));
    let report = with_calls(&process, &mixed);
    let found = report.findings.iter().find(|f| f.code == "legacy-stream");
    let fix = &found.expect("they serialise").fix;
    assert!(fix.contains("--default-stream per-thread"), "{fix}");
}

#[test]
fn graphs_under_a_shim_that_knows_none() {
    let graph = ["./cuda/libgraph.so", LAZY, "1"];
    let report = examine(&start(&["libshimcuda.so"], graph));
    let evidence = only(&report, "api-not-covered", Severity::Error);
    assert!(evidence.contains("cuGraphLaunch"), "{evidence}");
}

#[test]
fn a_function_that_is_newer_than_the_table_is_named() {
    let report = examine(&start(&[SHIM], ["./cuda/libfuture.so", LAZY, "1"]));
    let evidence = only(&report, "unknown-function", Severity::Info);
    assert!(
        evidence.contains("libfuture.so refers to cuLaunchOfTheFuture"),
        "{evidence}"
    );
}

#[test]
fn collectives_pass_on_purpose() {
    let report = examine(&start(&[SHIM], ["./cuda/libnccl.so.2", LAZY, "1"]));
    let evidence = only(&report, "passthrough", Severity::Info);
    assert!(
        evidence.contains("libxsched_shim_cuda.so lets NCCL's collectives pass"),
        "{evidence}"
    );
}

#[test]
fn interposers_of_others_are_known_by_their_names() {
    for (file, owner) in [("libvgpu.so", "HAMi"), ("libnvshare.so", "nvshare")] {
        let report = examine(&start(&[SHIM, file], USER));
        let evidence = only(&report, "other-interposer", Severity::Warning);
        assert!(evidence.contains(&format!("{owner}'s, it ")), "{evidence}");
        let title = &report.findings[0].title;
        assert!(title.starts_with(&format!("{file} of {owner}")), "{title}");
        // Before ours, it receives the launches; without ours, that is said, too.
        let report = examine(&start(&[file, SHIM], USER));
        let evidence = only(&report, "other-interposer", Severity::Warning);
        assert!(
            evidence.contains("1 reference to launch functions leads to it"),
            "{evidence}"
        );
        let report = examine(&start(&[file], USER));
        assert_eq!(
            codes(&report),
            [
                ("shim-not-loaded", Severity::Error),
                ("other-interposer", Severity::Warning)
            ],
            "{report}"
        );
    }
}

#[test]
fn a_client_of_the_sharing_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let path = directory.path().to_str().expect("UTF-8").to_owned();
    let client = |named: Option<&str>, connects: bool| {
        let mut command = Command::new(file("client"));
        command.env("LD_PRELOAD", file(SHIM));
        if let Some(directory) = named {
            command.env("CUDA_MPS_PIPE_DIRECTORY", directory);
        }
        command.env("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "25");
        if connects {
            command.arg(at("control"));
        }
        set().spawn(command)
    };
    // It is to be one, and nobody is there.
    let report = examine(&client(Some(&path), false));
    let evidence = only(&report, "sharing-server", Severity::Info);
    assert!(evidence.contains("no socket listens in"), "{evidence}");
    let listener = UnixListener::bind(at("control")).expect("bound");
    let report = examine(&client(Some(&path), false));
    only(&report, "sharing-server", Severity::Info);
    let title = &report.findings[0].title;
    assert!(title.contains("has not connected yet"), "{title}");
    let process = client(Some(&path), true);
    let _server = listener.accept().expect("it connects");
    let report = examine(&process);
    let evidence = only(&report, "sharing-server", Severity::Info);
    let title = &report.findings[0].title;
    assert!(title.contains("is a client of MPS"), "{title}");
    for part in [
        "one of its sockets is connected",
        "CUDA_MPS_PIPE_DIRECTORY=",
        "PERCENTAGE=25",
    ] {
        assert!(evidence.contains(part), "{part}: {evidence}");
    }
    // One that has nothing to do with it.
    let twin = examine(&client(None, false));
    assert_eq!(codes(&twin), [], "{twin}");
}

/// What is foretold of files is what a process of them does.
#[test]
fn predictions_agree() {
    let paths = |names: &[&str]| names.iter().map(|name| PathBuf::from(file(name))).collect();
    for (shim, library) in [
        (None, "libuser.so"),
        (Some(SHIM), "libuser.so"),
        (Some(SHIM), "libgraph.so"),
        (Some("libshimcuda.so"), "libgraph.so"),
        (Some(SHIM), "libperthread.so"),
    ] {
        let shims: Vec<&str> = shim.into_iter().collect();
        let real = examine(&start(&shims, [&file(library), "2", "1"]));
        let predicted = predict(&Files {
            program: Some(set().path("plain")),
            shims: paths(&shims),
            libraries: paths(&[library]),
            ..Files::default()
        });
        let predicted = checked(predicted.expect("it can be predicted"));
        assert_eq!(codes(&predicted), codes(&real), "{shim:?} {library}");
        let bound = |report: &Report| -> Vec<(String, String, String)> {
            let rows = report.bindings.iter();
            rows.map(|b| (b.object.clone(), b.symbol.clone(), b.bound_to.clone()))
                .collect()
        };
        assert_eq!(bound(&predicted), bound(&real), "{shim:?} {library}");
    }
    // A program that is linked with the driver.
    let predicted = predict(&Files {
        program: Some(PathBuf::from(file("client"))),
        shims: paths(&[SHIM]),
        ..Files::default()
    });
    let predicted = checked(predicted.expect("it can be predicted"));
    assert_eq!(codes(&predicted), [], "{predicted}");
}
