//! Every image of the runtime is found, however it is mapped.

use std::fs;
use std::time::{Duration, Instant};

use xsched_observe::{ImageKind, Observer};
use xsched_testkit::callers::{Api, Fixture, Preload, Program};
use xsched_testkit::wait_for;

use crate::fixture::{bpf_or_left_out, look, observe};
use crate::{total_of, watch_everything};

fn counted_after(observer: &mut Observer, pid: u32) -> u64 {
    total_of(&observer.sample().expect("sample"), pid)
}

#[test]
fn an_image_that_was_deleted_while_mapped_is_probed() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Nothing);
    fs::remove_file(fixture.path().join("libamdhip64.so.5")).expect("deleted");
    let mut observer = observe(watch_everything());
    program.call('a', Api::Launch, 0, 7);
    assert_eq!(counted_after(&mut observer, program.pid()), 7);
}

#[test]
fn an_update_that_replaces_the_image_leaves_two() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut before = fixture.start(Preload::Nothing);
    // As package managers do it: a new file takes over the name.
    let (file, new) = (
        fixture.path().join("libamdhip64.so.5"),
        fixture.path().join("libamdhip64.so.5.new"),
    );
    fs::copy(&file, &new).expect("copied");
    fs::rename(&new, &file).expect("replaced");
    let mut after = fixture.start(Preload::Nothing);
    let mut observer = observe(watch_everything());
    before.call('a', Api::Launch, 0, 7);
    after.call('a', Api::Launch, 0, 8);
    let sample = observer.sample().expect("sample");
    assert_eq!(total_of(&sample, before.pid()), 7);
    assert_eq!(total_of(&sample, after.pid()), 8);
    let users: Vec<Vec<u32>> = observer
        .images()
        .filter(|(kind, path, _)| *kind == ImageKind::Runtime && *path == file.to_string_lossy())
        .map(|(.., pids)| pids.to_vec())
        .collect();
    assert_eq!(users.len(), 2, "{users:?}");
}

#[test]
fn an_image_in_another_mount_namespace_is_probed() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start_in_own_mount_namespace();
    let mut observer = observe(watch_everything());
    program.call('a', Api::Launch, 0, 7);
    let sample = observer.sample().expect("sample");
    assert_eq!(total_of(&sample, program.pid()), 7);
    let caller = sample.calls.iter().find(|c| c.process.pid == program.pid());
    let path = &caller.expect("counted").caller.object.path;
    assert!(
        path.ends_with("/liba.so") && !fs::exists(path).expect("asked"),
        "{path}"
    );
}

#[test]
fn a_wheels_own_copy_is_probed_under_its_changed_name() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let wheel = fixture.path().join("libamdhip64-9d2a17b9.so.5.2.21153");
    fs::rename(fixture.path().join("libamdhip64.so.5"), &wheel).expect("renamed");
    let mut program = fixture.start_with_library(&wheel);
    let mut observer = observe(watch_everything());
    program.call('a', Api::Launch, 0, 7);
    assert_eq!(counted_after(&mut observer, program.pid()), 7);
}

#[test]
fn a_library_that_is_opened_late_is_found_by_a_sweep() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut program = fixture.start_late();
    let mut observer = observe(watch_everything());
    let pid = program.pid();
    let found = |observer: &Observer| observer.images().any(|(.., pids)| pids.contains(&pid));
    assert!(!found(&observer));
    program.tell(&fixture.path().join("liba.so").to_string_lossy());
    // A process that has been known for seconds is looked at now and then.
    wait_for("a sweep finds it", || {
        look(&mut observer);
        found(&observer)
    });
    program.tell("call");
    assert_eq!(counted_after(&mut observer, program.pid()), 5);
}

/// Nobody sweeps here: the kernel tells that a process has ended.
#[test]
fn a_process_that_ends_leaves_its_image_at_once() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let (mut one, mut other) = (
        fixture.start(Preload::Nothing),
        fixture.start(Preload::Nothing),
    );
    let mut observer = observe(watch_everything());
    let pids = [one.pid(), other.pid()];
    let users = |observer: &Observer| {
        let users = observer.images().flat_map(|(_, _, users)| users.to_vec());
        users.filter(|pid| pids.contains(pid)).collect::<Vec<_>>()
    };
    let counted = |observer: &mut Observer, program: &mut Program| {
        program.call('a', Api::Launch, 0, 7);
        assert_eq!(counted_after(observer, program.pid()), 7);
    };
    counted(&mut observer, &mut one);
    counted(&mut observer, &mut other);
    assert_eq!(users(&observer).len(), 2);
    for (mut ending, left) in [(one, 1), (other, 0)] {
        ending.end();
        let deadline = Instant::now() + Duration::from_secs(20);
        while users(&observer).len() > left {
            observer.wait(Duration::from_millis(20));
            assert!(Instant::now() < deadline, "it is still a user");
        }
    }
}

/// Nobody sweeps here: the kernel tells that a program has begun.
#[test]
fn a_program_that_begins_is_found_by_its_exec() {
    if !bpf_or_left_out() {
        return;
    }
    let fixture = Fixture::build();
    let mut observer = observe(watch_everything());
    assert!(observer.lifecycle_missing().is_none());
    let mut program = fixture.start(Preload::Nothing);
    let pid = program.pid();
    wait_for("its exec was told", || {
        observer.wait(Duration::from_millis(50));
        observer.images().any(|(.., pids)| pids.contains(&pid))
    });
    program.call('a', Api::Launch, 0, 7);
    assert_eq!(counted_after(&mut observer, program.pid()), 7);
}
