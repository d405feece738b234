//! Programs that check themselves.

use std::os::unix::process::ExitStatusExt as _;

use crate::support::{Bench, output};

#[test]
fn packets_run_in_order_and_take_their_time() {
    let bench = Bench::new();
    let kernels = bench.kernels();
    let program = bench.compile("queues");
    assert_eq!(bench.run(&program, &[kernels.as_ref()]), "done\n");
}

#[test]
fn memory_is_found_shared_and_mapped() {
    let bench = Bench::new();
    let program = bench.compile("memory");
    assert_eq!(bench.run(&program, &[]), "done\n");
    let left: Vec<_> = std::fs::read_dir(bench.path(""))
        .expect("the bench")
        .flatten()
        .collect();
    let left: Vec<_> = left
        .iter()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".ipc-"))
        .collect();
    assert!(left.is_empty(), "shared memory is left: {left:?}");
}

#[test]
fn threads_that_ask_and_map_do_not_lock_each_other() {
    let bench = Bench::new();
    let program = bench.compile("locks");
    assert_eq!(bench.run(&program, &[]), "done\n");
}

#[test]
fn a_memory_fault_is_told_or_ends_the_program() {
    let bench = Bench::new();
    let kernels = bench.kernels();
    let program = bench.compile("faults");
    assert_eq!(
        bench.run(&program, &[kernels.as_ref(), "handler".as_ref()]),
        "done\n"
    );
    for who in ["nobody", "refusing"] {
        let mut command = bench.direct(&program);
        let out = command.arg(&kernels).arg(who).output().expect("starts");
        assert_eq!(out.status.signal(), Some(libc::SIGABRT), "{who}: {out:?}");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(
            said.contains("Memory access fault by GPU node-1"),
            "{who}: {said}"
        );
    }
}

#[test]
fn packets_are_counted_over_processes() {
    let bench = Bench::new();
    let kernels = bench.kernels();
    let program = bench.compile("spin");
    let counts = bench.path("counts");
    for _ in 0..2 {
        let mut command = bench.command(&program);
        command.arg(&kernels).args(["3", "/none", "1000"]);
        output(command.env("HIPSIM_COUNTS", &counts));
    }
    let bytes = std::fs::read(&counts).expect("counts");
    let words = bytes.chunks_exact(8).map(|word| {
        let word = word.try_into().expect("8 bytes");
        u64::from_ne_bytes(word)
    });
    assert_eq!(words.collect::<Vec<_>>(), [6, 0, 0, 0]);
}
