//! Class groups: threads and streams of the process that have a class of their
//! own, by the program's hint or by a rule of the agent.
//!
//! A group is a client of its own: it joins for itself, in a launch of one of
//! its threads, and has pages, a queue at the gate and counts of its own. Who is
//! in none belongs to the process's own session. While nobody asks for a group,
//! a launch pays one load for that.
//!
//! Which group a thread is in is worked out once and kept with the thread, with
//! the generation in which that was; whatever may change it counts the
//! generation up.

mod awaiting;
pub mod hints;
mod marks;
mod names;
mod places;
mod streams;

use awaiting::Awaited;
pub use awaiting::Awaiting;
pub use marks::{Marks, seen};
pub use names::{look_up, real_prctl, renamed, set_name};

use places::{Found, Places, Search};
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use xsched_common::handshake::{Origin, Wish};
use xsched_common::page::{HintPolicy, MAX_DEVICES, MAX_GROUPS};
use xsched_common::units::{Class, DeviceIndex, Nanos};

use crate::inflight::DeviceWork;
use crate::page::Session;
use crate::process::{self, Process};
use crate::thread::{self, Thread};
use crate::{levers, lifecycle, sys};

/// The number of a group in the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group(pub u8);

impl Group {
    /// Who is in no group.
    pub const PROCESS: Group = Group(0);

    /// As an index of arrays by group.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize % MAX_GROUPS
    }
}

/// How often what changes with time is looked at.
const TEND_EVERY: Nanos = Nanos::from_secs(1);

/// All groups of the process.
pub struct Groups {
    /// Counts what may change the group of a thread; zero while nobody has asked
    /// for any.
    generation: AtomicU32,
    /// The agent's rules, the process's class and the priority of its queues, when
    /// they were last looked at.
    seen: AtomicU64,
    /// When to look at what changes with time.
    tend_at: AtomicU64,
    places: Places,
    awaited: [Awaited; MAX_GROUPS],
    streams: streams::StreamClasses,
}

impl Groups {
    /// None; all bytes zero.
    pub const fn new() -> Groups {
        Groups {
            generation: AtomicU32::new(0),
            seen: AtomicU64::new(0),
            tend_at: AtomicU64::new(0),
            places: Places::new(),
            awaited: [const { Awaited::new() }; MAX_GROUPS],
            streams: streams::StreamClasses::new(),
        }
    }

    /// Every thread looks anew which group it is in.
    fn turn_over(&self) {
        // Never zero again: that says that nobody has asked.
        if self.generation.fetch_add(1, Release) == u32::MAX {
            self.generation.fetch_add(1, Release);
        }
    }

    /// A group's session, while it has joined.
    #[inline(always)]
    fn joined(&self, group: Group) -> Option<&'static Session> {
        self.places.joined(group)
    }

    /// Who has a group's class already, which the agent may have made another
    /// than the group wishes: work of one class has one gate.
    #[inline(always)]
    fn with_its_class(
        &self,
        base: &'static Session,
        session: &'static Session,
    ) -> &'static Session {
        let class = session.class();
        if class == base.class() {
            return base;
        }
        let before = (1..session.group.0).filter_map(|group| self.joined(Group(group)));
        let mut alike = before.filter(|other| other.class() == class);
        alike.next().unwrap_or(session)
    }

    /// The group for a wish; the process itself where there is no room.
    fn of(&self, search: &Search) -> Group {
        match self.places.find(search) {
            Found::Group(group) => group,
            Found::Taken(group) => {
                self.turn_over();
                group
            }
            Found::None => Group::PROCESS,
        }
    }

    /// Takes a group's session from it: the process has left the agent.
    pub fn leave(&self) -> impl Iterator<Item = &'static Session> {
        // The next agent counts its rules from the beginning again.
        self.seen.store(0, Relaxed);
        self.turn_over_if_used();
        self.places.leave()
    }

    fn turn_over_if_used(&self) {
        if self.generation.load(Relaxed) != 0 {
            self.turn_over();
        }
    }

    /// The handle is no stream's any more, or a new one's.
    pub fn forget_stream(&self, handle: u64) {
        self.streams.forget(handle);
    }
}

/// Whether anybody in the process has asked for a group, or a rule speaks of its
/// threads.
#[inline(always)]
pub fn in_use(process: &Process) -> bool {
    process.groups.generation.load(Relaxed) != 0
}

/// The session in which the calling thread's commands on a stream are gated.
#[inline(always)]
pub fn of_command(
    process: &'static Process,
    base: &'static Session,
    handle: u64,
) -> &'static Session {
    let generation = process.groups.generation.load(Relaxed);
    if generation == 0 {
        return base;
    }
    of_some(process, base, handle, generation)
}

