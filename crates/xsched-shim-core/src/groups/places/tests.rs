//! Places without an agent: pages of their own, and a clock that the tests turn.

use super::*;
use Class::{High, Low, Normal, Realtime};
use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixDatagram;
use xsched_common::page::{ControlPage, StatusPage};

/// A page in a file that cannot shrink.
fn page<T>(value: &T) -> OwnedFd {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a new descriptor of our own; `value` is plain memory of its size.
    unsafe {
        let fd = OwnedFd::from_raw_fd(libc::memfd_create(c"page".as_ptr(), flags));
        let bytes = std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>());
        let file = File::from(fd);
        file.write_all_at(bytes, 0).expect("memory");
        let sealed = libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK);
        assert_eq!(sealed, 0);
        file.into()
    }
}

/// What the agent hands to a group that gets this class.
fn session(group: Group, class: Class) -> &'static Session {
    let control = ControlPage::new(1, 1);
    control.class.store(class as u32, Relaxed);
    // SAFETY: a new descriptor of our own.
    let bell = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_NONBLOCK)) };
    let socket = UnixDatagram::unbound().expect("a socket").into();
    let status = StatusPage::new();
    let (control, status) = (page(&control), page(&status));
    let session = Session::map(&control, &status, bell, socket, group, Nanos::ZERO);
    Box::leak(Box::new(session.expect("pages")))
}

const SECOND: Nanos = Nanos::from_secs(1);

fn search(class: Class, origin: Origin, now: Nanos) -> Search {
    Search {
        wish: Wish { class, origin },
        own: Some(Normal),
        hints: HintPolicy::Lower,
        now,
    }
}

/// Its place, where it joins and gets `granted`.
fn joins(places: &Places, search: &Search, granted: Class) -> Group {
    let (Found::Group(group) | Found::Taken(group)) = places.find(search) else {
        panic!("no place for {:?}", search.wish);
    };
    let attempt = places.attempt(group, search.now, search.now + SECOND);
    let attempt = attempt.expect("it is due");
    assert_eq!(attempt.wish, search.wish);
    assert!(attempt.succeeded(session(group, granted)));
    group
}

#[test]
fn a_wish_has_one_place_and_a_fourth_class_shares() {
    let places = Places::new();
    let now = Nanos::from_secs(10);
    let hint = |class| search(class, Origin::Hint, now);
    let rule = |class| search(class, Origin::Rule, now);
    assert_eq!(places.find(&hint(Low)), Found::Group(Group(1)));
    assert_eq!(places.find(&hint(High)), Found::Group(Group(2)));
    assert_eq!(places.find(&hint(Low)), Found::Group(Group(1)));
    assert_eq!(places.known(rule(Low).wish), None);
    let joined = joins(&places, &rule(Realtime), Realtime);
    assert_eq!(joined, Group(3));
    joins(&places, &hint(Low), Low);
    joins(&places, &hint(High), High);
    assert_eq!(places.find(&rule(High)), Found::Group(Group(2)), "alike");
    assert_eq!(places.find(&rule(Low)), Found::Group(Group(1)), "alike");
    assert_eq!(
        places.find(&hint(Realtime)),
        Found::None,
        "no hint rises into what a rule gives"
    );
    let within = Search {
        hints: HintPolicy::Within,
        ..hint(Realtime)
    };
    assert_eq!(places.find(&within), Found::Group(Group(3)));
    assert!(places.take_sought() && !places.take_sought());
}

/// Each of four wishes joins once, in three places.
#[test]
fn a_refused_wish_makes_room_and_is_not_tried_again() {
    let places = Places::new();
    let mut now = Nanos::from_secs(10);
    let refused = [(High, Origin::Hint), (Realtime, Origin::Hint)];
    for (class, origin) in refused {
        joins(&places, &search(class, origin, now), Normal);
    }
    joins(&places, &search(Low, Origin::Hint, now), Low);
    let rule = |now| search(High, Origin::Rule, now);
    assert_eq!(
        places.find(&rule(now)),
        Found::None,
        "they have just joined"
    );
    now = now + SECOND;
    assert_eq!(places.find(&rule(now)), Found::Taken(Group(1)));
    assert_eq!(joins(&places, &rule(now), High), Group(1));
    for _ in 0..5 {
        now = now + SECOND;
        for (class, origin) in refused {
            let found = places.find(&search(class, origin, now));
            let its_own = Found::Group(Group(2));
            assert!(
                [Found::None, its_own].contains(&found),
                "{class}: {found:?}"
            );
        }
        assert_eq!(places.find(&rule(now)), Found::Group(Group(1)));
    }
    // With other rules it may be another story.
    places.forget_answers();
    now = now + SECOND;
    let again = places.find(&search(High, Origin::Hint, now));
    assert_eq!(again, Found::Taken(Group(2)));
}

