//! Strict mode on runtimes with a dispatch table: the simulated device's
//! `.so.6` and `.so.7`, whose tables are laid out as the real ones.

use crate::support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::agent::Agent;
use support::dialogue::Dialogue;
use support::simulated::Simulated;
use support::{compiled, eventually, shared_library};
use xsched_common::gate::GateMode;
use xsched_common::page::Route;

/// `deepbind` on the runtime of this major version, for a library that asks
/// for it by that name.
fn deepbind(on: &Simulated, major: u8, agent: &Path, strict: &str) -> Command {
    let runtime = on.runtime(major);
    let library = on.path(&format!("libdeepbind{major}.so"));
    shared_library("deepbind", &library, &[runtime.as_os_str()]);
    let mut command = on.command(compiled("deepbind"), agent);
    command
        .arg(&runtime)
        .arg(&library)
        .env("XSCHED_STRICT", strict);
    command
}

#[test]
fn every_way_leads_through_the_gate_once() {
    let runtimes = Simulated::install();
    for major in [6, 7] {
        let agent = Agent::start();
        let mut program = Dialogue::begin(&mut deepbind(&runtimes, major, agent.dir(), "1"));
        assert_eq!(program.numbers(), [0], "HIP {major}");
        let client = agent.client(0);
        let launches = || client.status().launch_totals().by_route[Route::Gated as usize];
        assert_eq!(launches(), 6, "HIP {major}: each launch is counted once");
        let device = client.device(0);
        let admitted = || device.admitted.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(admitted(), 6, "HIP {major}: and passes the gate once");
        eventually("idle", || !device.activity().active);

        for _way in ["deepbind", "pointer"] {
            client.set(0, GateMode::Closed);
            program.go_on();
            let [failed, took] = program.numbers()[..] else {
                panic!("two numbers");
            };
            assert_eq!(failed, 0);
            assert!(
                took >= 14,
                "HIP {major}: went past a closed gate in {took} ms"
            );
            client.set(0, GateMode::Open);
        }
        assert_eq!(program.numbers(), [0]);
        assert_eq!(launches(), 9, "HIP {major}: our own export is counted once");
        assert_eq!(admitted(), 9, "HIP {major}");
        program.end();
    }
}

/// A library that is opened with RTLD_DEEPBIND, then opens the runtime itself
/// and looks its functions up: nothing of ours is on its way. Linked lazily
/// and with its slots made read-only.
#[test]
fn a_library_that_opens_the_runtime_past_the_linker_is_gated() {
    let runtimes = Simulated::install();
    for (linking, major, strict, gated) in [
        ("lazy", 7, "1", true),
        ("now", 6, "1", true),
        // Without a table the look-up alone leads to the gate.
        ("now", 5, "1", true),
        ("lazy", 7, "0", false),
    ] {
        let case = format!("{linking} on HIP {major}, strict {strict}");
        let agent = Agent::start();
        let library = runtimes.path(&format!("lib{linking}{major}{strict}.so"));
        let linked = format!("-Wl,-z,{linking},-z,relro");
        shared_library("deepbound", &library, &[linked.as_ref()]);
        let mut command = runtimes.command(compiled("deepbound"), agent.dir());
        command
            .args([&library, &runtimes.runtime(major)])
            .env("XSCHED_STRICT", strict);
        let mut program = Dialogue::begin(&mut command);
        assert_eq!(program.numbers(), [0], "{case}");
        assert_eq!(agent.joined(), usize::from(gated), "{case}");
        if gated {
            let client = agent.client(0);
            let launches = || client.status().launch_totals().by_route[Route::Gated as usize];
            assert_eq!(launches(), 3, "{case}: each launch is counted once");
            client.set(0, GateMode::Closed);
        }
        program.go_on();
        let [failed, took] = program.numbers()[..] else {
            panic!("two numbers");
        };
        assert_eq!((failed, took >= 14), (0, gated), "{case}: {took} ms");
        program.end();
    }
}

#[test]
fn profilers_in_the_table_stay_in_the_chain() {
    let runtimes = Simulated::install();
    for (when, expected) in [
        ("before", "0 5 0\n"),
        ("after", "0 0 5\n"),
        ("both", "0 5 5\n"),
    ] {
        let agent = Agent::start();
        let mut program = runtimes.command(compiled("profiler"), agent.dir());
        program
            .arg(runtimes.runtime(7))
            .arg(when)
            .env("XSCHED_STRICT", "1");
        assert_eq!(support::stdout_of(&mut program), expected, "{when}");
        let totals = agent.client(0).status().launch_totals();
        assert_eq!(totals.by_route, [5, 0], "{when}: gated, and once");
    }
}

/// README says how many functions: the simulated runtimes have the table of
/// 6.4.3 and the newest; a C++ name (two in HIP 6, one in 7) shares the entry of its C name.
#[test]
fn every_gated_and_watched_function_is_in_force() {
    let runtimes = Simulated::install();
    for (major, functions, shared) in [(6, 110, 2), (7, 125, 1)] {
        let agent = Agent::start();
        let mut program = deepbind(&runtimes, major, agent.dir(), "1");
        program.env("XSCHED_VERBOSE", "1").stdin(Stdio::null());
        program.arg("tell");
        let output = support::run(&mut program);
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = format!("strict mode: {} entries", functions - shared);
        assert!(said.contains(&expected), "HIP {major}: {said}");
        // Amid dlopen another thread could be making the table, and wait for
        // the loader's lock.
        assert!(
            said.find("opened\n") < said.find(&expected),
            "HIP {major}: {said}"
        );
    }
}

#[test]
fn without_strict_mode_or_without_a_table_the_program_runs_as_ever() {
    let runtimes = Simulated::install();
    let agent = Agent::start();
    for (major, strict) in [(7, "0"), (5, "1")] {
        let mut program = deepbind(&runtimes, major, agent.dir(), strict);
        let output = support::run(program.stdin(Stdio::null()));
        let out = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{out}{said}");
        assert!(out.lines().all(|line| line.starts_with('0')), "{out}");
        if strict == "1" {
            assert!(said.contains("strict mode is not in force"), "{said}");
        } else {
            assert!(said.is_empty(), "{said}");
        }
    }
}
