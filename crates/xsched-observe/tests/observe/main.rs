//! The observer against real BPF: programs with known calls, exact counts.

mod bursts;
mod cost;
mod fixture;
mod held;
mod images;
mod odd;
mod quota;
mod sites;
mod waits;

use std::io::Write as _;
use std::time::{Duration, Instant};

use xsched_common::bpf::{CallRoute, Drop as Reason};
use xsched_common::units::StreamClass::{self, Created, Legacy, Null, PerThread};
use xsched_observe::{CallCount, ImageKind, LinkKind, ObjectKind, Plan, ProbeSet, Sample, Scope};
use xsched_testkit::callers::{Api, Fixture, Preload};
use xsched_testkit::wait_for;

use fixture::{Overlay, bpf_or_left_out, look, observe};

const STREAM: u64 = 0x5000_1000;

fn watch_everything() -> Plan {
    Plan {
        probes: ProbeSet::Work,
        ..Plan::everything()
    }
}

/// Total of a process's calls of `api` from the library `from`.
fn total(
    sample: &Sample,
    pid: u32,
    api: Api,
    from: &str,
    stream: StreamClass,
    route: CallRoute,
) -> u64 {
    let same = |call: &&CallCount| {
        call.process.pid == pid
            && call.entry().symbol == api.symbol()
            && call.caller.object.name == from
            && call.stream == stream
            && call.route == route
    };
    sample.calls.iter().filter(same).map(|c| c.count).sum()
}

fn total_of(sample: &Sample, pid: u32) -> u64 {
    let of_it = sample.calls.iter().filter(|c| c.process.pid == pid);
    of_it.map(|c| c.count).sum()
}

#[test]
fn counts_are_exact_by_function_library_and_stream() {
    exact_counts(LinkKind::Best);
}

#[test]
fn counts_are_as_exact_with_perf_uprobes() {
    exact_counts(LinkKind::Perf);
}

fn exact_counts(links: LinkKind) {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Nothing);
    let mut observer = observe(Plan {
        links,
        ..watch_everything()
    });
    let script = [
        ('a', Api::Launch, 0, 11),
        ('a', Api::Launch, STREAM, 22),
        ('b', Api::Launch, 1, 33),
        ('b', Api::Launch, 2, 44),
        ('t', Api::Launch, 2, 5),
        ('a', Api::ModuleLaunch, STREAM, 55),
        ('b', Api::ModuleLaunch, 0, 66),
        ('a', Api::ExtLaunch, STREAM, 77),
        ('b', Api::ExtLaunch, 2, 88),
        ('a', Api::LaunchExC, STREAM, 99),
        ('a', Api::LaunchExC, 0, 12),
        ('b', Api::CopyAsync, STREAM, 13),
        ('b', Api::CopyAsync, 0, 14),
        ('a', Api::StreamWait, STREAM, 15),
        ('a', Api::DeviceWait, 0, 16),
    ];
    for (library, api, stream, count) in script {
        program.call(library, api, stream, count);
    }
    let sample = observer.sample().expect("sample");
    for (library, api, stream, count) in script {
        let from = match library {
            'b' => "libb.so",
            _ => "liba.so",
        };
        let class = StreamClass::of_handle(stream);
        let counted = total(&sample, program.pid(), api, from, class, CallRoute::Direct);
        assert_eq!(counted, count as u64, "{api:?} from {from} on {class:?}");
    }
    let everything: i64 = script.iter().map(|(.., count)| count).sum();
    assert_eq!(total_of(&sample, program.pid()), everything as u64);
    assert!(sample.events >= everything as u64);
    assert_eq!(sample.drops.calls(), 0);
    let path = fixture.path().join("liba.so");
    let from_a = sample
        .calls
        .iter()
        .find(|c| c.process.pid == program.pid() && c.caller.object.name == "liba.so")
        .expect("calls from liba.so");
    assert_eq!(from_a.caller.object.path, path.to_string_lossy());
    assert_eq!(from_a.caller.object.kind, ObjectKind::Program);
    assert!(from_a.caller.file_offset > 0);
    assert_eq!([Created, Null, Legacy, PerThread].len(), StreamClass::COUNT);
}

#[test]
fn calls_through_a_shim_are_told_from_those_past_it() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Shim);
    let plan = Plan::process(program.pid(), Vec::new());
    let mut observer = observe(plan);
    assert_eq!(observer.probed(ImageKind::Shim), (1, 2));
    program.call('a', Api::Launch, 0, 10);
    program.call('b', Api::Launch, STREAM, 20);
    program.call('t', Api::Launch, STREAM, 7);
    program.call('a', Api::ModuleLaunch, STREAM, 30);
    program.call('a', Api::StreamWait, STREAM, 40);
    program.call('b', Api::Launch, STREAM, 1);
    let sample = observer.sample().expect("sample");
    let count = |api, from, stream, route| total(&sample, program.pid(), api, from, stream, route);
    use CallRoute::{Direct, Shim};
    assert_eq!(count(Api::Launch, "liba.so", Null, Shim), 10);
    assert_eq!(count(Api::Launch, "liba.so", Created, Shim), 7);
    assert_eq!(count(Api::Launch, "libb.so", Created, Shim), 21);
    assert_eq!(count(Api::ModuleLaunch, "liba.so", Created, Direct), 30);
    // The shim calls here, for whom it says.
    assert_eq!(count(Api::StreamWait, "liba.so", Created, Shim), 40);
    assert_eq!(total_of(&sample, program.pid()), 10 + 20 + 7 + 30 + 40 + 1);
}

