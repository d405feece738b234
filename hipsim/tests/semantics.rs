//! What programs rely on: each case of tests/c/semantics.c and tests/c/graphs.c, under both disciplines.

use crate::support::{Bench, start};

fn run_all(discipline: &str) {
    let bench = Bench::new();
    let mut cases = Vec::new();
    for name in ["semantics", "graphs"] {
        let program = bench.compile(name);
        let listed = bench.run(&program, &[]);
        cases.extend(
            listed
                .lines()
                .map(|case| (program.clone(), case.to_owned())),
        );
    }
    assert!(cases.len() >= 18, "{cases:?}");
    let mut failures = Vec::new();
    for (program, case) in cases {
        let (status, _, err) = start(
            bench
                .command(&program)
                .arg(&case)
                .env("HIPSIM_DISCIPLINE", discipline),
        )
        .wait();
        if !status.success() {
            failures.push(format!("{case}: {status} {err}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn under_processor_sharing() {
    run_all("amd");
}

#[test]
fn under_fifo() {
    run_all("fifo");
}

#[test]
fn several_devices() {
    let bench = Bench::new();
    let program = bench.compile("devices");
    for (case, devices, visible) in [
        ("two_devices_run_beside_each_other", "2", "0,1"),
        ("visible_devices_are_renumbered", "3", "2,0"),
        ("no_device_is_visible", "1", "-1"),
    ] {
        let mut command = bench.command(&program);
        command
            .arg(case)
            .env("HIPSIM_DEVICES", devices)
            .env("HIP_VISIBLE_DEVICES", visible)
            .env_remove("ROCR_VISIBLE_DEVICES");
        let (status, _, err) = start(&mut command).wait();
        assert!(status.success(), "{case}: {status} {err}");
    }
}

/// What frameworks ask before their first kernel, on every version.
#[test]
fn questions_at_start_up_have_answers() {
    let bench = Bench::new();
    let program = bench.compile("startup");
    let (status, _, err) = start(bench.command(&program).env("HIPSIM_DEVICES", "2")).wait();
    assert!(status.success(), "{status} {err}");
}
