//! AMD's own runtimes, where they were provided, seen from outside: observer, recording and diagnosis of a program in a mount
//! namespace of its own, as a container's are.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use simdevice::code::{self, Kernel};

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

/// A program or library of this build.
fn built(name: &str) -> PathBuf {
    Path::new(XTASK).with_file_name(name)
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

#[test]
fn without_a_network_one_line_says_so_and_nothing_is_unpacked() {
    if !is_root() {
        return;
    }
    let target = tempfile::tempdir().expect("a folder");
    let out = Command::new("unshare")
        .args(["--net", XTASK, "provision", "real-runtime"])
        .args(["--runtime", "real-7.2"])
        .env("CARGO_TARGET_DIR", target.path())
        .output()
        .expect("unshare starts");
    let said = String::from_utf8_lossy(&out.stderr);
    if said.contains("unshare:") || said.contains("apt has no Debian source") {
        println!("LEFT OUT: no network namespace, or not on Debian: {said}");
        return;
    }
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
