//! AMD's own runtimes, where they were provided, seen from outside: observer, recording and diagnosis of a program in a mount
//! namespace of its own, as a container's are.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use simdevice::code::{self, Kernel};
use xsched_testkit::{Agent, built, wait_for};

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Runtimes that are here; those that are not are said loudly, and counted.
fn provided() -> Vec<&'static str> {
    let target = Path::new(XTASK).parent().and_then(Path::parent);
    let cache = target.expect("the target folder").join("real-runtime");
    let (here, missing): (Vec<_>, Vec<_>) =
        [("real-6.4", "real-6.4.3"), ("real-7.2", "real-7.2.4")]
            .into_iter()
            .partition(|(_, folder)| cache.join(folder).join("usr").exists());
    for (name, _) in &missing {
        println!("LEFT OUT: {name} is not provided (cargo xtask provision real-runtime)");
    }
    if !missing.is_empty() {
        println!("LEFT OUT: {} of 2 runtimes", missing.len());
    }
    here.into_iter().map(|(name, _)| name).collect()
}

/// The batch program on a runtime, which launches without end.
struct Batch {
    child: Child,
    dir: tempfile::TempDir,
}

impl Batch {
    fn start(runtime: &str, shim: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let kernels = [Kernel {
            name: "batch_kernel",
            arguments: &[8],
        }];
        let bundle = dir.path().join("kernels.bundle");
        std::fs::write(&bundle, code::bundle(&["gfx942"], &kernels)).expect("written");
        let mut command = Command::new(XTASK);
        command.args(["on", runtime, "--"]);
        if shim {
            let preload = format!("LD_PRELOAD={}", built("libxsched_shim.so").display());
            command.args(["env", &preload]);
        }
        command
            .arg(built("hipsim-batch"))
            .env("HIPSIM_CODE", bundle)
            .env("HIPSIM_DEVICE", dir.path().join("device"))
            .env("HIPSIM_KERNELS", "batch*=300us")
            .env("XSCHED_RUN_DIR", dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.spawn().expect("starts");
        let batch = Self { child, dir };
        batch.wait_until_it_launches();
        batch
    }

    /// `xtask on` becomes the program, which maps the runtime and makes a device.
    fn wait_until_it_launches(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.dir.path().join("device").exists() {
            assert!(Instant::now() < deadline, "no launch within a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(300));
    }

    fn agent(&self, arguments: &[&str]) -> Value {
        let out = Command::new(built("xsched-agent"))
            .args(arguments)
            .args(["--pid", &self.child.id().to_string(), "--json"])
            .env("XSCHED_RUN_DIR", self.dir.path())
            .output()
            .expect("the agent starts");
        serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Codes of a diagnosis.
fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    findings
        .iter()
        .filter_map(|finding| finding["code"].as_str())
        .collect()
}

/// Whether the program's launches are bound to this file.
fn launches_go_to(report: &Value, file: &str) -> bool {
    let bindings = report["bindings"].as_array().expect("bindings");
    let mut launches = bindings
        .iter()
        .filter(|binding| binding["symbol"] == "hipModuleLaunchKernel");
    launches.any(|binding| {
        let to = binding["bound_to"].as_str().unwrap_or_default();
        to.contains(file)
    })
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("LEFT OUT: needs root for BPF");
    }
    root
}

#[test]
fn calls_of_a_real_runtime_are_recorded_whole() {
    if !is_root() {
        return;
    }
    for runtime in provided() {
        for shim in [false, true] {
            let batch = Batch::start(runtime, shim);
            let trace = batch.dir.path().join("trace");
            let trace = trace.to_str().expect("text");
            let summary = batch.agent(&["record", "-o", trace, "--duration", "1s"]);
            let launches = summary["launches"].as_u64().expect("launches");
            assert!(launches > 500, "{runtime}, shim {shim}: {summary}");
            assert_eq!(summary["lost"], 0, "{runtime}, shim {shim}: {summary}");
        }
    }
}

#[test]
fn a_diagnosis_reads_a_real_runtimes_program() {
    if !is_root() {
        return;
    }
    for runtime in provided() {
        let batch = Batch::start(runtime, true);
        let report = batch.agent(&["diagnose", "--duration", "1"]);
        assert!(codes(&report).is_empty(), "{runtime}: {report}");
        assert!(launches_go_to(&report, "libxsched_shim.so"), "{report}");
        drop(batch);
        let batch = Batch::start(runtime, false);
        let report = batch.agent(&["diagnose", "--duration", "1"]);
        assert_eq!(codes(&report), ["shim-not-loaded"], "{runtime}: {report}");
        assert!(launches_go_to(&report, "libamdhip64.so"), "{report}");
    }
}

/// A profiler's wrappers in the real dispatch table, before the shim's and behind them: all see each launch, which the gate
/// counts once, and the device runs once.
#[test]
fn profilers_in_a_real_runtimes_table_stay_in_the_chain() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (profiler, code, counts) = (
        dir.path().join("profiler"),
        dir.path().join("code"),
        dir.path().join("counts"),
    );
    let kernels = [Kernel {
        name: "k",
        arguments: &[],
    }];
    std::fs::write(&code, code::bundle(&["gfx942"], &kernels)).expect("written");
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xsched-shim/tests/programs");
    let mut cc = Command::new("cc");
    cc.arg("-I").arg(&programs).arg(programs.join("profiler.c"));
    let compiled = cc.arg("-o").arg(&profiler).status().expect("cc starts");
    assert!(compiled.success());
    for runtime in provided() {
        let soname = match runtime {
            "real-6.4" => "libamdhip64.so.6",
            _ => "libamdhip64.so.7",
        };
        for (when, expected) in [
            ("before", "0 5 0\n"),
            ("after", "0 0 5\n"),
            ("both", "0 5 5\n"),
        ] {
            let agent = Agent::start();
            let _ = std::fs::remove_file(&counts);
            let preload = format!("LD_PRELOAD={}", built("libxsched_shim.so").display());
            let mut command = Command::new(XTASK);
            command
                .args(["on", runtime, "--", "env", &preload])
                .arg(&profiler)
                .arg(Path::new("/usr/lib/x86_64-linux-gnu").join(soname))
                .arg(when)
                .arg(&code)
                .env("XSCHED_STRICT", "1")
                .env("XSCHED_RUN_DIR", &agent.run_dir.0)
                .env("HIPSIM_DEVICE", dir.path().join("device"))
                .env("HIPSIM_COUNTS", &counts)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            let mut child = command.spawn().expect("starts");
            let mut said = String::new();
            let out = child.stdout.take().expect("piped");
            BufReader::new(out).read_line(&mut said).expect("a line");
            // The agent looks twice a second.
            let launches = || agent.row(child.id())["launches"].as_u64();
            wait_for("its launches are counted", || launches() >= Some(5));
            let launches = launches();
            drop(child.stdin.take());
            assert!(child.wait().expect("ends").success(), "{runtime} {when}");
            assert_eq!(said, expected, "{runtime} {when}");
            assert_eq!(launches, Some(5), "{runtime} {when}");
            let counted = std::fs::read(&counts).expect("counts");
            let kernels = u64::from_ne_bytes(counted[..8].try_into().expect("8 bytes"));
            assert_eq!(kernels, 5, "{runtime} {when}");
        }
    }
}

/// What `xtask` says without a network, with another target folder; none where that cannot be tried.
fn without_a_network(target: &Path, arguments: &[&str]) -> Option<std::process::Output> {
    let out = Command::new("unshare")
        .args(["--net", XTASK])
        .args(arguments)
        .env("CARGO_TARGET_DIR", target)
        .env("XTASK_BUILT", "1")
        .output()
        .expect("unshare starts");
    let said = String::from_utf8_lossy(&out.stderr);
    if said.contains("unshare:") || said.contains("apt has no Debian source") {
        println!("LEFT OUT: no network namespace, or not on Debian: {said}");
        return None;
    }
    Some(out)
}

#[test]
fn without_a_network_one_line_says_so_and_nothing_is_unpacked() {
    if !is_root() {
        return;
    }
    let provision = ["provision", "real-runtime", "--runtime", "real-7.2"];
    let stack = ["conformance", "--tier", "stack", "--runtime", "real-7.2"];
    for arguments in [&provision[..], &stack] {
        let target = tempfile::tempdir().expect("a folder");
        let Some(out) = without_a_network(target.path(), arguments) else {
            return;
        };
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{said}");
        let errors: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("xtask:"))
            .collect();
        assert_eq!(errors.len(), 1, "{said}");
        assert!(errors[0].contains("without a network"), "{said}");
        let unpacked = target.path().join("real-runtime/real-7.2.4");
        assert!(!unpacked.exists(), "{}", unpacked.display());
    }
}

/// The runtime is here, its libraries are not to be had.
#[test]
fn a_library_that_is_not_to_be_had_is_left_out_by_name() {
    if !is_root() || !provided().contains(&"real-7.2") {
        return;
    }
    let target = tempfile::tempdir().expect("a folder");
    let at = |name: &str| target.path().join(name);
    std::fs::create_dir(at("real-runtime")).expect("a folder");
    let own = Path::new(XTASK).parent().expect("the build's folder");
    let cache = own.with_file_name("real-runtime").join("real-7.2.4");
    symlink(cache, at("real-runtime/real-7.2.4")).expect("a link");
    symlink(
        own,
        at(own
            .file_name()
            .and_then(|name| name.to_str())
            .expect("text")),
    )
    .expect("a link");
    let stack = ["conformance", "--tier", "stack", "--runtime", "real-7.2"];
    let only = ["--case", "rocfft", "--json"];
    let Some(out) = without_a_network(target.path(), &[&stack[..], &only].concat()) else {
        return;
    };
    let said = String::from_utf8_lossy(&out.stderr);
    let report: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(report["failed"], 0, "{report}");
    let library = &report["libraries"][0];
    assert_eq!(
        (&library["name"], &library["ok"]),
        (&"rocFFT".into(), &false.into())
    );
    let why = library["why"].as_str().expect("a reason");
    assert!(why.contains("without a network"), "{why}");
    let mut left_out = said
        .lines()
        .filter(|line| line.starts_with("LEFT OUT: rocFFT"));
    assert!(left_out.next().is_some(), "{said}");
    let libraries = at("real-runtime/libraries-real-7.2.4/usr/lib/x86_64-linux-gnu");
    let mut unpacked = std::fs::read_dir(libraries).expect("the folder");
    assert!(unpacked.next().is_none());
}
