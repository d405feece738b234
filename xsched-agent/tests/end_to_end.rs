//! The whole path on hipsim: real agent with real BPF, real shim, sample
//! programs that know nothing of either.
//!
//! Needs what `cargo build` builds (`cargo xtask test` sees to it), and root
//! with BPF: without, these tests fail, unless XSCHED_TEST_NO_BPF=1 leaves
//! them out.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use xsched_common::platform::Platform;
use xsched_testkit::machine::{Machine, Program};
use xsched_testkit::{Agent, agent_command, built, no_bpf, wait_for};

/// `diagnose --pid` and its exit code.
fn diagnose(machine: &Machine, pid: u32) -> (i32, Value) {
    let out = machine
        .at_home(&mut agent_command())
        .args([
            "diagnose",
            "--json",
            "--duration",
            "1.5",
            "--pid",
            &pid.to_string(),
        ])
        .output()
        .expect("runs");
    let code = out.status.code().expect("a code");
    let report = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)));
    // What xtop shows comes over the socket.
    let request = format!("{{\"op\":\"diagnose\",\"pid\":{pid},\"duration_ms\":1000}}");
    let over_socket = machine.agent.ask_raw(&request);
    assert_eq!(codes(&over_socket), codes(&report));
    (code, report)
}

fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    for finding in findings {
        assert!(
            !finding["evidence"].as_array().expect("evidence").is_empty(),
            "{finding}"
        );
        assert!(
            !finding["fix"].as_str().expect("a fix").is_empty(),
            "{finding}"
        );
    }
    findings
        .iter()
        .filter_map(|finding| finding["code"].as_str())
        .collect()
}

#[test]
fn a_scheduled_process_is_seen_whole_and_nothing_bypasses() {
    if no_bpf() {
        return;
    }
    let machine = Machine::observing();
    let batch = machine.run("low", "hipsim-batch", &["--kernel-time", "200us"]);
    let row = machine.row("launches of a joined process", batch.pid(), |row| {
        row["shim"] == "joined"
            && row["launches_per_s"].as_f64().is_some_and(|n| n > 1000.0)
            && !row["bypass_ratio"].is_null()
    });
    assert_eq!(row["class"], "low", "{row}");
    assert_eq!(row["gate"]["state"], "open", "{row}");
    assert_eq!(row["bypass_ratio"], 0.0, "{row}");
    assert_eq!(row["default_stream_ratio"], 0.0, "{row}");
    assert_eq!(row["callers"][0]["library"], "hipsim-batch", "{row}");
    assert!(row["device"].is_string(), "{row}");

    let out = machine.agent.cli(&[
        "set",
        "--pid",
        &batch.pid().to_string(),
        "--class",
        "normal",
        "--json",
    ]);
    assert!(out.status.success());
    machine.row("its new class", batch.pid(), |row| row["class"] == "normal");
    let (code, report) = diagnose(&machine, batch.pid());
    assert_eq!(codes(&report), [""; 0], "{report}");
    assert_eq!(code, 0);
    // The shim calls the waits for the program, whose they are.
    let calls = report["calls"].as_array().expect("calls");
    let is_of =
        |call: &Value, name: &str| call["object"].as_str().is_some_and(|o| o.ends_with(name));
    assert!(
        !calls.iter().any(|call| is_of(call, "libxsched_shim.so")),
        "{report}"
    );
    let is_wait = |call: &Value| {
        call["api"]
            .as_str()
            .is_some_and(|a| a.ends_with("Synchronize"))
    };
    let waits = calls.iter().filter(|call| is_wait(call));
    assert!(waits.clone().count() > 0, "{report}");
    for wait in waits {
        assert!(
            is_of(wait, "hipsim-batch") && wait["route"] == "shim",
            "{wait}"
        );
    }
}

