//! Faults: agents and clients that die, hang, lie, flood or run out of
//! something. Nothing may hang and nothing may be lost.
//!
//! In quick form by default, seconds in all; `XSCHED_FAULTS=full` makes every
//! count as large as docs/OPERATIONS.md says.

/// The fake runtime and its scripted program, under the real shim.
#[path = "../../../xsched-shim/tests/support/mod.rs"]
mod shim;

/// Tests of programs at their gates run with each platform's shim.
macro_rules! on_each_platform {
    ($($name:ident)*) => {
        mod hip {
            $(#[test] fn $name() { super::$name(super::Platform::Hip); })*
        }
        mod cuda {
            $(#[test] fn $name() { super::$name(super::Platform::Cuda); })*
        }
    };
}

mod agents;
mod churn;
mod clients;
mod door;
mod frozen;
mod hostile;
mod identity;
mod limits;
mod memory;
mod namespaces;
mod standstill;
mod starved;
mod suspended;
mod versions;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use xsched_common::handshake::{Hello, HelloResult, Reply};
use xsched_common::run_dir::RunDir;
use xsched_testkit::connect;

/// Not a test of its own: the process that a `FakePeer` starts.
#[test]
fn rival_process() {
    identity::orphan();
    churn::tenant();
    xsched_testkit::fake_peer::obey();
}

/// How often something is done: in quick form, in full.
fn times(quick: usize, full: usize) -> usize {
    match std::env::var_os("XSCHED_FAULTS") {
        Some(which) if which == "full" => full,
        _ => quick,
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("LEFT OUT: only root can do this");
    }
    root
}

/// Prints how long something took and holds the median to `bound`. The rest
/// may be this machine's (gaps of 100 ms and more), but nothing hangs.
fn assert_prompt(what: &str, mut took: Vec<Duration>, bound: Duration) {
    took.sort_unstable();
    let at = |q: usize| took[(took.len() * q / 100).min(took.len() - 1)];
    let (p50, p90, max) = (at(50), at(90), at(100));
    println!(
        "{what}: {} times, P50 {p50:.1?}, P90 {p90:.1?}, max {max:.1?} (bound {bound:?})",
        took.len()
    );
    let noise = Duration::from_millis(100);
    assert!(p50 <= bound, "{what}: P50 {p50:?}, bound {bound:?}");
    assert!(p90 <= bound + noise, "{what}: P90 {p90:?}, bound {bound:?}");
    assert!(max <= bound + 7 * noise, "{what}: {max:?}, bound {bound:?}");
}

static MACHINE: RwLock<()> = RwLock::new(());

/// For a test that measures times: nobody else is at work.
fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// For a test that may share the machine with others.
fn in_company() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Says a hello, and what the agent says to that; `None` if it hangs up.
fn say_hello(run_dir: &RunDir, hello: &Hello) -> Option<HelloResult> {
    let socket = connect(run_dir);
    rustix::net::send(&socket, &hello.encode(), SendFlags::NOSIGNAL).ok()?;
    let mut bytes = [0; 64];
    let (len, _) = rustix::net::recv(&socket, &mut bytes[..], RecvFlags::empty()).ok()?;
    Some(Reply::decode(&bytes[..len]).ok()?.verdict)
}
