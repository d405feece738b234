//! Processes that hold up whoever looks at them.

use std::time::{Duration, Instant};

use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass::Null;
use xsched_observe::Observer;
use xsched_testkit::callers::{Api, Fixture, Preload};
use xsched_testkit::holder::Holder;

use crate::fixture::bpf_or_left_out;
use crate::{total, total_of, watch_everything};

/// Without an end to reads it would wait for ever.
const DEADLINE: Duration = Duration::from_secs(40);

/// The one is waited for once and for a moment only, and everybody else is
/// counted to the call.
#[test]
fn a_process_that_holds_its_memory_map_hides_nobody_else() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let Some(holder) = Holder::start() else {
        return;
    };
    let began = Instant::now();
    let mut observer = Observer::start(watch_everything()).expect("observer");
    let mut program = fixture.start(Preload::Nothing);
    let pid = program.pid();
    // On a busy machine a look at it may be late as well: it comes again.
    let probed = |observer: &Observer| observer.images().any(|(.., users)| users.contains(&pid));
    while !probed(&observer) {
        observer.refresh();
        assert!(began.elapsed() < DEADLINE, "it is not found");
    }
    program.call('a', Api::Launch, 0, 7);
    loop {
        let sample = observer.sample().expect("sample");
        let (api, route) = (Api::Launch, CallRoute::Direct);
        match total(&sample, pid, api, "liba.so", Null, route) {
            7 => break,
            // Its library has not been read yet.
            0 => assert_eq!(total_of(&sample, pid), 7),
            n => panic!("{n} calls counted of 7"),
        }
        assert!(began.elapsed() < DEADLINE, "its library is not known");
    }
    let held_up = |observer: &Observer| {
        let mut limits = observer.limits();
        limits.any(|limit| limit.contains("holds up whoever reads it"))
    };
    assert!(held_up(&observer), "it is said");
    drop(holder);
    while held_up(&observer) {
        observer.wait(Duration::from_millis(50));
        observer.refresh();
        assert!(began.elapsed() < 2 * DEADLINE, "it has let go");
    }
}
