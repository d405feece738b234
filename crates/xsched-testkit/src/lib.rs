//! What tests and benches share: real agents in directories of their own,
//! clients that join them as a shim would, programs with known calls.
//!
//! Only tests, benches and tasks depend on it. A helper that cannot do its
//! part panics, and says so.

mod agent;
pub mod callers;
pub mod client;
pub mod fake_peer;
pub mod holder;
pub mod machine;
pub mod planted;
pub mod pty;
pub mod schema;
pub mod slow;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use agent::{Agent, agent_command, connect, make_run_dir, set_class};
pub use client::FakeClient;

/// Nothing here takes this long unless it hangs.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A program or library that cargo has built beside the running program.
pub fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let folder = own.parent().expect("a folder");
    // Test binaries and libraries are in a folder of their own there.
    let folder = match folder.ends_with("deps") || folder.ends_with("examples") {
        true => folder.parent().expect("a folder"),
        false => folder,
    };
    let file = folder.join(name);
    assert!(
        file.exists(),
        "{} is missing: run `cargo build` first",
        file.display()
    );
    file
}

/// Copies a program that is to be run. Not by this process: a child that
/// another test's thread forks meanwhile would hold the copy open for writing
/// until it executes, and execve fails for as long (ETXTBSY).
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let mut copy = Command::new("cp");
    copy.arg(from.as_ref()).arg(to.as_ref());
    let copied = copy.status().expect("cp runs");
    assert!(copied.success(), "{}", from.as_ref().display());
}

/// Whether tests that need BPF are left out, which is said.
pub fn no_bpf() -> bool {
    let left_out = std::env::var_os("XSCHED_TEST_NO_BPF").is_some_and(|v| v == "1");
    if left_out {
        eprintln!("LEFT OUT: this test needs BPF (XSCHED_TEST_NO_BPF=1)");
    }
    left_out
}

/// CPU time of a process, in clock ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit(')').next().expect("a command name");
    let times = fields.split_ascii_whitespace().skip(11).take(2);
    times
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum()
}

/// Polls until `condition` holds; panics with `what` after [`DEADLINE`].
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "waited {DEADLINE:?} in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Where the C sources of this crate are.
fn c_sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/c"))
}
