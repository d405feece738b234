//! The dependency rule: what a thread of a higher group waits for is let through
//! as far as that group is.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use xsched_common::page::MAX_GROUPS;
use xsched_common::units::Nanos;

use super::{Group, Groups, of_known, sessions};
use crate::page::Session;
use crate::process::Process;
use crate::{sys, thread};

/// How long a group counts as waited for by a higher one: a thread may have
/// jumped out of the call in which it waited.
const AWAITED: Nanos = Nanos::from_secs(1);

/// Threads of higher groups that wait for a group's work in a call.
pub(super) struct Awaited {
    count: AtomicU32,
    /// The group of the last that began, and when.
    by: AtomicU32,
    since: AtomicU64,
}

impl Awaited {
    pub(super) const fn new() -> Awaited {
        Awaited {
            count: AtomicU32::new(0),
            by: AtomicU32::new(0),
            since: AtomicU64::new(0),
        }
    }
}

impl Groups {
    /// The higher group of which a thread waits for work of this one.
    pub fn awaited_by(&self, group: Group, now: Nanos) -> Option<Group> {
        let awaited = &self.awaited[group.index()];
        let is_recent = now.since(Nanos(awaited.since.load(Relaxed))) < AWAITED;
        (awaited.count.load(Relaxed) != 0 && is_recent)
            .then(|| Group(awaited.by.load(Relaxed) as u8))
    }
}

/// Marks lower groups whose work the calling thread waits for in a call, until
/// dropped: the dependency rule. What is in a stream runs in any case; what a
/// thread of theirs has yet to launch behind it must not be held back for the
/// one that waits.
pub struct Awaiting<'a> {
    groups: &'a Groups,
    marked: [bool; MAX_GROUPS],
}

impl<'a> Awaiting<'a> {
    /// `holds` tells of a group whether the thread waits for work of it. Nothing
    /// is marked while no group is in use.
    pub fn begin(
        process: &'a Process,
        base: &'static Session,
        holds: impl Fn(Group) -> bool,
    ) -> Option<Awaiting<'a>> {
        let groups = &process.groups;
        if groups.generation.load(Relaxed) == 0 {
            return None;
        }
        let mut marked = [false; MAX_GROUPS];
        let own = thread::with(|thread| of_known(process, base, thread));
        for session in sessions(process, base) {
            let group = session.group;
            if group != own.group && session.class() < own.class() && holds(group) {
                marked[group.index()] = true;
                let awaited = &groups.awaited[group.index()];
                awaited.by.store(u32::from(own.group.0), Relaxed);
                awaited.since.store(sys::now().0, Relaxed);
                awaited.count.fetch_add(1, Relaxed);
                session.wake_waiters();
            }
        }
        Some(Awaiting { groups, marked })
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        let marked = self.groups.awaited.iter().zip(self.marked);
        for (awaited, _) in marked.filter(|(_, marked)| *marked) {
            let _ = awaited
                .count
                .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_nobody_takes_back_ends() {
        let groups = Groups::new();
        let awaited = &groups.awaited[1];
        awaited.count.store(1, Relaxed);
        awaited.by.store(2, Relaxed);
        awaited.since.store(Nanos::from_secs(5).0, Relaxed);
        let at = |s| groups.awaited_by(Group(1), Nanos::from_secs(s));
        assert_eq!((at(5), at(6)), (Some(Group(2)), None));
    }
}
