//! A program's pattern taken home: recorded, imported, replayed, and
//! predicted under another policy.
//!
//! Needs what `cargo build` builds; the recording needs root with BPF, unless
//! XSCHED_TEST_NO_BPF=1 leaves it out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use xsched_testkit::machine::Program;
use xsched_testkit::{agent_command, built, no_bpf};
use xsched_workload::{BERT, LIBTORCH, RESNETS, Step, Thread, Workload};

/// A device and a runtime of our own.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().expect("a temporary directory");
        hipsim::install::install(&built("libhipsim.so"), &dir.path().join("hip"))
            .expect("installs");
        Machine(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(built(name));
        command
            .args(arguments)
            .env("HIPSIM_DEVICE", self.file("device"))
            .env("LD_LIBRARY_PATH", self.file("hip"))
            .env("TMPDIR", self.0.path());
        command
    }

    fn import(&self, recording: &Path) -> Workload {
        let output = self.file("workload.json");
        let done = self
            .program("hipsim", &["trace", "import"])
            .arg(recording)
            .arg("-o")
            .arg(&output)
            .args(["--origin", "a test"])
            .output()
            .expect("runs");
        assert!(done.status.success(), "{}", error(&done));
        Workload::read(&output).expect("a workload")
    }

    fn replay(&self, arguments: &[&str]) -> Value {
        let done = self
            .program("hipsim-replay", &[])
            .arg(self.file("workload.json"))
            .args(arguments)
            .output()
            .expect("runs");
        assert!(done.status.success(), "{}", error(&done));
        serde_json::from_slice(&done.stdout).expect("JSON")
    }
}

fn error(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// Of its launches' times, ns: a machine with other work to do lets waits
/// return late, and some kernels seem longer.
fn median_kernel(thread: &Thread) -> f64 {
    let mut ns: Vec<u64> = thread
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Launch(launch) => Some(launch.ns),
            _ => None,
        })
        .collect();
    ns.sort_unstable();
    ns[ns.len() / 2] as f64
}

fn what_if(file: &Path, arguments: &[&str]) -> Output {
    let mut command = agent_command();
    command.arg("what-if").arg(file).args(arguments);
    command.output().expect("runs")
}

