//! Whose waits they are: the shim calls the runtime for its caller.

use std::path::Path;

use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass::{Created, Null};
use xsched_observe::{LinkKind, ObjectKind, Plan};
use xsched_testkit::callers::{Api, Fixture};
use xsched_testkit::{Agent, built, wait_for};

use crate::fixture::{bpf_or_left_out, observe};
use crate::{STREAM, total, total_of};

/// (library or thread, function, stream, calls); hipsim knows no such stream
/// and no such event, and says so.
const SCRIPT: [(char, Api, u64, i64); 7] = [
    ('a', Api::DeviceWait, 0, 300),
    ('b', Api::DeviceWait, 0, 20),
    ('a', Api::StreamWait, 0, 500),
    ('b', Api::StreamWait, STREAM, 40),
    ('t', Api::StreamWait, 0, 5),
    ('b', Api::SlowWait, STREAM, 6),
    ('b', Api::DeviceWait, 0, 1),
];

#[test]
fn waits_under_our_shim_are_credited_to_who_called_it() {
    let shim = built("libxsched_shim.so");
    let nobody = None;
    waits(Some(&shim), nobody, LinkKind::Best, CallRoute::Shim);
    waits(Some(&shim), nobody, LinkKind::Perf, CallRoute::Shim);
}

/// The shim then has more to do around a wait, and larger frames.
#[test]
fn waits_of_a_process_that_has_joined_are_credited_likewise() {
    let shim = built("libxsched_shim.so");
    let agent = Agent::start();
    waits(Some(&shim), Some(&agent), LinkKind::Best, CallRoute::Shim);
}

#[test]
fn waits_without_a_shim_are_direct() {
    waits(None, None, LinkKind::Best, CallRoute::Direct);
}

fn waits(shim: Option<&Path>, agent: Option<&Agent>, links: LinkKind, route: CallRoute) {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let nobody = fixture.path().join("nobody");
    let run_dir = agent.map_or(nobody.as_path(), |agent| &agent.run_dir.0);
    let mut program = fixture.start_on_hipsim(shim, run_dir);
    let pid = program.pid();
    if let Some(agent) = agent {
        // The first launch joins.
        program.call('a', Api::Launch, 0, 1);
        wait_for("the program has joined", || {
            agent.rows().iter().any(|row| row["pid"] == pid)
        });
    }
    let mut observer = observe(Plan {
        links,
        ..Plan::process(pid, Vec::new())
    });
    for (library, api, stream, count) in SCRIPT {
        program.call(library, api, stream, count);
    }
    let sample = observer.sample().expect("sample");
    for (api, from, class, count) in [
        (Api::DeviceWait, "liba.so", Null, 300),
        (Api::DeviceWait, "libb.so", Null, 21),
        (Api::StreamWait, "liba.so", Null, 505),
        (Api::StreamWait, "libb.so", Created, 40),
        (Api::SlowWait, "libb.so", Null, 6),
    ] {
        let counted = total(&sample, pid, api, from, class, route);
        assert_eq!(counted, count, "{api:?} from {from} on {class:?}");
    }
    // What the runtime calls of itself aside.
    let of_it = sample.calls.iter().filter(|call| call.process.pid == pid);
    let foreign = of_it.filter(|call| call.caller.object.kind != ObjectKind::Runtime);
    let programs: u64 = foreign.map(|call| call.count).sum();
    assert_eq!(
        programs,
        SCRIPT.iter().map(|(.., n)| *n as u64).sum::<u64>()
    );
    assert!(total_of(&sample, pid) >= programs);
    assert_eq!(sample.drops.calls(), 0);
}
