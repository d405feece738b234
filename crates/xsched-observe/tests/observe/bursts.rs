//! Bursts without the shim.

use xsched_common::page::HistogramCounts;
use xsched_observe::{LinkKind, Observer, Plan, Returns, Sample, Scope, Watched};
use xsched_testkit::callers::{Api, Fixture, Preload, Program};

use crate::STREAM;
use crate::fixture::{bpf_or_left_out, observe};

/// One process only: others must not meet return probes.
fn watch(pid: u32) -> Plan {
    Plan {
        scope: Scope::Pid(pid),
        returns: Returns::OfWaits,
        ..crate::watch_everything()
    }
}

fn bursts(sample: &Sample, pid: u32) -> HistogramCounts {
    let of_it = sample.bursts.iter().find(|(id, _)| id.pid == pid);
    of_it.map(|(_, counts)| counts.clone()).unwrap_or_default()
}

fn burst(program: &mut Program) {
    program.call('a', Api::Launch, STREAM, 3);
    program.call('b', Api::Launch, STREAM, 2);
    program.call('a', Api::StreamWait, STREAM, 1);
}

#[test]
fn whole_bursts_are_counted_and_no_others() {
    count_bursts(LinkKind::Best);
}

#[test]
fn perf_uprobes_see_returns_as_well() {
    count_bursts(LinkKind::Perf);
}

fn count_bursts(links: LinkKind) {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Nothing);
    let pid = program.pid();
    let mut observer = observe(Plan {
        links,
        ..watch(pid)
    });
    let count = |observer: &mut Observer| bursts(&observer.sample().expect("sample"), pid).total();
    burst(&mut program);
    assert_eq!(
        count(&mut observer),
        0,
        "it may have begun before the probes"
    );
    for _ in 0..5 {
        burst(&mut program);
    }
    assert_eq!(count(&mut observer), 5);
    // A wait without a launch before it is none.
    program.call('a', Api::DeviceWait, 0, 4);
    assert_eq!(count(&mut observer), 5);
    // Each thread has its own.
    program.call('t', Api::Launch, STREAM, 3);
    program.call('a', Api::DeviceWait, 0, 1);
    assert_eq!(count(&mut observer), 5);
    if links == LinkKind::Perf {
        return;
    }
    // It begins while the probes are away, or ends then.
    observer.watch(Watched::nobody());
    program.call('a', Api::Launch, STREAM, 1);
    observer.watch(Watched::everybody());
    program.call('a', Api::StreamWait, STREAM, 1);
    program.call('a', Api::Launch, STREAM, 1);
    observer.watch(Watched::nobody());
    program.call('a', Api::StreamWait, STREAM, 1);
    observer.watch(Watched::everybody());
    program.call('a', Api::StreamWait, STREAM, 1);
    assert_eq!(count(&mut observer), 5);
    burst(&mut program);
    assert_eq!(count(&mut observer), 6);
}

/// The device works 20 ms.
#[test]
fn a_burst_is_as_long_as_its_wait() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Nothing);
    let mut observer = observe(watch(program.pid()));
    program.call('a', Api::DeviceWait, 0, 1);
    for _ in 0..3 {
        program.call('a', Api::Launch, 0, 1);
        program.call('a', Api::SlowWait, 20, 1);
    }
    let counts = bursts(&observer.sample().expect("sample"), program.pid());
    let median = counts.quantile(0.5).expect("three");
    assert_eq!(counts.total(), 3);
    assert!((19_000_000..100_000_000).contains(&median.0), "{median}");
}

/// On Linux 6.11 to 6.13 a return probe kills it: then none is set.
#[test]
fn a_process_under_a_strict_seccomp_filter_survives_probes_on_its_returns() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Nothing);
    program.call('s', Api::Launch, 0, 1);
    let mut observer = observe(watch(program.pid()));
    for _ in 0..3 {
        burst(&mut program);
    }
    observer.sample().expect("sample");
    drop(observer);
    burst(&mut program);
    program.end();
}