#[test]
fn one_that_has_the_class_of_an_earlier_one_makes_room() {
    let places = Places::new();
    let now = Nanos::from_secs(10);
    joins(&places, &search(Low, Origin::Hint, now), Low);
    joins(&places, &search(Low, Origin::Rule, now), Low);
    joins(&places, &search(Realtime, Origin::Rule, now), Realtime);
    let later = now + SECOND;
    let high = search(High, Origin::Rule, later);
    assert_eq!(places.find(&high), Found::Taken(Group(2)));
    joins(&places, &high, High);
    let low = search(Low, Origin::Rule, later + SECOND);
    assert_eq!(places.find(&low), Found::Group(Group(1)), "as it was");
}

/// Its thread had no time to join, or the agent no room, and is gone.
#[test]
fn one_that_never_joined_makes_room() {
    let places = Places::new();
    let now = Nanos::from_secs(10);
    for class in [Low, High, Realtime] {
        let found = places.find(&search(class, Origin::Hint, now));
        let Found::Group(group) = found else {
            panic!("{found:?}");
        };
        assert!(places.attempt(group, now, now + SECOND).is_some());
    }
    let rule = |now| search(High, Origin::Rule, now);
    assert_eq!(places.find(&rule(now)), Found::None, "it may be joining");
    let taken = places.find(&rule(now + SECOND));
    assert_eq!(taken, Found::Taken(Group(1)));
}

#[test]
fn who_joins_for_a_place_that_is_another_s_by_then_has_not_joined() {
    let places = Places::new();
    let now = Nanos::from_secs(10);
    for class in [Low, High, Realtime] {
        places.find(&search(class, Origin::Hint, now));
    }
    let slow = places.attempt(Group(1), now, now + SECOND).expect("due");
    let later = now + SECOND;
    let found = places.find(&search(High, Origin::Rule, later));
    assert_eq!(found, Found::Taken(Group(1)));
    assert!(!slow.succeeded(session(Group(1), Low)));
    assert!(places.joined(Group(1)).is_none());
}

#[test]
fn a_group_that_does_nothing_leaves() {
    let places = Places::new();
    let now = Nanos::from_secs(10);
    joins(&places, &search(Low, Origin::Hint, now), Low);
    joins(&places, &search(High, Origin::Rule, now), High);
    let used = |session: &Session| match session.group {
        Group(1) => now,
        _ => now + UNUSED,
    };
    assert!(!places.end_unused(now + UNUSED, used), "joined since");
    assert!(places.end_unused(now + UNUSED + SECOND, used));
    assert!(places.joined(Group(1)).is_none() && places.joined(Group(2)).is_some());
    let next = search(Realtime, Origin::Rule, now + UNUSED);
    assert_eq!(places.find(&next), Found::Group(Group(1)));
}

/// Its thread goes on and asks again whenever the groups change.
#[test]
fn a_refused_wish_that_has_left_does_not_join_again() {
    let places = Places::new();
    let now = Nanos::from_secs(10);
    joins(&places, &search(High, Origin::Hint, now), Normal);
    joins(&places, &search(Low, Origin::Hint, now), Low);
    let later = now + UNUSED + SECOND;
    assert!(places.end_unused(later, |_| now));
    let found = |class| places.find(&search(class, Origin::Hint, later));
    assert_eq!(found(High), Found::None, "as the agent answered");
    assert_eq!(found(Low), Found::Group(Group(1)), "it has work again");
    places.forget_answers();
    assert_eq!(found(High), Found::Group(Group(2)));
}

/// A thread that was stopped amid its look finds the place with another's group.
#[test]
fn who_looked_for_long_ends_no_other_group() {
    let places = Places::new();
    let now = Nanos::from_secs(10);
    joins(&places, &search(Low, Origin::Hint, now), Low);
    let later = now + UNUSED + SECOND;
    let next = search(Low, Origin::Hint, later);
    let stopped = |_: &Session| {
        // Meanwhile others are faster, and the same wish comes again.
        if places.end_unused(later, |_| now) {
            joins(&places, &next, Low);
        }
        now
    };
    let before = places.joined(Group(1)).expect("joined");
    assert!(!places.end_unused(later, stopped));
    let after = places.joined(Group(1)).expect("the new one");
    assert!(!std::ptr::eq(before, after));
    assert_eq!(places.known(next.wish), Some(Group(1)));
}

/// The agent's rules change while a thread is stopped amid its look.
#[test]
fn who_looked_for_long_notes_no_old_answer() {
    let places = Places::new();
    let now = Nanos::from_secs(10);
    joins(&places, &search(High, Origin::Hint, now), Normal);
    let later = now + UNUSED + SECOND;
    let stopped = |_: &Session| {
        places.end_unused(later, |_| now);
        places.forget_answers();
        now
    };
    let first = std::cell::Cell::new(true);
    places.end_unused(later, |session| match first.replace(false) {
        true => stopped(session),
        false => now,
    });
    let next = search(High, Origin::Hint, later);
    assert_eq!(places.find(&next), Found::Group(Group(1)));
}
