//! The shared file with several attached processes played by this one, and with dead ones.

use std::sync::atomic::Ordering::SeqCst;

use super::clock::{Clock, REAP_INTERVAL, now};
use super::file::{DeviceError, DeviceFile, owner_word};
use super::layout::Device;
use super::watch::Watch;
use crate::model::share::Level;
use crate::options::Discipline;

const MS: u64 = 1_000_000;

fn device() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn shares_follow_the_announcements() {
    let dir = device();
    let path = dir.path().join("device");
    let mut first = Clock::attach(&path, Discipline::Amd).unwrap();
    let mut second = Clock::attach(&path, Discipline::Amd).unwrap();
    let start = now();
    let before = first.service(start);
    first.announce(start, before + 100 * MS, 100 * MS);
    assert_eq!(
        first.time_at(before + 100 * MS),
        start + 100 * MS,
        "alone: full speed"
    );
    assert!(!first.contended() && second.contended());
    second.service(start);
    second.announce(start, before + 50 * MS, 50 * MS);
    assert_eq!(
        first.time_at(before + 50 * MS),
        start + 100 * MS,
        "half speed each"
    );
    assert_eq!(
        first.time_at(before + 100 * MS),
        start + 150 * MS,
        "the rest alone"
    );
    assert_eq!(first.service(start + 150 * MS), before + 100 * MS);
    // Both have drained: whoever comes next starts from now.
    let later = start + 500 * MS;
    let service = second.service(later);
    second.announce(later, service + 10 * MS, 10 * MS);
    assert_eq!(second.time_at(service + 10 * MS), later + 10 * MS);
}

/// The level of a process changes amid its work and its neighbour's.
#[test]
fn a_higher_level_goes_first_and_may_change() {
    let dir = device();
    let path = dir.path().join("device");
    let mut first = Clock::attach(&path, Discipline::Amd).unwrap();
    let mut second = Clock::attach(&path, Discipline::Amd).unwrap();
    let start = now();
    let (ours, theirs) = (first.service(start), second.service(start));
    first.announce(start, ours + 100 * MS, 100 * MS);
    second.set_level(start, Level::High);
    second.announce(start, theirs + 30 * MS, 30 * MS);
    assert_eq!(second.time_at(theirs + 30 * MS), start + 30 * MS);
    assert_eq!(first.time_at(ours + 100 * MS), start + 130 * MS);
    // After 10 ms it is like the other: both have half of the rest.
    let then = start + 10 * MS;
    assert_eq!(second.service(then), theirs + 10 * MS);
    second.set_level(then, Level::Normal);
    second.announce(then, theirs + 30 * MS, 20 * MS);
    assert_eq!(second.time_at(theirs + 30 * MS), start + 50 * MS);
    assert_eq!(first.time_at(ours + 20 * MS), start + 50 * MS);
    assert_eq!(first.time_at(ours + 100 * MS), start + 130 * MS);
    // And then below it.
    let then = start + 20 * MS;
    second.set_level(then, Level::Low);
    second.announce(then, theirs + 30 * MS, 15 * MS);
    assert_eq!(first.time_at(ours + 100 * MS), start + 115 * MS);
    assert_eq!(second.time_at(theirs + 30 * MS), start + 130 * MS);
    assert_eq!(
        second.service(start + 60 * MS),
        theirs + 15 * MS,
        "it stands still"
    );
}

/// A kernel that ended long ago, before a neighbour came: its end is asked for only now.
#[test]
fn the_time_before_a_neighbour_came_is_told() {
    let dir = device();
    let path = dir.path().join("device");
    let mut first = Clock::attach(&path, Discipline::Amd).unwrap();
    let mut second = Clock::attach(&path, Discipline::Amd).unwrap();
    let start = now();
    let service = first.service(start);
    first.announce(start, service + 20 * MS, 20 * MS);
    let joined = start + 50 * MS;
    let theirs = second.service(joined);
    second.announce(joined, theirs + 10 * MS, 10 * MS);
    first.service(start + 80 * MS);
    assert_eq!(first.time_at(service + 20 * MS), start + 20 * MS);
    assert_eq!(first.time_at(service + 45 * MS), start + 45 * MS);
}

#[test]
fn fifo_reserves_in_order() {
    let dir = device();
    let path = dir.path().join("device");
    let mut first = Clock::attach(&path, Discipline::Fifo).unwrap();
    let mut second = Clock::attach(&path, Discipline::Amd).unwrap();
    assert_eq!(
        second.discipline(),
        Discipline::Fifo,
        "the first process decides"
    );
    let one = first.reserve(10 * MS);
    let two = second.reserve(10 * MS);
    assert_eq!(two, one + 10 * MS);
}