#[test]
fn a_process_without_the_shim_is_seen_too() {
    if no_bpf() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let machine = Machine::with(Agent::start_in_with(dir, &["--probe-returns"]));
    let program = machine.native("hipsim-nullstream", &[], &[]);
    let row = machine.row("bursts of a native process", program.pid(), |row| {
        row["launches_per_s"].as_f64().is_some_and(|n| n > 10.0)
            && row["burst"]["count"].as_u64().is_some_and(|n| n > 3)
    });
    assert_eq!(row["shim"], "absent", "{row}");
    assert_eq!(row["bypass_ratio"], 1.0, "{row}");
    assert_eq!(row["default_stream_ratio"], 1.0, "{row}");
    assert!(
        row["gate"].is_null() && row["gate_wait"].is_null(),
        "unknown is null: {row}"
    );
    // 64 kernels of 1 ms to a synchronise.
    let p50 = row["burst"]["p50_ns"].as_u64().expect("a median");
    assert!((60_000_000..130_000_000).contains(&p50), "{row}");
    assert!(row["sampling"].as_f64().is_some_and(|share| share > 0.0));
    let apis = row["apis"].as_array().expect("functions");
    let calls = |api: &str| {
        let of_it = apis
            .iter()
            .find(|a| a["api"] == api && a["stream"] == "null");
        of_it.and_then(|a| a["calls"].as_u64()).expect("called")
    };
    let (launches, waits) = (
        calls("hipModuleLaunchKernel"),
        calls("hipStreamSynchronize"),
    );
    assert!(launches > 30 * waits && waits > 0, "{row}");
}

/// One run decides nothing on a machine that stalls now and then or whose
/// processors others have: the first of five that reaches the bounds does.
#[test]
fn a_service_beside_batch_keeps_its_latency() {
    if no_bpf() {
        return;
    }
    let mut missed = Vec::new();
    for _ in 0..5 {
        let run = beside_batch();
        // Alone, 10 kernels of 500 us; the batch works in the gaps.
        assert!(run.alone >= 5e6, "{run:?}");
        let contention_is_real = run.native > run.alone * 1.5;
        if contention_is_real && run.scheduled < run.alone * 1.3 && run.kept > 1000.0 {
            return;
        }
        missed.push(run);
    }
    panic!("{missed:#?}");
}

/// Medians of a service's requests, ns, and the kernels of the batch program
/// beside it.
#[derive(Debug)]
struct Beside {
    alone: f64,
    native: f64,
    scheduled: f64,
    kept: f64,
}

fn beside_batch() -> Beside {
    let machine = Machine::observing();
    let service = [
        "--json",
        "--kernels",
        "10",
        "--kernel-time",
        "500us",
        "--period",
        "20ms",
        "--duration",
        "2s",
    ];
    let p50 = |program| finish(program)["p50_ns"].as_f64().expect("a median");
    let alone = p50(machine.native("hipsim-service", &service, &[]));
    let batch = machine.native("hipsim-batch", &["--kernel-time", "300us"], &[]);
    let native = p50(machine.native("hipsim-service", &service, &[]));
    drop(batch);
    let batch = machine.run("low", "hipsim-batch", &["--kernel-time", "300us"]);
    machine.row("the batch has joined", batch.pid(), |row| {
        row["shim"] == "joined"
    });
    let scheduled = p50(machine.run("high", "hipsim-service", &service));
    let kept = batch.stop()["kernels"].as_f64().expect("a count");
    Beside {
        alone,
        native,
        scheduled,
        kept,
    }
}

fn finish(mut program: Program) -> Value {
    use std::io::Read as _;
    let mut text = String::new();
    program
        .0
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut text)
        .expect("reads");
    assert!(program.0.wait().expect("ends").success(), "{text}");
    serde_json::from_str(text.trim()).expect("JSON")
}