#[inline(always)]
fn of_some(
    process: &'static Process,
    base: &'static Session,
    handle: u64,
    generation: u32,
) -> &'static Session {
    let group = if process.groups.streams.any()
        && let Some(group) = of_stream(process, base, handle)
    {
        group
    } else {
        thread::with(|thread| match thread.membership.get() {
            known if known >> 8 == u64::from(generation) => Group(known as u8),
            _ => of_thread(process, base, thread),
        })
    };
    match group {
        Group::PROCESS => base,
        group => match process.groups.joined(group) {
            Some(session) => process.groups.with_its_class(base, session),
            None => join(process, base, group),
        },
    }
}

/// The session of a group, if it has joined; else the process's.
#[inline(always)]
pub fn session_of(process: &Process, base: &'static Session, group: Group) -> &'static Session {
    match group {
        Group::PROCESS => base,
        group => process.groups.joined(group).unwrap_or(base),
    }
}

/// The sessions of all groups that have joined.
pub fn sessions(
    process: &Process,
    base: &'static Session,
) -> impl Iterator<Item = &'static Session> {
    let others = (1..MAX_GROUPS as u8).filter_map(|group| process.groups.joined(Group(group)));
    std::iter::once(base).chain(others)
}

/// The other sessions than `own`, where any group is in use.
pub fn siblings<'a>(
    process: &'a Process,
    own: &'a Session,
) -> impl Iterator<Item = &'static Session> + 'a {
    let base = match process.groups.generation.load(Relaxed) {
        0 => None,
        _ => process::session(),
    };
    let all = base.map(|base| sessions(process, base));
    all.into_iter()
        .flatten()
        .filter(move |other| other.group != own.group)
}

#[cold]
fn of_stream(process: &Process, base: &Session, handle: u64) -> Option<Group> {
    let class = process.groups.streams.class_of(handle)?;
    if base.control().threads.hints() == HintPolicy::Off {
        return None;
    }
    let wish = Wish {
        class,
        origin: Origin::Hint,
    };
    Some(group_of(process, base, Some(wish)))
}

#[cold]
#[inline(never)]
fn of_thread(process: &Process, base: &Session, thread: &Thread) -> Group {
    // Before the looking: what changes meanwhile is looked at again.
    let generation = process.groups.generation.load(Acquire);
    let group = group_of(process, base, wish_of(base, thread));
    thread
        .membership
        .set(u64::from(generation) << 8 | u64::from(group.0));
    group
}

/// What is wished for the calling thread.
fn wish_of(base: &Session, thread: &Thread) -> Option<Wish> {
    let rules = &base.control().threads;
    let by_rule = (!rules.is_empty()).then(|| names::of_this_thread(|name| rules.class_of(name)));
    let hint = Class::from_raw(thread.hint.get().wrapping_sub(1) as u8);
    wished(by_rule.flatten(), hint, rules.hints())
}

/// What a rule says and what the program says: a hint goes below a rule, and
/// beyond it only where hints may raise.
fn wished(by_rule: Option<Class>, hint: Option<Class>, hints: HintPolicy) -> Option<Wish> {
    let wish = |class, origin| Some(Wish { class, origin });
    let is_below = |rule, hint| hint < rule && hints != HintPolicy::Off;
    match (by_rule, hint) {
        (None, None) => None,
        (None, Some(_)) if hints == HintPolicy::Off => None,
        (Some(class), None) => wish(class, Origin::Rule),
        (Some(rule), Some(hint)) if !is_below(rule, hint) && hints != HintPolicy::Within => {
            wish(rule, Origin::Rule)
        }
        (_, Some(hint)) => wish(hint, Origin::Hint),
    }
}

/// Who wants what the process is needs no group.
fn needs_group(base: &Session, wish: Wish) -> bool {
    let speaks_of_groups = base.control().header.abi.minor >= xsched_common::GROUPS_SINCE;
    speaks_of_groups && base.class() != Some(wish.class)
}

fn group_of(process: &Process, base: &Session, wish: Option<Wish>) -> Group {
    let wish = wish.filter(|wish| needs_group(base, *wish));
    wish.map_or(Group::PROCESS, |wish| {
        process.groups.of(&Search {
            wish,
            own: base.class(),
            hints: base.control().threads.hints(),
            now: sys::now_coarse(),
        })
    })
}

/// Joins for a group that has not joined; meanwhile its threads are in none.
#[cold]
#[inline(never)]
fn join(process: &'static Process, base: &'static Session, group: Group) -> &'static Session {
    let places = &process.groups.places;
    let now = sys::now_coarse();
    let later = now + lifecycle::retry_of_groups();
    let Some(attempt) = places.attempt(group, now, later) else {
        return base;
    };
    let Some(session) = lifecycle::join_group(base, group, attempt.wish) else {
        return base;
    };
    let session: &'static Session = Box::leak(Box::new(session));
    process::remember(group, Some(session));
    // A thread that was stopped for long in its attempt may find another's.
    if !attempt.succeeded(session) {
        process::leave_group(session);
        process::remember(group, places.joined(group));
        return base;
    }
    // The process may have left meanwhile.
    let is_current = process::session().is_some_and(|now| std::ptr::eq(now, base));
    if !is_current && places.withdraw(session) {
        process::leave_group(session);
        return base;
    }
    session
}

