//! Processes that hold up whoever looks at them.

use std::time::{Duration, Instant};

use xsched_agent::observe::Observer;
use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass::Null;

use crate::fixture::{Api, Fixture, Preload, bpf_or_left_out};
use crate::holder::Holder;
use crate::{total, watch_everything};

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
    observer.refresh();
    program.call('a', Api::Launch, 0, 7);
    let sample = observer.sample().expect("sample");
    let counted = total(
        &sample,
        program.pid(),
        Api::Launch,
        "liba.so",
        Null,
        CallRoute::Direct,
    );
    assert_eq!(counted, 7);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let held_up = |observer: &Observer| {
        let mut limits = observer.limits();
        limits.any(|limit| limit.contains("holds up whoever reads it"))
    };
    assert!(held_up(&observer), "it is said");
    drop(holder);
    for _ in 0..100 {
        observer.wait(Duration::from_millis(50));
        observer.refresh();
        if !held_up(&observer) {
            return;
        }
    }
    panic!("it has let go");
}