#[test]
fn planted_faults_are_proven() {
    if no_bpf() {
        return;
    }
    let machine = Machine::observing();
    let shim = built("libxsched_shim.so");
    let shim = shim.to_str().expect("UTF-8");

    let bypass = machine.run("normal", "hipsim-versioned", &[]);
    machine.row("the bypass", bypass.pid(), |row| {
        row["bypass_ratio"].as_f64().is_some_and(|b| b > 0.5)
    });
    let (code, report) = diagnose(&machine, bypass.pid());
    assert_eq!(code, 1);
    assert!(
        codes(&report).contains(&"symbol-version-bypass"),
        "{report}"
    );
    drop(bypass);

    let null = machine.native("hipsim-nullstream", &[], &[("LD_PRELOAD", shim)]);
    machine.row("it has joined", null.pid(), |row| row["shim"] == "joined");
    let (code, report) = diagnose(&machine, null.pid());
    assert_eq!(
        (code, codes(&report)),
        (0, vec!["default-stream"]),
        "a remark, nothing to mend: {report}"
    );
    drop(null);

    let missing = machine.native(
        "hipsim-batch",
        &[],
        &[("LD_PRELOAD", "/nonexistent/libxsched_shim.so")],
    );
    machine.row("it launches", missing.pid(), |row| {
        row["launches"].as_u64().is_some_and(|n| n > 0)
    });
    let (code, report) = diagnose(&machine, missing.pid());
    assert_eq!(
        (code, codes(&report)),
        (1, vec!["preload-missing"]),
        "{report}"
    );
    drop(missing);

    // A class above that never rests: what passes are the guards' launches.
    let busy = machine.run("high", "hipsim-batch", &["--kernel-time", "1ms"]);
    machine.row("it has joined", busy.pid(), |row| row["shim"] == "joined");
    let starved = machine.run("low", "hipsim-batch", &["--kernel-time", "1ms"]);
    machine.row("it trickles", starved.pid(), |row| {
        row["guards"]["trickle"].as_u64().is_some_and(|n| n > 5)
    });
    let (code, report) = diagnose(&machine, starved.pid());
    assert_eq!((code, codes(&report)), (1, vec!["gate-guards"]), "{report}");
}

#[test]
fn a_killed_agent_frees_its_clients_and_a_new_one_finds_them() {
    if no_bpf() {
        return;
    }
    let mut machine = Machine::observing();
    let batch = machine.run("low", "hipsim-batch", &["--kernel-time", "200us"]);
    machine.row("it has joined", batch.pid(), |row| row["shim"] == "joined");
    // A service that is nearly always active keeps the batch out.
    let service = machine.run(
        "high",
        "hipsim-service",
        &[
            "--kernels",
            "100",
            "--kernel-time",
            "1ms",
            "--period",
            "100ms",
            "--duration",
            "60s",
        ],
    );
    machine.row("the batch is held", batch.pid(), |row| {
        row["gate"]["state"] == "closed"
    });
    let run_dir = machine.agent.run_dir.0.clone();
    let spare = Agent::start();
    let dir = std::mem::replace(&mut machine.agent, spare).kill();
    drop(service);
    // The batch must launch on without anybody: count them by BPF of its own.
    std::thread::sleep(Duration::from_millis(500));
    let out = machine
        .at_home(&mut agent_command())
        .args([
            "diagnose",
            "--json",
            "--duration",
            "1",
            "--pid",
            &batch.pid().to_string(),
        ])
        .output()
        .expect("runs");
    let report: Value = serde_json::from_slice(&out.stdout).expect("a report");
    let launches: u64 = report["calls"]
        .as_array()
        .expect("calls")
        .iter()
        .filter(|call| call["api"] == "hipModuleLaunchKernel")
        .filter_map(|call| call["count"].as_u64())
        .sum();
    assert!(launches > 500, "free, it makes 5,000 a second: {report}");

    machine.agent = Agent::start_in(dir);
    assert_eq!(machine.agent.run_dir.0, run_dir);
    machine.row("it has rejoined", batch.pid(), |row| {
        row["shim"] == "joined"
    });
    assert!(batch.stop()["kernels"].as_f64().is_some_and(|n| n > 1000.0));
}

#[test]
fn strangers_get_one_clear_line() {
    if no_bpf() {
        return;
    }
    let machine = Machine::observing();
    let batch = machine.run("low", "hipsim-batch", &[]);
    machine.row("it has joined", batch.pid(), |row| row["shim"] == "joined");
    for (user, pid, expected) in [
        ("root", "4194305".to_owned(), "does not exist"),
        (
            "root",
            std::process::id().to_string(),
            "does not use HIP or CUDA",
        ),
        ("nobody", batch.pid().to_string(), "belongs to another user"),
    ] {
        let mut command = Command::new("setpriv");
        let ids: &[&str] = match user {
            "root" => &[],
            _ => &["--reuid=65534", "--regid=65534", "--clear-groups"],
        };
        // Where any user may execute it.
        let agent = copy_for_all(&machine);
        command
            .args(ids)
            .arg(agent)
            .args(["diagnose", "--duration", "0.2", "--pid", &pid]);
        let out = machine
            .at_home(&mut command)
            .output()
            .expect("setpriv is there");
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{user} {pid}: {error}");
        assert!(error.contains(expected), "{user} {pid}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert!(
        batch.stop()["kernels"].as_f64().is_some_and(|n| n > 0.0),
        "it never noticed"
    );
}

fn copy_for_all(machine: &Machine) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = machine.dir.path().join("bin");
    std::fs::create_dir_all(&dir).expect("a folder");
    for open in [machine.dir.path(), &dir] {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).expect("opens it");
    }
    let copy = dir.join("xsched-agent");
    if !copy.exists() {
        xsched_testkit::copy_program(env!("CARGO_BIN_EXE_xsched-agent"), &copy);
    }
    copy
}

