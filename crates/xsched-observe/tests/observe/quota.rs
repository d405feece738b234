//! A user who fills the maps fills only his part of them.

use xsched_common::bpf::{Drop as Reason, Room, user_most, user_share};
use xsched_observe::{Observer, Plan, Sample};
use xsched_testkit::callers::{Api, Fixture, Program};

use crate::fixture::{bpf_or_left_out, fills_maps, observe};
use crate::{STREAM, total_of, watch_everything};

/// Whoever fills the maps, and whoever wants to be counted beside him. Nobody
/// else has these ids.
const FILLER: u32 = 61_001;
const NEIGHBOUR: u32 = 61_002;
const ROOT: u32 = 0;

/// Small maps are soon full. What programs of other tests have of them fits
/// beside a user who has all that he may.
const ROOM: Room = Room::for_keys(4_096);

/// Call sites of one program: within the quota of a process.
const SITES: i64 = 900;
/// Programs that together have more of them than a user's share.
const PROGRAMS: usize = 3;
const ALL_SITES: u64 = PROGRAMS as u64 * SITES as u64;

/// With a program that keeps the runtime in sight and does nothing.
fn small(fixture: &Fixture) -> (Program, Observer) {
    let idle = fixture.start_as(ROOT);
    let observer = observe(Plan {
        max_keys: ROOM.keys,
        ..watch_everything()
    });
    (idle, observer)
}

/// The names that a process's calls are counted under.
fn callers(sample: &Sample, pid: u32) -> Vec<&str> {
    let of_it = sample.calls.iter().filter(|call| call.process.pid == pid);
    of_it.map(|call| call.caller.object.name.as_str()).collect()
}

fn fill(fixture: &Fixture, uid: u32) -> Vec<Program> {
    let mut programs: Vec<Program> = (0..PROGRAMS).map(|_| fixture.start_as(uid)).collect();
    for program in &mut programs {
        program.call('j', Api::CopyAsync, STREAM, SITES);
    }
    programs
}

/// Calls and keys of these programs.
fn of_them(sample: &Sample, programs: &[Program]) -> (u64, u64) {
    let pids = || programs.iter().map(Program::pid);
    (
        pids().map(|pid| total_of(sample, pid)).sum(),
        pids().map(|pid| callers(sample, pid).len() as u64).sum(),
    )
}

/// A hundred call sites of a neighbour, which are counted one by one.
fn counts_a_neighbour(fixture: &Fixture, observer: &mut Observer) {
    let mut neighbour = fixture.start_as(NEIGHBOUR);
    neighbour.call('j', Api::CopyAsync, STREAM, 100);
    neighbour.call('a', Api::Launch, 0, 7);
    let sample = observer.sample().expect("sample");
    let callers = callers(&sample, neighbour.pid());
    assert_eq!(total_of(&sample, neighbour.pid()), 107);
    assert_eq!(callers.len(), 101);
    assert!(!callers.contains(&"(others)"), "{callers:?}");
}

#[test]
fn the_keys_of_one_user_leave_room_for_others() {
    if !bpf_or_left_out() {
        return;
    }
    let _alone = fills_maps();
    let fixture = Fixture::build();
    let (_idle, mut observer) = small(&fixture);
    let mut fillers = fill(&fixture, FILLER);
    let sample = observer.sample().expect("sample");
    let (calls, keys) = of_them(&sample, &fillers);
    assert_eq!(calls, ALL_SITES, "all are counted");
    // His share, and then one key for each process.
    let share = user_share(ROOM.keys);
    assert!(
        (share..=share + PROGRAMS as u64).contains(&keys),
        "{keys} keys"
    );
    assert_eq!(sample.drops.of(Reason::UserQuota), 0);
    // Each child takes a key.
    let children = user_most(ROOM.keys) - keys + 80;
    fillers[0].call('f', Api::Launch, 0, children as i64);
    counts_a_neighbour(&fixture, &mut observer);
    let sample = observer.sample().expect("sample");
    assert_eq!(sample.drops.of(Reason::UserQuota), 80, "they are told of");
    assert_eq!(sample.drops.of(Reason::CountsFull), 0);
    // His processes are gone, and nothing is held against him.
    drop(fillers);
    observer.sample().expect("sample");
    let mut again = fixture.start_as(FILLER);
    again.call('j', Api::CopyAsync, STREAM, 100);
    let sample = observer.sample().expect("sample");
    assert_eq!(callers(&sample, again.pid()).len(), 100);
}

#[test]
fn the_processes_of_one_user_leave_room_for_others() {
    if !bpf_or_left_out() {
        return;
    }
    let _alone = fills_maps();
    let fixture = Fixture::build();
    let (_idle, mut observer) = small(&fixture);
    let mut filler = fixture.start_as(FILLER);
    let most = user_most(ROOM.processes);
    filler.call('f', Api::Launch, 0, most as i64 + 80);
    counts_a_neighbour(&fixture, &mut observer);
    let sample = observer.sample().expect("sample");
    assert_eq!(sample.drops.of(Reason::UserQuota), 80);
    assert_eq!(sample.drops.of(Reason::CountsFull), 0);
    // They were gone at the sample.
    filler.call('a', Api::Launch, 0, 5);
    let sample = observer.sample().expect("sample");
    assert_eq!(total_of(&sample, filler.pid()), 5);
    assert_eq!(callers(&sample, filler.pid()), ["liba.so"]);
}

/// Its daemons must not be shut out, and it could do worse.
#[test]
fn root_has_no_quota() {
    if !bpf_or_left_out() {
        return;
    }
    let _alone = fills_maps();
    let fixture = Fixture::build();
    let (_idle, mut observer) = small(&fixture);
    let programs = fill(&fixture, ROOT);
    let sample = observer.sample().expect("sample");
    assert!(ALL_SITES > user_most(ROOM.keys), "it would be told of");
    assert_eq!(of_them(&sample, &programs), (ALL_SITES, ALL_SITES));
    assert_eq!(sample.drops.of(Reason::CountsFull), 0);
}
