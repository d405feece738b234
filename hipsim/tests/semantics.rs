//! What programs rely on: each case of tests/c/semantics.c and tests/c/graphs.c, under both disciplines.

mod support;
use support::{Bench, start};

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
