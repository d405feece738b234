//! Several devices: each has a gate of its own in every process, and a
//! service on one holds nothing on another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use xsched_testkit::machine::{Machine, Program};
use xsched_testkit::{Agent, agent_command, built};

const DEVICES: usize = 8;
/// Kernels of 2 ms that a device alone takes per second.
const ALONE: f64 = 500.0;

/// A program with a thread for each device (devices.c).
fn on_all_devices(machine: &Machine) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let hipsim = tests.join("../../hipsim");
    let program = machine.dir.path().join("on-all-devices");
    let compiled = Command::new("cc")
        .args(["-O1", "-w", "-pthread", "-o"])
        .arg(&program)
        .arg(tests.join("devices.c"))
        .arg("-I")
        .arg(hipsim.join("include"))
        .arg("-I")
        .arg(hipsim.join("samples/c"))
        .arg(machine.dir.path().join("hip/libamdhip64.so.6"))
        .status()
        .expect("a C compiler named cc");
    assert!(compiled.success());
    program
}

fn start(
    machine: &Machine,
    class: &str,
    program: &Path,
    arguments: &[&str],
    visible: &str,
) -> Program {
    let mut command = agent_command();
    command
        .args(["run", "--class", class, "--"])
        .arg(program)
        .args(arguments)
        .env("HIPSIM_DEVICES", DEVICES.to_string())
        .env_remove("ROCR_VISIBLE_DEVICES")
        .env_remove("HIP_VISIBLE_DEVICES");
    if !visible.is_empty() {
        command.env("HIP_VISIBLE_DEVICES", visible);
    }
    machine.spawn(&mut command)
}

#[test]
fn services_on_some_devices_hold_batch_work_on_those_only() {
    let machine = Machine::with(Agent::start());
    let program = on_all_devices(&machine);
    // At work for 80% of the time, on every other device.
    let busy = [
        "--kernels",
        "4",
        "--kernel-time",
        "20ms",
        "--period",
        "100ms",
        "--duration",
        "60s",
    ];
    let services: Vec<Program> = (1..DEVICES)
        .step_by(2)
        .map(|device| {
            start(
                &machine,
                "high",
                &built("hipsim-service"),
                &busy,
                &device.to_string(),
            )
        })
        .collect();
    for service in &services {
        machine.row("a service has joined", service.pid(), |row| {
            row["device"].is_string() && row["launches"].as_u64().is_some_and(|n| n > 8)
        });
    }
    let batch = start(&machine, "low", &program, &[], "");
    machine.row("the batch has joined", batch.pid(), |row| {
        row["launches"].as_u64().is_some_and(|n| n > 100)
    });
    std::thread::sleep(Duration::from_secs(4));
    let told = batch.stop();
    let rates: Vec<f64> = told["per_s"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|rate| rate.as_f64().expect("a number"))
        .collect();
    assert_eq!(rates.len(), DEVICES, "{told}");
    // The machine may stall a thread for a while, so no single rate is held to what a device can do.
    let of = |parity: usize| -> Vec<f64> {
        let mut some: Vec<f64> = rates.iter().skip(parity).step_by(2).copied().collect();
        some.sort_unstable_by(f64::total_cmp);
        some
    };
    let (free, shared) = (of(0), of(1));
    let median = free[free.len() / 2];
    assert!(median > 0.6 * ALONE, "without a service: {rates:?}");
    assert!(
        shared[shared.len() - 1] < 0.5 * median,
        "beside one: {rates:?}"
    );
    assert!(free[0] > 1.3 * shared[shared.len() - 1], "{rates:?}");
}

/// A simulated device has a management library, which is read as real ones are.
#[test]
fn what_a_device_says_of_itself_is_shown() {
    let libraries = tempfile::tempdir().expect("a directory");
    let [name, _] = smisim::NAMES;
    smisim::install(&built("libsmisim.so"), libraries.path(), name).expect("installs");
    let machine = Machine::with(Agent::start_with_libraries(libraries.path()));
    let device = machine.dir.path().join("device");
    std::os::unix::fs::symlink(&device, libraries.path().join("device")).expect("a link");
    let _batch = machine.run("normal", "hipsim-batch", &["--kernel-time", "1ms"]);
    let mut hardware = serde_json::Value::Null;
    xsched_testkit::wait_for("its readings", || {
        std::thread::sleep(Duration::from_millis(100));
        let snapshot = machine.agent.ask_raw(r#"{"op":"list"}"#);
        hardware = snapshot["devices"][0]["hardware"].clone();
        hardware["utilization"].as_f64() > Some(0.5)
    });
    assert_eq!(hardware["name"], "hipsim (simulated)");
    assert_eq!(hardware["memory_bytes"], 16_u64 << 30);
    assert!(hardware["memory_used_bytes"].is_u64(), "{hardware}");
    assert!(hardware["power_w"].as_f64() > Some(200.0), "{hardware}");
    assert!(
        hardware["temperature_c"].as_f64() > Some(40.0),
        "{hardware}"
    );
}