#[test]
fn a_process_that_exits_is_counted_once_more_and_then_forgotten() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut observer = observe(watch_everything());
    let mut program = fixture.start(Preload::Nothing);
    let pid = program.pid();
    look(&mut observer);
    program.call('a', Api::Launch, 0, 3);
    // As the daemon does it: callers are learnt while their process lives.
    observer.wait(Duration::from_millis(50));
    program.call('a', Api::Launch, 0, 4);
    program.end();
    let sample = observer.sample().expect("sample");
    assert_eq!(
        total(
            &sample,
            pid,
            Api::Launch,
            "liba.so",
            Null,
            CallRoute::Direct
        ),
        7
    );
    assert!(sample.exited.iter().any(|process| process.pid == pid));
    let sample = observer.sample().expect("sample");
    assert_eq!(total_of(&sample, pid), 0);
    assert!(!sample.exited.iter().any(|process| process.pid == pid));
}

#[test]
fn a_process_that_dies_while_examined_harms_nothing() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    for _ in 0..4 {
        let mut program = fixture.start(Preload::Nothing);
        let pid = program.pid();
        let killer = std::thread::spawn(move || {
            program.call('b', Api::Launch, 2, 100);
            drop(program);
        });
        let mut observer = observe(Plan::process(pid, Vec::new()));
        observer.wait(Duration::from_millis(10));
        observer.sample().expect("sample");
        killer.join().expect("killer");
        look(&mut observer);
        let sample = observer.sample().expect("sample");
        assert!(total_of(&sample, pid) <= 100);
    }
    let gone = observe(Plan::process(u32::MAX, Vec::new()));
    assert_eq!(gone.probed(ImageKind::Runtime), (0, 0));
}

#[test]
fn images_are_found_when_they_appear_and_kept_apart() {
    if !bpf_or_left_out() {
        return;
    }
    let (first, second) = (Fixture::build(), Fixture::build());
    let mut one = first.start(Preload::Nothing);
    let mut observer = observe(watch_everything());
    let mut two = second.start(Preload::Nothing);
    look(&mut observer);
    // A third process of a known image needs no refresh.
    let mut three = first.start(Preload::Nothing);
    one.call('a', Api::Launch, 0, 5);
    two.call('a', Api::Launch, 0, 6);
    three.call('a', Api::Launch, 0, 7);
    let sample = observer.sample().expect("sample");
    for (program, count) in [(&one, 5), (&two, 6), (&three, 7)] {
        assert_eq!(total_of(&sample, program.pid()), count);
    }
    look(&mut observer);
    for (fixture, users) in [
        (&first, vec![one.pid(), three.pid()]),
        (&second, vec![two.pid()]),
    ] {
        let path = fixture.path().join("libamdhip64.so.5");
        let (_, _, pids) = observer
            .images()
            .find(|(_, image, _)| *image == path.to_string_lossy())
            .expect("image");
        let mut pids = pids.to_vec();
        pids.sort_unstable();
        assert_eq!(pids, users);
    }
}

/// Containers of one image share its layers through overlayfs.
#[test]
fn one_file_in_two_containers_is_probed_once() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let containers = [Overlay::of(fixture.path()), Overlay::of(fixture.path())];
    let mut programs: Vec<_> = containers
        .iter()
        .map(|overlay| fixture.start_in(&overlay.merged()))
        .collect();
    let mut observer = observe(watch_everything());
    programs.push(fixture.start(Preload::Nothing));
    look(&mut observer);
    for (program, count) in programs.iter_mut().zip([5, 6, 7]) {
        program.call('a', Api::Launch, 0, count);
    }
    let sample = observer.sample().expect("sample");
    for (program, count) in programs.iter().zip([5, 6, 7]) {
        assert_eq!(total_of(&sample, program.pid()), count);
    }
    // Files must be let go before their file systems.
    drop((observer, programs));
}

#[test]
fn one_process_can_be_watched_alone_with_all_its_threads() {
    watch_one(LinkKind::Best);
}

#[test]
fn perf_uprobes_watch_one_process_as_well() {
    watch_one(LinkKind::Perf);
}

