//! What programs rely on: each case of tests/c/semantics.c, under both disciplines.

mod support;
use support::{Bench, start};

fn run_all(discipline: &str) {
    let bench = Bench::new();
    let program = bench.compile("semantics");
    let cases = bench.run(&program, &[]);
    let cases: Vec<&str> = cases.lines().collect();
    assert!(cases.len() >= 13, "{cases:?}");
    let mut failures = Vec::new();
    for case in cases {
        let (status, _, err) = start(
            bench
                .command(&program)
                .arg(case)
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
