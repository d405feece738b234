//! Programs of the CUDA driver: what the probes count and what the gate
//! counts is each form of launch, once.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use xsched_common::platform::Platform;
use xsched_testkit::machine::{Machine, Program};
use xsched_testkit::{Agent, agent_command, built, no_bpf};

/// Forms of launch.
const FORMS: u64 = 12;

/// The benchmark's program, which launches when it is told to and then stays.
const PROGRAM: &str = r#"
    #define main forms
    #include "forms.c"
    #undef main
    #include <unistd.h>
    int main(void) {
        getchar();
        int wrong = forms();
        fflush(stdout);
        return wrong ? wrong : pause();
    }
"#;

/// What one test's programs launch takes the time in which another's agent
/// has its probes in place: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cc(dir: &Path, arguments: &[&str]) {
    let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/../xtask/programs/cuda");
    let done = Command::new("cc")
        .current_dir(dir)
        .args(["-O1", "-w", "-I", programs])
        .args(arguments)
        .status()
        .expect("a C compiler named cc");
    assert!(done.success());
}

/// A driver that does nothing, and the program.
fn compile(machine: &Machine) -> std::path::PathBuf {
    let dir = machine.dir.path().join("null");
    std::fs::create_dir(&dir).expect("a folder");
    std::fs::write(dir.join("driver.c"), "#include \"null_driver.c\"\n").expect("writes");
    std::fs::write(dir.join("program.c"), PROGRAM).expect("writes");
    let driver = "libcuda.so.1";
    let soname = format!("-Wl,-soname,{driver}");
    cc(
        &dir,
        &["-shared", "-fPIC", &soname, "driver.c", "-o", driver],
    );
    cc(&dir, &["program.c", driver, "-ldl", "-o", "program"]);
    dir
}

/// Starts it, lets it launch once it is in the agent's list, and returns its
/// row with all launches.
fn launches(machine: &Machine, command: &mut Command, dir: &Path) -> Value {
    machine.at_home(command);
    command
        .env("LD_LIBRARY_PATH", dir)
        .env("XSCHED_SHIM", built("libxsched_shim_cuda.so"))
        .stdin(Stdio::piped());
    let mut program = Program(command.spawn().expect("starts"));
    // Before it has launched anything it is known by what it maps.
    machine.row("its driver is seen", program.pid(), |row| {
        row["platform"] == "cuda"
    });
    // Probes are in place when a program is listed; the shim joins when it launches.
    let mut input = program.0.stdin.take().expect("piped");
    input.write_all(b"\n").expect("writes");
    machine.row("all its launches are counted", program.pid(), |row| {
        row["launches"].as_u64() >= Some(FORMS)
    })
}

#[test]
fn probes_and_gate_count_the_same() {
    let _alone = alone();
    if no_bpf() {
        return;
    }
    let machine = Machine::observing();
    let dir = compile(&machine);
    let native = launches(&machine, &mut Command::new(dir.join("program")), &dir);
    assert_eq!(native["launches"], FORMS, "{native}");
    assert_eq!(native["shim"], "absent", "{native}");
    assert_eq!(native["platform"], "cuda", "{native}");
    assert_eq!(
        native["callers"][0]["launches"]["bypass"], FORMS,
        "{native}"
    );
    let forms = native["apis"].as_array().expect("functions");
    assert_eq!(forms.len() as u64, FORMS, "{native}");
    // The per-thread twins, and graphs of either kind, say their stream.
    let stream = |api: &str| {
        let of = |row: &&Value| row["api"] == api;
        forms.iter().find(of).map(|row| row["stream"].clone())
    };
    assert_eq!(stream("cuLaunchKernel"), Some("null".into()));
    assert_eq!(stream("cuLaunchKernel_ptsz"), Some("per_thread".into()));

    let mut run = agent_command();
    run.args(["run", "--"]).arg(dir.join("program"));
    let shimmed = launches(&machine, &mut run, &dir);
    assert_eq!(shimmed["launches"], FORMS, "{shimmed}");
    assert_eq!(shimmed["shim"], "joined", "{shimmed}");
    assert_eq!(shimmed["platform"], "cuda", "{shimmed}");
    assert_eq!(
        shimmed["callers"][0]["launches"]["gated"], FORMS,
        "{shimmed}"
    );
    assert_eq!(shimmed["callers"][0]["launches"]["bypass"], 0, "{shimmed}");
}