/// What a killed process leaves: an owner word that is not ours, an end in the far future, a bit in the active set, no lock.
#[test]
fn the_dead_are_reaped() {
    let dir = device();
    let path = dir.path().join("device");
    let mut living = Clock::attach(&path, Discipline::Amd).unwrap();
    let mut dead = Clock::attach(&path, Discipline::Amd).unwrap();
    let start = now();
    let service = living.service(start);
    dead.announce(start, service + 3_600_000 * MS, 1);
    living.announce(start, service + 10 * MS, 10 * MS);
    assert_eq!(living.time_at(service + 10 * MS), start + 20 * MS);
    let (file, _) = DeviceFile::attach(&path, Discipline::Amd).unwrap();
    // Slot 1 is the dead one's. No lock of ours may be asked about: F_GETLK does not see them, as it would not see a
    // dead process's.
    file.slot(1).owner.store(0xdead_beef, SeqCst);
    living.reap(start + REAP_INTERVAL);
    assert_eq!(file.slot(1).owner.load(SeqCst), 0);
    let left = living.time_at(service + 10 * MS);
    assert!(
        left < start + 20 * MS,
        "the dead process's share is free again"
    );
    assert!(!living.contended());
}

/// A program that closed our descriptor lost its lock; the others took its slot for free.
#[test]
fn a_lost_slot_is_replaced() {
    let dir = device();
    let path = dir.path().join("device");
    let mut clock = Clock::attach(&path, Discipline::Amd).unwrap();
    let (file, _) = DeviceFile::attach(&path, Discipline::Amd).unwrap();
    file.slot(0).owner.store(0xdead_beef, SeqCst);
    let start = now();
    let service = clock.service(start);
    clock.announce(start, service + 10 * MS, 10 * MS);
    // Slot 0 is free to take here because a process does not conflict with its own locks.
    assert_eq!(
        file.slot(0).owner.load(SeqCst),
        owner_word(),
        "taken again before work is announced"
    );
    assert_eq!(
        clock.time_at(service + 10 * MS),
        start + 10 * MS,
        "and the work counts"
    );
}

#[test]
fn foreign_files_are_refused() {
    let dir = device();
    let path = dir.path().join("device");
    std::fs::write(&path, b"something else").unwrap();
    assert!(matches!(
        DeviceFile::attach(&path, Discipline::Amd),
        Err(DeviceError::Foreign { .. })
    ));
    std::fs::write(&path, vec![0xff; size_of::<Device>()]).unwrap();
    assert!(matches!(
        DeviceFile::attach(&path, Discipline::Amd),
        Err(DeviceError::Foreign { .. })
    ));
    let missing = dir.path().join("no/such/folder");
    assert!(matches!(
        DeviceFile::attach(&missing, Discipline::Amd),
        Err(DeviceError::Io { .. })
    ));
}

/// Any content of the shared words must be survivable: other processes write them.
#[test]
fn garbage_in_the_file_does_no_harm() {
    let dir = device();
    let path = dir.path().join("device");
    let mut clock = Clock::attach(&path, Discipline::Amd).unwrap();
    let (file, _) = DeviceFile::attach(&path, Discipline::Amd).unwrap();
    for garbage in [u64::MAX, 1 << 63, 0x1234_5678_9abc_def0, u64::MAX - 1] {
        file.shared().current.store(garbage, SeqCst);
        for slot in &file.shared().slots {
            slot.end.store(garbage, SeqCst);
            for snapshot in &slot.snapshots {
                snapshot.at.store(garbage, SeqCst);
                for level in snapshot.service.iter().chain(&snapshot.active) {
                    level.store(garbage, SeqCst);
                }
            }
        }
        let now = now();
        let service = clock.service(now);
        clock.announce(now, service.wrapping_add(1), 1);
        clock.time_at(garbage);
        clock.reap(now);
    }
}

/// The file is any process's to write: whatever it holds, nothing here panics, hangs or leaves the mapping.
#[test]
fn a_corrupted_file_is_survived() {
    use std::os::unix::fs::FileExt as _;

    let dir = device();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for discipline in [Discipline::Amd, Discipline::Fifo] {
        let path = dir.path().join(format!("{discipline:?}"));
        let mut clock = Clock::attach(&path, discipline).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        for _ in 0..2_000 {
            // Behind magic and size; extreme values as often as any.
            let words = (size_of::<Device>() / 8) as u64 - 2;
            let at = 16 + next() % words * 8;
            let value = match next() % 4 {
                0 => u64::MAX,
                1 => 0,
                2 => next() % 256,
                _ => next(),
            };
            file.write_all_at(&value.to_ne_bytes(), at).unwrap();
            let now = now();
            let service = clock.service(now);
            clock.announce(now, service.saturating_add(MS), MS);
            clock.time_at(service.saturating_add(MS));
            clock.reserve(MS);
            clock.contended();
            clock.reap(now.saturating_add(next() % (2 * REAP_INTERVAL)));
        }
    }
}

/// As a management library sees it, which takes no place on it.
#[test]
fn a_device_can_be_watched_without_being_used() {
    let dir = device();
    let path = dir.path().join("device");
    assert!(Watch::open(&path).is_none(), "nobody has used it yet");
    let mut clock = Clock::attach(&path, Discipline::Amd).unwrap();
    let watch = Watch::open(&path).expect("a device");
    assert!(!watch.is_busy());
    clock.note_memory(3 << 20);
    assert_eq!(watch.memory(), 3 << 20);
    let start = now();
    let service = clock.service(start);
    clock.announce(start, service + 60_000 * MS, 60_000 * MS);
    assert!(watch.is_busy());
    std::fs::write(dir.path().join("other"), "no device").expect("a file");
    assert!(Watch::open(&dir.path().join("other")).is_none());
}