#[test]
fn a_recording_is_replayed_with_its_counts_and_durations() {
    if no_bpf() {
        return;
    }
    let machine = Machine::new();
    // 12 kernels of 400 us a request, two waits, on a stream of its own.
    let service = ["--kernels", "12", "--kernel-time", "400us", "--syncs", "2"];
    let program = machine
        .program("hipsim-service", &service)
        .args(["--period", "25ms", "--duration", "30s", "--json"])
        .stdout(std::process::Stdio::null())
        .spawn();
    let program = Program(program.expect("starts"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let recording = machine.file("trace.pftrace");
    let out = agent_command()
        .args(["record", "--json", "--duration", "2", "--pid"])
        .arg(program.pid().to_string())
        .arg("-o")
        .arg(&recording)
        .output()
        .expect("runs");
    let summary: Value = serde_json::from_slice(&out.stdout).expect("a summary");
    drop(program);
    let launches = number(&summary["launches"]);
    assert!(launches > 500.0, "{summary}");

    let workload = machine.import(&recording);
    let [program] = workload.programs.as_slice() else {
        panic!("{} programs", workload.programs.len());
    };
    let totals = program.totals();
    assert_eq!(totals.launches as f64, launches, "every launch");
    assert_eq!(program.name, "hipsim-service");
    let median = median_kernel(&program.threads[0]);
    assert!(
        (390e3..440e3).contains(&median),
        "400 us a kernel: {median}"
    );
    let requests = totals.arrivals as f64;
    assert!((launches / 12.0 - requests).abs() <= 2.0, "{totals:?}");

    // Played again it launches as often, takes as long, and ends as late.
    let replayed = machine.replay(&["--duration", "20s"]);
    assert_eq!(number(&replayed["launches"]), launches);
    let device = number(&replayed["device_ns"]) / totals.device_ns as f64;
    assert_eq!(device, 1.0);
    let seconds = number(&replayed["seconds"]);
    assert!((1.9..2.4).contains(&seconds), "recorded 2 s: {seconds}");
    let took = replayed["threads"][0]["took_ns"]
        .as_array()
        .expect("requests");
    let mut took: Vec<f64> = took.iter().map(number).collect();
    took.sort_by(f64::total_cmp);
    let p50 = took[took.len() / 2] / 1e6;
    assert!((4.4..6.0).contains(&p50), "12 x 400 us: {p50} ms");

    // In virtual time, too.
    let out = what_if(&recording, &["--json"]);
    let report: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let alone = &report["programs"][0]["alone"];
    let predicted = number(&alone["p50_ns"]) / 1e6;
    assert!((predicted / p50 - 1.0).abs() < 0.1, "{predicted} {p50}");
}

#[test]
fn a_workload_is_played_from_the_libraries_that_it_names() {
    let machine = Machine::new();
    std::fs::write(machine.file("workload.json"), RESNETS).expect("written");
    let arguments = ["--program", "resnet18", "--duration", "500ms"];
    let done = machine
        .program("hipsim-replay", &[])
        .arg(machine.file("workload.json"))
        .args(arguments)
        .env("LD_DEBUG", "files")
        .output()
        .expect("runs");
    assert!(done.status.success(), "{}", error(&done));
    let opened = error(&done);
    for name in ["libtorch_hip.so", "libMIOpen.so.1", "librocblas.so.4"] {
        assert!(opened.contains(name), "{name} is not opened");
    }
    let report: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let requests = report["threads"][0]["took_ns"]
        .as_array()
        .expect("requests");
    assert_eq!(
        number(&report["launches"]) as usize % 110,
        0,
        "whole requests"
    );
    assert!(requests.len() >= 5, "{}", requests.len());
    let left = std::fs::read_dir(machine.0.path()).expect("the folder");
    let left = left.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert!(
        !left
            .into_iter()
            .any(|name| name.starts_with("hipsim-replay-"))
    );
}

#[test]
fn another_policy_is_tried_in_virtual_time() {
    let machine = Machine::new();
    let (workload, config) = (machine.file("workload.json"), machine.file("xsched.toml"));
    // A service with more for the device to do than ResNet-18.
    let mut both = Workload::parse(RESNETS).expect("good");
    let bert = Workload::parse(BERT).expect("good");
    both.programs[0] = bert.programs[0].clone();
    both.programs[0].name = "serve".to_owned();
    std::fs::write(&workload, both.text()).expect("written");
    std::fs::write(
        &config,
        "[[rule]]\nname = \"serving\"\nmatch = { exe = \"serve\" }\nclass = \"high\"\n\n\
         [[rule]]\nname = \"bobs\"\nmatch = { user = \"root\" }\nclass = \"low\"\n",
    )
    .expect("written");
    let config = config.to_string_lossy().into_owned();
    let arguments = ["--config", &config, "--class", "resnet50=low", "--json"];
    let out = what_if(&workload, &arguments);
    assert_eq!(out.status.code(), Some(0), "{}", error(&out));
    let report: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let [serve, batch] = [0, 1].map(|n| &report["programs"][n]);
    assert_eq!(
        (&serve["class"], &batch["class"]),
        (&"high".into(), &"low".into())
    );
    assert_eq!(serve["from"], "rule \"serving\"");
    let p99 = |way: &str| number(&serve[way]["p99_ns"]);
    assert!(p99("native") > 1.5 * p99("alone"), "{serve}");
    assert!(p99("config") < 1.15 * p99("alone"), "{serve}");
    let limits = report["limits"].to_string();
    assert!(
        limits.contains("bobs"),
        "the rule that cannot be judged: {limits}"
    );
    assert!(batch["config"]["p99_ns"].is_number());

    let shown = what_if(&workload, &["--class", "serve=high"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("P99 ms") && shown.contains("serve"),
        "{shown}"
    );
    for (arguments, why) in [
        (["--class", "nobody=high"], "nobody"),
        (["--class", "serve=grand"], "grand"),
    ] {
        let refused = what_if(&workload, &arguments);
        assert_eq!(refused.status.code(), Some(2));
        assert!(error(&refused).contains(why), "{}", error(&refused));
    }
    std::fs::write(&workload, "{}").expect("written");
    assert_eq!(what_if(&workload, &[]).status.code(), Some(2));
    // A file that would be played without end is played for an hour, or refused.
    let arrives = |at: u64| {
        format!(
            r#"{{"format": 1, "name": "n", "origin": "by hand", "programs": [{{"name": "p",
                "threads": [{{"steps": [{{"arrive": {at}}}, {{"launch": {{"ns": 1000}}}}]}}]}}]}}"#
        )
    };
    std::fs::write(&workload, arrives(7_200_000_000_000)).expect("written");
    let out = what_if(&workload, &["--json"]);
    let report: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(number(&report["time_ns"]), 3.6e12, "{report}");
    assert!(
        report["limits"].to_string().contains("--duration"),
        "{report}"
    );
    std::fs::write(&workload, arrives(u64::MAX)).expect("written");
    let refused = what_if(&workload, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(error(&refused).contains("a day"), "{}", error(&refused));
}

/// As XSched's, as far as a diagnosis looks at it: its name, and that launches
/// go through it.
const OLD_SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
int hipModuleLaunchKernel(void *f, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned g, unsigned m,
                          void *stream, void **parameters, void **extra) {
    static int (*real)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
    if (!real) real = dlsym(RTLD_NEXT, "hipModuleLaunchKernel");
    return real(f, a, b, c, d, e, g, m, stream, parameters, extra);
}
"#;

/// The study saw no effect on LibTorch, and nobody knew why.
#[test]
fn why_an_old_shim_has_no_effect_on_libtorch_is_named() {
    if no_bpf() {
        return;
    }
    let machine = Machine::new();
    std::fs::write(machine.file("workload.json"), LIBTORCH).expect("written");
    let (source, shim) = (machine.file("shim.c"), machine.file("libshimhip.so"));
    std::fs::write(&source, OLD_SHIM).expect("written");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).args([&shim, &source]);
    assert!(cc.status().expect("cc").success());
    let program = machine
        .program("hipsim-replay", &["--duration", "20s"])
        .arg(machine.file("workload.json"))
        .env("LD_PRELOAD", &shim)
        .stdout(std::process::Stdio::null())
        .spawn();
    let program = Program(program.expect("starts"));
    std::thread::sleep(std::time::Duration::from_millis(500));
    let out = agent_command()
        .args(["diagnose", "--json", "--duration", "2", "--pid"])
        .arg(program.pid().to_string())
        .output()
        .expect("runs");
    let report: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let found = findings
        .iter()
        .find(|finding| finding["code"] == "default-stream");
    let found = found.unwrap_or_else(|| panic!("{report}"));
    assert_eq!(found["severity"], "error", "{found}");
    let text = found.to_string();
    assert!(text.contains("unscheduled"), "{text}");
    assert!(text.contains("libMIOpen.so.1"), "by whom: {text}");
}