/// Ranks of collectives wait for each other: what NCCL launches passes the
/// gate, and what the program itself launches does not.
#[test]
fn launches_of_collectives_pass_the_gate() {
    let _alone = alone();
    let machine = Machine::with(Agent::start());
    let dir = compile(&machine);
    let declared = "#include \"null.h\"\n";
    let library = format!(
        "{declared}int ncclAllReduce(void) {{
            int wrong = 0;
            for (int i = 0; i < 5; i++) wrong |= launch_with(cuLaunchKernel, NULL);
            return wrong;
        }}"
    );
    let rank = format!(
        "{declared}#include <unistd.h>
        int ncclAllReduce(void);
        int main(void) {{
            for (int i = 0; i < 3; i++) if (launch_with(cuLaunchKernel, NULL)) return 1;
            return ncclAllReduce() ? 1 : pause();
        }}"
    );
    std::fs::write(dir.join("nccl.c"), library).expect("writes");
    std::fs::write(dir.join("rank.c"), rank).expect("writes");
    let (driver, collectives) = ("libcuda.so.1", "libnccl.so.2");
    let named = format!("-Wl,-soname,{collectives}");
    cc(
        &dir,
        &[
            "-shared",
            "-fPIC",
            &named,
            "nccl.c",
            driver,
            "-o",
            collectives,
        ],
    );
    cc(&dir, &["rank.c", collectives, driver, "-o", "rank"]);
    let mut command = agent_command();
    command.args(["run", "--"]).arg(dir.join("rank"));
    machine.at_home(&mut command);
    command
        .env("LD_LIBRARY_PATH", &dir)
        .env("XSCHED_SHIM", built("libxsched_shim_cuda.so"));
    let program = Program(command.spawn().expect("starts"));
    let row = machine.row("all its launches are counted", program.pid(), |row| {
        row["launches"] == 8
    });
    let of = |library: &str| {
        let callers = row["callers"].as_array().expect("callers");
        let found = callers.iter().find(|caller| caller["library"] == library);
        found.expect("it has launched")["launches"].clone()
    };
    let counts = |gated: u64, passthrough: u64| serde_json::json!({"gated": gated, "passthrough": passthrough, "bypass": 0});
    assert_eq!(of(collectives), counts(0, 5), "{row}");
    assert_eq!(of("rank"), counts(3, 0), "{row}");
}

/// Where drivers' libraries come from: of a container, where the host's is
/// mounted over an empty file, and of the packages for forward compatibility,
/// which have the newer driver's in a folder of their own.
#[test]
fn driver_libraries_of_containers_and_for_forward_compatibility() {
    let _alone = alone();
    if no_bpf() {
        return;
    }
    let machine = Machine::observing();
    let dir = compile(&machine);
    let program = dir.join("program");
    let compat = machine.dir.path().join("cuda/compat");
    std::fs::create_dir_all(&compat).expect("writes");
    let newer = "libcuda.so.590.44.01";
    std::fs::copy(dir.join("libcuda.so.1"), compat.join(newer)).expect("copies");
    std::os::unix::fs::symlink(newer, compat.join("libcuda.so.1")).expect("links");
    let shimmed = |inner: &[&str]| {
        let mut run = agent_command();
        run.args(["run", "--"]).args(inner);
        run
    };
    let text = program.to_str().expect("UTF-8");
    for shim in ["absent", "joined"] {
        let mut command = match shim {
            "joined" => shimmed(&[text]),
            _ => Command::new(&program),
        };
        let row = launches(&machine, &mut command, &compat);
        assert_eq!(
            (&row["launches"], &row["shim"]),
            (&FORMS.into(), &shim.into()),
            "{row}"
        );
    }
    // Root makes a mount namespace of its own for the container's process.
    let inside = machine.dir.path().join("inside");
    std::fs::create_dir(&inside).expect("writes");
    std::fs::write(inside.join("libcuda.so.1"), "").expect("writes");
    let script = format!(
        "mount --bind {0}/libcuda.so.1 {1}/libcuda.so.1 && exec \"$@\"",
        dir.display(),
        inside.display()
    );
    let mut container = Command::new("unshare");
    container.args(["-m", "sh", "-c", &script, "sh"]);
    container
        .arg(built("xsched-agent"))
        .args(["run", "--", text]);
    let row = launches(&machine, &mut container, &inside);
    assert_eq!(
        (&row["launches"], &row["shim"]),
        (&FORMS.into(), &"joined".into()),
        "{row}"
    );
    assert_eq!(row["callers"][0]["launches"]["gated"], FORMS, "{row}");
}