#[test]
fn a_client_that_is_killed_at_the_gate_leaves_no_trace() {
    if no_bpf() {
        return;
    }
    let machine = Machine::observing();
    let high = machine.run("high", "hipsim-batch", &["--kernel-time", "1ms"]);
    machine.row("high has joined", high.pid(), |row| row["shim"] == "joined");
    let low = machine.run("low", "hipsim-batch", &["--kernel-time", "200us"]);
    machine.row("low is held", low.pid(), |row| {
        row["gate"]["state"] == "closed"
    });
    let killed = low.pid();
    drop(low);
    let other = machine.run("low", "hipsim-batch", &["--kernel-time", "200us"]);
    machine.row("another is held", other.pid(), |row| {
        row["gate"]["state"] == "closed"
    });
    drop(high);
    machine.row("it runs", other.pid(), |row| {
        row["gate"]["state"] == "open" && row["launches_per_s"].as_f64().is_some_and(|n| n > 1000.0)
    });
    wait_for("the killed one is gone", || {
        machine.agent.row(killed).is_null()
    });
}

/// Two processes give one device different numbers, and different devices
/// the same one: what counts is the address.
#[test]
fn devices_are_told_by_address_and_not_by_number() {
    renumbered(Platform::Hip, "HIP_VISIBLE_DEVICES");
}

#[test]
fn devices_of_cuda_are_told_by_address_and_not_by_number() {
    renumbered(Platform::Cuda, "CUDA_VISIBLE_DEVICES");
}

fn renumbered(platform: Platform, variable: &str) {
    let machine = Machine::on(platform, Agent::start());
    let start = |class: &str, program: &str, visible: &str, arguments: &[&str]| {
        let mut command = agent_command();
        command
            .args(["run", "--class", class, "--"])
            .arg(built(&machine.sample(program)))
            .args(arguments)
            .env("HIPSIM_DEVICES", "2")
            .env(variable, visible)
            .env_remove("ROCR_VISIBLE_DEVICES");
        Program(machine.at_home(&mut command).spawn().expect("starts"))
    };
    let kernels = ["--kernel-time", "200us"];
    let beside = start("low", "batch", "1,0", &kernels);
    let elsewhere = start("low", "batch", "0", &kernels);
    let busy = [
        "--kernels",
        "100",
        "--kernel-time",
        "1ms",
        "--period",
        "100ms",
        "--duration",
        "60s",
    ];
    let service = start("high", "service", "1", &busy);

    let held = machine.row(
        "the batch beside the service is held",
        beside.pid(),
        |row| row["gate"]["state"] == "closed",
    );
    let high = machine.row("the service has joined", service.pid(), |row| {
        row["device"].is_string()
    });
    assert_eq!(
        held["device"], high["device"],
        "number 0 of one is number 0 of the other"
    );
    let free = machine.row("the other batch is free", elsewhere.pid(), |row| {
        row["gate"]["state"] == "open" && row["launches_per_s"].as_f64().is_some_and(|n| n > 0.0)
    });
    assert_ne!(free["device"], high["device"]);
    assert_eq!(free["gate"]["reason"], "no higher class on this device");

    let address = high["device"].as_str().expect("an address");
    let off = machine.agent.cli(&["mode", "--device", address, "off"]);
    assert!(off.status.success(), "{off:?}");
    machine.row(
        "its device is shared by nobody's rules",
        beside.pid(),
        |row| row["gate"]["state"] == "open",
    );
}
