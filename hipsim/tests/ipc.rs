//! Memory and events shared by handles. The usual cases are in the conformance suite; here is what only a test of the
//! simulator can see.

use crate::support::{Bench, finish};

#[test]
fn what_a_killed_process_shared_holds_nobody_up_and_is_removed() {
    let bench = Bench::new();
    let program = bench.compile("ipc");
    finish(bench.command(&program).arg(bench.path("device")));
    assert!(left_behind(&bench).is_empty(), "{:?}", left_behind(&bench));
}

fn left_behind(bench: &Bench) -> Vec<String> {
    std::fs::read_dir(bench.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(".ipc-"))
        .collect()
}