/// A program of both runtimes, which launches when it is told to and then
/// stays.
const BOTH: &str = r#"
    #include "common.h"
    int cuInit(unsigned flags);
    int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, void *stream, void **params, void **extra);
    int main(void) {
        hipModule_t module;
        hipFunction_t kernel;
        getchar();
        CHECK(hipsimLoadModule(&module));
        CHECK(hipModuleGetFunction(&kernel, module, "nullstream_kernel"));
        for (int i = 0; i < 5; i++) CHECK(hipModuleLaunchKernel(kernel, 1, 1, 1, 64, 1, 1, 0, NULL, NULL, NULL));
        if (cuInit(0)) return 1;
        for (int i = 0; i < 7; i++) if (cuLaunchKernel(0, 1, 1, 1, 64, 1, 1, 0, NULL, NULL, NULL)) return 1;
        for (;;) sleep_until(seconds() + 60);
    }
"#;

/// Two platforms in one process: two shims, two clients, one row that has all
/// launches, and the devices of both side by side.
#[test]
fn a_process_of_two_platforms_is_one_row_with_all_its_launches() {
    let _alone = alone();
    let machine = Machine::with(Agent::start());
    let dir = compile(&machine);
    std::fs::write(dir.join("both.c"), BOTH).expect("writes");
    let hipsim = concat!(env!("CARGO_MANIFEST_DIR"), "/../hipsim");
    let include = |folder: &str| format!("-I{hipsim}/{folder}");
    let hip = machine.dir.path().join("hip");
    let runtime = hip.join("libamdhip64.so.6").display().to_string();
    let (headers, samples) = (include("include"), include("samples/c"));
    cc(
        &dir,
        &[
            &headers,
            &samples,
            "both.c",
            "libcuda.so.1",
            &runtime,
            "-o",
            "both",
        ],
    );
    let mut command = agent_command();
    command.args(["run", "--"]).arg(dir.join("both"));
    machine.at_home(&mut command);
    let places = [dir.as_path(), hip.as_path()].map(|path| path.display().to_string());
    command
        .env("LD_LIBRARY_PATH", places.join(":"))
        .env_remove("XSCHED_SHIM")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    let mut program = Program(command.spawn().expect("starts"));
    let mut input = program.0.stdin.take().expect("piped");
    input.write_all(b"\n").expect("writes");
    let row = machine.row("all its launches are counted", program.pid(), |row| {
        row["launches"] == 12
    });
    assert_eq!(row["shim"], "joined", "{row}");
    assert_eq!(row["platform"], "cuda", "it has launched most: {row}");
    let snapshot = machine.agent.ask_raw(r#"{"op":"list"}"#);
    let devices = snapshot["devices"].as_array().expect("devices");
    let mut platforms: Vec<&str> = devices
        .iter()
        .filter_map(|device| device["platform"].as_str())
        .collect();
    platforms.sort_unstable();
    assert_eq!(platforms, ["cuda", "hip"], "{snapshot}");
}

/// Parts of one device have gates of their own: what happens on one holds
/// nothing on another.
#[test]
fn instances_of_a_device_are_apart() {
    let _alone = alone();
    let machine = Machine::on(Platform::Cuda, Agent::start());
    let start = |class: &str, program: &str, instance: &str, arguments: &[&str]| {
        let mut command = agent_command();
        command
            .args(["run", "--class", class, "--"])
            .arg(built(&machine.sample(program)))
            .args(arguments)
            .env("CUDA_VISIBLE_DEVICES", instance);
        machine.spawn(&mut command)
    };
    let [one, other] =
        ["1a2b3c4d", "5e6f7081"].map(|part| format!("MIG-{part}-0000-1111-2222-333344445555"));
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
    let service = start("high", "service", &one, &busy);
    let beside = start("low", "batch", &one, &["--kernel-time", "200us"]);
    let apart = start("low", "batch", &other, &["--kernel-time", "200us"]);
    let held = machine.row(
        "the batch beside the service is held",
        beside.pid(),
        |row| row["gate"]["state"] == "closed",
    );
    let high = machine.row("the service has joined", service.pid(), |row| {
        row["device"].is_string()
    });
    assert_eq!(held["device"], high["device"]);
    let address = high["device"].as_str().expect("an address");
    assert!(address.ends_with("/1a2b3c4d"), "{address}");
    let free = machine.row("the other batch is free", apart.pid(), |row| {
        row["gate"]["state"] == "open" && row["launches_per_s"].as_f64().is_some_and(|n| n > 0.0)
    });
    assert_eq!(free["gate"]["reason"], "no higher class on this device");
    let other = free["device"].as_str().expect("an address");
    assert!(other.ends_with("/5e6f7081"), "{other}");
    // What is said of the address holds for its parts.
    let (whole, _) = address.split_once('/').expect("a part");
    let off = machine.agent.cli(&["mode", "--device", whole, "off"]);
    assert!(off.status.success(), "{off:?}");
    machine.row(
        "its part is shared by nobody's rules",
        beside.pid(),
        |row| row["gate"]["state"] == "open",
    );
}