fn watch_one(links: LinkKind) {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let (mut watched, mut other) = (
        fixture.start(Preload::Nothing),
        fixture.start(Preload::Nothing),
    );
    let mut observer = observe(Plan {
        links,
        ..Plan::process(watched.pid(), Vec::new())
    });
    watched.call('a', Api::Launch, 0, 5);
    watched.call('t', Api::Launch, 0, 6);
    other.call('a', Api::Launch, 0, 7);
    let sample = observer.sample().expect("sample");
    assert_eq!(total_of(&sample, watched.pid()), 11);
    assert_eq!(total_of(&sample, other.pid()), 0);
    // Two observers do not count twice.
    let mut second = observe(watch_everything());
    watched.call('b', Api::Launch, 0, 9);
    let both = observer.sample().expect("sample");
    assert_eq!(total_of(&both, watched.pid()), 20);
    let second = second.sample().expect("sample");
    assert_eq!(total_of(&second, watched.pid()), 9);
}

#[test]
fn what_could_not_be_counted_is_reported() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Nothing);
    let mut observer = observe(Plan {
        max_keys: 2,
        ..Plan::process(program.pid(), Vec::new())
    });
    for (stream, count) in [(0, 10), (1, 20), (2, 30), (STREAM, 40)] {
        program.call('a', Api::Launch, stream, count);
    }
    program.call('a', Api::BadPointer, STREAM, 5);
    let sample = observer.sample().expect("sample");
    let counted = total_of(&sample, program.pid());
    assert_eq!(sample.drops.of(Reason::StackUnreadable), 5);
    assert!(sample.drops.of(Reason::CountsFull) >= 40);
    let by_cpu = sample.drops_by_cpu.iter();
    let lost: u64 = by_cpu
        .map(|drops| drops[Reason::StackUnreadable as usize])
        .sum();
    assert_eq!(lost, 5);
    assert_eq!(counted + sample.drops.calls(), sample.events);
    assert_eq!(sample.events, 105);
}

#[test]
fn a_file_that_only_has_the_name_is_reported_and_left_alone() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start_with_garbage_runtime();
    let mut observer = observe(Plan::process(program.pid(), Vec::new()));
    look(&mut observer);
    let complaints: Vec<&str> = observer.limits().collect();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].contains("libamdhip64.so.9"), "{complaints:?}");
    program.call('a', Api::Launch, 0, 5);
    let sample = observer.sample().expect("sample");
    assert_eq!(total_of(&sample, program.pid()), 5);
}

#[test]
fn letting_go_of_many_probes_is_quick() {
    if !bpf_or_left_out() {
        return;
    }
    // Eight functions each, of which some are probed.
    let fixtures: Vec<Fixture> = (0..9).map(|_| Fixture::build()).collect();
    let programs: Vec<_> = fixtures
        .iter()
        .map(|fixture| fixture.start(Preload::Nothing))
        .collect();
    let started = Instant::now();
    let observer = observe(watch_everything());
    let attached_in = started.elapsed();
    let (images, probes) = observer.probed(ImageKind::Runtime);
    assert!(
        images >= 9 && probes >= 63,
        "{images} images, {probes} probes"
    );
    let started = Instant::now();
    drop(observer);
    let detached_in = started.elapsed();
    let mut out = std::io::stderr();
    let _ = writeln!(
        out,
        "{probes} probes: attached in {attached_in:?}, detached in {detached_in:?}"
    );
    assert!(detached_in < Duration::from_secs(2), "{detached_in:?}");
    drop(programs);
}

#[test]
fn scopes_are_what_the_plans_promise() {
    assert_eq!(Plan::everything().scope, Scope::All);
    assert_eq!(Plan::process(7, Vec::new()).scope, Scope::Pid(7));
}

/// What a probe costs, by the first instruction; shown with --nocapture.
#[test]
fn the_price_of_a_probe_follows_the_first_instruction() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Nothing);
    let mut cost = |api| {
        // The fastest: whatever else runs on the machine only adds.
        let runs = (0..5).map(|_| program.call('a', api, STREAM, 20_000));
        runs.min().expect("five runs")
    };
    let entries = [
        ("endbr64; push, probed at the push", Api::Launch),
        ("push", Api::ModuleLaunch),
        ("nop5; jmp, probed at the jmp", Api::ExtLaunch),
    ];
    // Observers of other tests may probe it as well, and go again.
    let mut bare = [u64::MAX; 3];
    wait_for("nobody probes it", || {
        bare = entries.map(|(_, api)| cost(api));
        bare.iter().all(|&ns| ns < 500)
    });
    let observer = observe(watch_everything());
    let probed = entries.map(|(_, api)| cost(api));
    drop(observer);
    for (i, (entry, _)) in entries.iter().enumerate() {
        eprintln!("{entry}: {} ns, unprobed {} ns", probed[i], bare[i]);
        assert!(probed[i] > bare[i], "{entry}: the probe did not fire");
        // A probe on endbr64 itself costs 3 to 14 us.
        assert!(probed[i] < 20_000, "{entry}: {} ns", probed[i]);
    }
}
