//! Who pays for probes, and that nothing is lost silently.

use std::collections::HashSet;

use xsched_common::bpf::{KEYS_PER_PROCESS, OTHER_KEYS_PER_PROCESS};
use xsched_observe::{Plan, Watched};
use xsched_testkit::callers::{Api, Fixture, Preload};
use xsched_testkit::wait_for;

use crate::fixture::{bpf_or_left_out, fills_maps, observe};
use crate::{STREAM, total_of, watch_everything};

/// Two processes on one image: the one that is not watched runs without a
/// single breakpoint.
#[test]
fn a_spared_process_pays_nothing_beside_a_watched_one() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let (mut watched, mut spared) = (
        fixture.start(Preload::Nothing),
        fixture.start(Preload::Nothing),
    );
    let mut observer = observe(watch_everything());
    observer.watch(Watched::AllBut(HashSet::from([spared.pid()])));
    // The fastest: whatever else runs on the machine only adds. Observers of
    // other tests may watch both, and go again.
    let (mut with, mut without, mut calls) = (u64::MAX, u64::MAX, 0);
    wait_for("what is spared costs a fifth at most", || {
        with = with.min(watched.call('a', Api::ModuleLaunch, STREAM, 20_000));
        without = without.min(spared.call('a', Api::ModuleLaunch, STREAM, 20_000));
        calls += 20_000;
        eprintln!("{with} ns a call watched, {without} ns spared");
        calls >= 140_000 && without * 5 < with
    });
    let sample = observer.sample().expect("sample");
    assert_eq!(total_of(&sample, spared.pid()), 0);
    assert_eq!(total_of(&sample, watched.pid()), calls);
    // The other way round, and then nobody.
    observer.watch(Watched::Only(HashSet::from([spared.pid()])));
    spared.call('a', Api::Launch, 0, 5);
    watched.call('a', Api::Launch, 0, 6);
    observer.watch(Watched::nobody());
    spared.call('a', Api::Launch, 0, 7);
    let sample = observer.sample().expect("sample");
    assert_eq!(total_of(&sample, spared.pid()), 5);
    assert_eq!(total_of(&sample, watched.pid()), calls);
}

#[test]
fn generated_code_with_call_sites_without_end_takes_no_more_than_its_share() {
    if !bpf_or_left_out() {
        return;
    }
    let _alone = fills_maps();
    let fixture = Fixture::build();
    let (mut generated, mut other) = (
        fixture.start(Preload::Nothing),
        fixture.start(Preload::Nothing),
    );
    let mut observer = observe(Plan {
        max_keys: KEYS_PER_PROCESS + OTHER_KEYS_PER_PROCESS,
        ..watch_everything()
    });
    generated.call('j', Api::CopyAsync, STREAM, 5_000);
    other.call('a', Api::Launch, 0, 7);
    let sample = observer.sample().expect("sample");
    assert_eq!(total_of(&sample, generated.pid()), 5_000, "all are counted");
    assert_eq!(
        total_of(&sample, other.pid()),
        7,
        "there is room for others"
    );
    assert_eq!(sample.drops.calls(), 0);
    let of_it = || {
        sample
            .calls
            .iter()
            .filter(|c| c.process.pid == generated.pid())
    };
    assert!(of_it().count() <= KEYS_PER_PROCESS as usize + 1);
    let others: u64 = of_it()
        .filter(|c| c.caller.object.name == "(others)")
        .map(|c| c.count)
        .sum();
    assert_eq!(others, 5_000 - u64::from(KEYS_PER_PROCESS));
}

#[test]
fn a_flood_of_calls_is_counted_to_the_last() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Nothing);
    let mut observer = observe(Plan::process(program.pid(), Vec::new()));
    program.call('a', Api::Launch, STREAM, 1_000_000);
    let sample = observer.sample().expect("sample");
    let counted = total_of(&sample, program.pid());
    assert_eq!(sample.events, 1_000_000);
    assert_eq!(counted + sample.drops.calls(), sample.events);
    assert_eq!(sample.drops.calls(), 0);
}
