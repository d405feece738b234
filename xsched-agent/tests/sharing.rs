//! The sharing modes end to end: a real agent, the real shim, sample programs.
//! What the modes do to whole programs in every detail is tested in virtual
//! time (`schedsim/tests`).

use std::time::Duration;

use serde_json::Value;
use xsched_testkit::machine::{Machine, Program};
use xsched_testkit::{Agent, agent_command, built};

fn machine(mode: &str) -> Machine {
    let machine = Machine::with(Agent::start());
    let out = machine.agent.cli(&["mode", mode]);
    assert!(out.status.success(), "{out:?}");
    machine
}

fn run(machine: &Machine, terms: &[&str], program: &str, arguments: &[&str]) -> Program {
    let mut command = agent_command();
    command
        .arg("run")
        .args(terms)
        .arg("--")
        .arg(built(program))
        .args(arguments);
    Program(machine.at_home(&mut command).spawn().expect("starts"))
}

/// Launches so far of two processes, as of one moment.
fn launches(machine: &Machine, pids: [u32; 2]) -> [f64; 2] {
    let snapshot = machine.agent.ask_raw(r#"{"op":"list"}"#);
    pids.map(|pid| {
        let rows = snapshot["processes"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["pid"] == pid).expect("it runs");
        row["launches"].as_f64().expect("a count")
    })
}

#[test]
fn equals_share_the_device_by_weight() {
    let machine = machine("share");
    let kernels = ["--kernel-time", "200us"];
    let heavy = run(&machine, &["--weight", "300"], "hipsim-batch", &kernels);
    let light = run(&machine, &["--weight", "100"], "hipsim-batch", &kernels);
    let pids = [heavy.pid(), light.pid()];
    for (pid, weight) in pids.into_iter().zip([300, 100]) {
        let row = machine.row("it has joined and launches", pid, |row| {
            row["shim"] == "joined" && row["launches"].as_u64().is_some_and(|n| n > 300)
        });
        assert_eq!(
            (&row["class"], &row["weight"]),
            (&"normal".into(), &weight.into())
        );
    }
    let before = launches(&machine, pids);
    std::thread::sleep(Duration::from_secs(2));
    let after = launches(&machine, pids);
    let got = [after[0] - before[0], after[1] - before[1]];
    let ratio = got[0] / got[1];
    assert!((2.2..4.0).contains(&ratio), "{got:?} launches");
    assert!(
        got[0] + got[1] > 5_000.0,
        "of 10,000 the device takes: {got:?}"
    );
}

#[test]
fn targets_are_judged() {
    let machine = machine("slo");
    // 200 bursts of 400 us per second: a verdict each second.
    let service = ["--kernels", "2", "--period", "5ms", "--duration", "60s"];
    let lax = ["--class", "high", "--slo", "500ms"];
    let lax = run(&machine, &lax, "hipsim-service", &service);
    let met = machine.row("a target that is met", lax.pid(), |row| {
        row["slo"]["state"] == "met"
    });
    assert_eq!(met["slo"]["target_p99_ns"], 500_000_000, "{met}");
    drop(lax);

    // Its own kernels take longer.
    let strict = ["--class", "high", "--slo", "100us"];
    let strict = run(&machine, &strict, "hipsim-service", &service);
    let _low = run(&machine, &["--class", "low"], "hipsim-batch", &[]);
    let missed = machine.row("a target that is missed", strict.pid(), |row| {
        let state = row["slo"]["state"].as_str();
        state.is_some_and(|state| ["adapting", "impossible"].contains(&state))
    });
    assert!(missed["slo"]["reason"].as_str() != Some(""), "{missed}");
    let snapshot = machine.agent.ask_raw(r#"{"op":"list"}"#);
    let device: &Value = &snapshot["devices"][0];
    assert_eq!(device["mode"], "slo", "{device}");
}
