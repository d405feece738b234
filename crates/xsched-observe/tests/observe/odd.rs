//! What is observed must never notice: programs that leave waits by
//! unusual ways, and children that no fork handler has seen.

use xsched_observe::{Observer, Plan, ShimProbes};
use xsched_testkit::built;
use xsched_testkit::callers::{Fixture, Program};

use crate::fixture::{bpf_or_left_out, observe};

/// As the daemon sets probes.
fn as_the_daemon() -> Observer {
    observe(Plan {
        shims: ShimProbes::Probe(Vec::new()),
        ..Plan::everything()
    })
}

/// Whether the program is well before we look: other observers on the machine
/// (bpftrace, an older agent) may probe it as we do not.
fn is_well(program: &mut Program, line: &str, well: &str) -> bool {
    let well = program.ask(line) == well;
    if !well {
        eprintln!("LEFT OUT: another observer's probes disturb this machine's programs");
    }
    well
}

/// A probe on the wait's return would keep the unwinder from passing it.
#[test]
fn waits_can_be_left_by_cancellation_and_by_jumps() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start_odd(None);
    if !is_well(&mut program, "cancel", "3") {
        return;
    }
    let mut observer = as_the_daemon();
    assert_eq!(program.ask("cancel"), "3", "every destructor has run");
    assert_eq!(program.ask("jump"), "100");
    let sample = observer.sample().expect("sample");
    let of_it = sample
        .calls
        .iter()
        .filter(|c| c.process.pid == program.pid());
    assert_eq!(of_it.map(|c| c.count).sum::<u64>(), 103);
    program.end();
}

/// The 5-byte NOP at a function's entry, ours or the runtime's, is left
/// alone: the kernel patches it into a call that such a child inherits
/// without the page that it leads to.
#[test]
fn children_of_the_bare_system_call_can_launch() {
    if !bpf_or_left_out() {
        return;
    }
    let shim = built("libxsched_shim.so");
    let fixture = Fixture::build();
    for preload in [None, Some(shim.as_path())] {
        let mut program = fixture.start_odd(preload);
        if !is_well(&mut program, "clone", "0") {
            return;
        }
        let mut observer = as_the_daemon();
        assert_eq!(program.ask("clone"), "0", "{preload:?}");
        let sample = observer.sample().expect("sample");
        let of_it = sample
            .calls
            .iter()
            .filter(|c| c.process.pid == program.pid());
        assert_eq!(of_it.map(|c| c.count).sum::<u64>(), 200, "{preload:?}");
        program.end();
    }
}
