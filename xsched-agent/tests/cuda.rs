//! Programs of the CUDA driver: what the probes count and what the gate
//! counts is each form of launch, once.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use xsched_testkit::machine::{Machine, Program};
use xsched_testkit::{agent_command, built, no_bpf};

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
    let dir = machine.dir.path().join("cuda");
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
    machine.row("its driver is seen", program.pid(), |_| true);
    // Probes are in place when a program is listed; the shim joins when it launches.
    let mut input = program.0.stdin.take().expect("piped");
    input.write_all(b"\n").expect("writes");
    machine.row("all its launches are counted", program.pid(), |row| {
        row["launches"].as_u64() >= Some(FORMS)
    })
}

#[test]
fn probes_and_gate_count_the_same() {
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