/// In a fork's child, whose state is blank: what its thread asked for stays, what
/// its parent's agent asked for does not.
pub fn after_fork() {
    levers::follow();
    if thread::with(|thread| thread.hint.get()) != 0 {
        process::process().groups.turn_over();
    }
}

/// Looks whether the agent's rules, the process's class or the priority of its
/// queues have changed.
#[inline(always)]
pub fn refresh(process: &Process, base: &Session) {
    let control = base.control();
    let class = u64::from(control.class.load(Relaxed));
    let priority = levers::asked(base) as u64;
    let now = u64::from(control.threads.generation()) << 32 | priority << 16 | class << 8 | 1;
    if process.groups.seen.load(Relaxed) != now {
        look(process, base, now);
    }
    if in_use(process) {
        tend(process);
    }
}

/// Looks at what changes with time: places that come free.
fn tend(process: &Process) {
    let groups = &process.groups;
    let now = sys::now_coarse();
    let due = groups.tend_at.load(Relaxed);
    let later = (now + TEND_EVERY).0;
    if now.0 < due
        || groups
            .tend_at
            .compare_exchange(due, later, Relaxed, Relaxed)
            .is_err()
    {
        return;
    }
    let ended = groups
        .places
        .end_unused(now, |session| last_used(process, session, now));
    if groups.places.take_sought() || ended {
        groups.turn_over();
    }
}

/// When a group last had work.
fn last_used(process: &Process, session: &Session, now: Nanos) -> Nanos {
    let devices = (0..MAX_DEVICES as u8).map(DeviceIndex);
    let of_each = devices.zip(&session.status().devices);
    let used = of_each.filter_map(|(device, status)| match status.activity().active {
        true => Some(now),
        false => process
            .work(session.group, device)
            .map(DeviceWork::last_used),
    });
    used.max().unwrap_or(Nanos::ZERO)
}

#[cold]
fn look(process: &Process, base: &Session, now: u64) {
    let groups = &process.groups;
    let before = groups.seen.swap(now, Relaxed);
    let first = before >> 32 == 0;
    groups.places.forget_answers();
    if !(first && base.control().threads.is_empty()) {
        groups.turn_over();
    } else {
        groups.turn_over_if_used();
    }
    if (before ^ now) & 0xff << 16 != 0 {
        levers::follow();
    }
}

/// The session that the thread was last found in; it joins nowhere.
fn of_known(process: &Process, base: &'static Session, thread: &Thread) -> &'static Session {
    let membership = thread.membership.get();
    let is_current = membership >> 8 == u64::from(process.groups.generation.load(Relaxed));
    // It takes no place: that is for who has work.
    let group = match is_current {
        true => Some(Group(membership as u8)),
        false => wish_of(base, thread)
            .filter(|wish| needs_group(base, *wish))
            .and_then(|wish| process.groups.places.known(wish)),
    };
    let group = group.unwrap_or(Group::PROCESS);
    let session = session_of(process, base, group);
    match session.group {
        Group::PROCESS => base,
        _ => process.groups.with_its_class(base, session),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(class: Class, origin: Origin) -> Wish {
        Wish { class, origin }
    }

    #[test]
    fn hints_go_below_rules_and_beyond_where_they_may() {
        use Class::{High, Low, Normal};
        let of = |rule, hint, hints| wished(rule, hint, hints);
        let lower = HintPolicy::Lower;
        assert_eq!(of(None, None, lower), None);
        let rule = Some(wish(Normal, Origin::Rule));
        assert_eq!(of(Some(Normal), None, lower), rule);
        assert_eq!(of(Some(Normal), Some(High), lower), rule);
        let low = Some(wish(Low, Origin::Hint));
        assert_eq!(of(Some(Normal), Some(Low), lower), low);
        let high = Some(wish(High, Origin::Hint));
        assert_eq!(of(Some(Normal), Some(High), HintPolicy::Within), high);
        assert_eq!(of(None, Some(High), lower), high, "the agent decides");
        assert_eq!(of(Some(Normal), Some(Low), HintPolicy::Off), rule);
        // The agent would fold it with rules that name other threads.
        assert_eq!(of(None, Some(Low), HintPolicy::Off), None);
    }

    #[test]
    fn generations_are_never_zero_again() {
        let groups = Groups::new();
        groups.turn_over_if_used();
        assert_eq!(groups.generation.load(Relaxed), 0);
        groups.generation.store(u32::MAX, Relaxed);
        groups.turn_over();
        assert_eq!(groups.generation.load(Relaxed), 1);
    }
}
