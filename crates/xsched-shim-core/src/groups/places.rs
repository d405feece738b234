//! Places of groups: which wish has which group of the few that there are.
//!
//! The agent may give a wish another class than it asks for. Only classes that
//! differ from the process's and from each other need gates of their own, and
//! there is a place for each of these. So a place whose group has become what the
//! process or an earlier group is makes room for a wish that finds none, as does
//! one that nobody has managed to join with. What the agent answered stays noted,
//! so that a wish that it refused does not join again while the agent's rules and
//! the process's class stay as they are.
//!
//! A place changes hands in one step, the change of its [`Holder`]; whoever made it
//! then ends the session that is there. If that is a new one already, because the
//! thread was stopped in between, it joins once more.

use std::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};

use xsched_common::handshake::{Origin, Wish};
use xsched_common::page::{HintPolicy, MAX_GROUPS};
use xsched_common::units::{Class, Nanos};

use super::Group;
use crate::page::Session;
use crate::process;

/// Groups beside the process itself.
pub(super) const OTHERS: usize = MAX_GROUPS - 1;
/// Wishes that there can be: classes, by hint and by rule.
const WISHES: usize = 2 * Class::ALL.len();
/// A group that has done nothing for so long leaves. Its threads may have ended,
/// and while it is there the agent takes it for work to come. Seldom: a session
/// that has ended stays in memory.
const UNUSED: Nanos = Nanos::from_secs(600);

/// All places.
pub(super) struct Places {
    of_groups: [Place; OTHERS],
    /// By wish: the class that the agent gave it when it had a place, plus one.
    answers: [AtomicU32; WISHES],
    /// Nonzero: somebody found no place.
    sought: AtomicU32,
}

/// One group's.
struct Place {
    /// The [`Holder`].
    holder: AtomicU64,
    session: AtomicPtr<Session>,
    /// When to try to join.
    next_attempt: AtomicU64,
}

/// What a place is for, and how often that has changed: a thread that was stopped
/// for long does not take one turn for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder(u64);

impl Holder {
    /// The wish as a number; zero while free.
    const fn raw(self) -> u32 {
        self.0 as u32
    }

    fn wish(self) -> Option<Wish> {
        Wish::from_raw(self.raw())
    }

    /// The next one, for a wish as a number, or free.
    const fn next(self, raw: u32) -> Holder {
        Holder(((self.0 >> 32).wrapping_add(1)) << 32 | raw as u64)
    }
}

/// Whose place is sought, and what is known of the process.
#[derive(Clone, Copy)]
pub(super) struct Search {
    pub wish: Wish,
    /// The process's class.
    pub own: Option<Class>,
    pub hints: HintPolicy,
    pub now: Nanos,
}

/// What a search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A group that was there.
    Group(Group),
    /// A group that was another wish's until now: every thread looks anew.
    Taken(Group),
    /// The process's own session will do, or has to.
    None,
}

/// An attempt to join that is one thread's alone.
pub(super) struct Attempt<'a> {
    place: &'a Place,
    holder: Holder,
    /// For which wish.
    pub wish: Wish,
}

fn index(wish: Wish) -> usize {
    usize::from(wish.class as u8) * 2 + usize::from(wish.origin as u8)
}

impl Place {
    const fn new() -> Place {
        Place {
            holder: AtomicU64::new(0),
            session: AtomicPtr::new(std::ptr::null_mut()),
            next_attempt: AtomicU64::new(0),
        }
    }

    fn session(&self) -> Option<&'static Session> {
        let session = self.session.load(SeqCst);
        // SAFETY: null or a session, and sessions are never freed.
        unsafe { session.as_ref() }
    }

    fn holder(&self) -> Holder {
        Holder(self.holder.load(SeqCst))
    }

    /// Changes hands, and ends its group; whether nobody was faster.
    fn pass_on(&self, before: Holder, raw: u32) -> bool {
        let next = before.next(raw);
        let passed = self
            .holder
            .compare_exchange(before.0, next.0, SeqCst, SeqCst);
        if passed.is_err() {
            return false;
        }
        let session = self.session.swap(std::ptr::null_mut(), SeqCst);
        // SAFETY: as in `session`.
        if let Some(session) = unsafe { session.as_ref() } {
            process::leave_group(session);
        }
        true
    }

    /// Takes a session away; whether it was there.
    fn take(&self, session: &'static Session) -> bool {
        let ours = std::ptr::from_ref(session).cast_mut();
        let null = std::ptr::null_mut();
        let taken = self.session.compare_exchange(ours, null, SeqCst, SeqCst);
        taken.is_ok()
    }
}

impl Places {
    /// All free; all bytes zero.
    pub const fn new() -> Places {
        Places {
            of_groups: [const { Place::new() }; OTHERS],
            answers: [const { AtomicU32::new(0) }; WISHES],
            sought: AtomicU32::new(0),
        }
    }

    fn place(&self, group: Group) -> Option<&Place> {
        self.of_groups.get(usize::from(group.0).checked_sub(1)?)
    }

    /// All places with their groups.
    fn all(&self) -> impl Iterator<Item = (&Place, Group)> {
        self.of_groups.iter().zip((1..).map(Group))
    }

    /// A group's session, while it has joined.
    #[inline(always)]
    pub fn joined(&self, group: Group) -> Option<&'static Session> {
        let session = self.place(group)?.session.load(Acquire);
        // SAFETY: null or a session, and sessions are never freed.
        unsafe { session.as_ref() }
    }

    /// The group that has a wish's place already, if one has.
    pub fn known(&self, wish: Wish) -> Option<Group> {
        let raw = wish.to_raw();
        let mut all = self.all();
        all.find(|(place, _)| place.holder().raw() == raw)
            .map(|(_, group)| group)
    }

    /// A place for a wish.
    pub fn find(&self, search: &Search) -> Found {
        if let Some(group) = self.known(search.wish) {
            return Found::Group(group);
        }
        if let Some(answer) = self.answered(search) {
            return answer;
        }
        let raw = search.wish.to_raw();
        // In this order two threads cannot take two places for one wish.
        for (place, group) in self.all() {
            let before = place.holder();
            let taken = before.raw() == 0 && place.pass_on(before, raw);
            if taken || place.holder().raw() == raw {
                return Found::Group(group);
            }
        }
        for (place, group) in self.all() {
            if self.makes_room(place, group, search) {
                return Found::Taken(group);
            }
        }
        let mut alike = self.all().filter(|(place, _)| is_alike(place, search));
        if let Some((_, group)) = alike.next() {
            return Found::Group(group);
        }
        self.sought.store(1, Relaxed);
        Found::None
    }

    /// Where a wish belongs that had a place before.
    fn answered(&self, search: &Search) -> Option<Found> {
        let answer = self.answers.get(index(search.wish))?.load(Relaxed);
        let class = Class::from_raw(answer.checked_sub(1)? as u8)?;
        if search.own == Some(class) {
            return Some(Found::None);
        }
        let mut all = self.all();
        all.find(|(place, _)| place.session().and_then(Session::class) == Some(class))
            .map(|(_, group)| Found::Group(group))
    }

    /// Gives the place to the wish if its group is of no use: see the module.
    fn makes_room(&self, place: &Place, group: Group, search: &Search) -> bool {
        let before = place.holder();
        if search.now.0 < place.next_attempt.load(SeqCst) {
            // It may be joining, or the agent has not said its class.
            return false;
        }
        let session = place.session();
        if let Some(session) = session {
            let class = session.class();
            let earlier = self.all().take_while(|(_, other)| *other != group);
            let mut earlier = earlier.filter_map(|(place, _)| place.session());
            if class != search.own && !earlier.any(|other| other.class() == class) {
                return false;
            }
        }
        let taken = place.pass_on(before, search.wish.to_raw());
        if taken {
            if let Some(session) = session {
                self.note_answer(before, session);
            }
            place.next_attempt.store(0, SeqCst);
        }
        taken
    }

    /// What the agent has answered to the wish of a place.
    fn note_answer(&self, holder: Holder, session: &Session) {
        if let (Some(wish), Some(class)) = (holder.wish(), session.class())
            && let Some(answer) = self.answers.get(index(wish))
        {
            answer.store(class as u32 + 1, Relaxed);
        }
    }

    /// The agent's rules or the process's class have changed: what it answered
    /// counts no more.
    pub fn forget_answers(&self) {
        for answer in &self.answers {
            answer.store(0, Relaxed);
        }
    }

    /// Whether somebody found no place since this was last asked.
    pub fn take_sought(&self) -> bool {
        self.sought.swap(0, Relaxed) != 0
    }

    /// Claims the attempt to join that is due; the next one is `later`.
    pub fn attempt(&self, group: Group, now: Nanos, later: Nanos) -> Option<Attempt<'_>> {
        let place = self.place(group)?;
        let due = place.next_attempt.load(SeqCst);
        let claimed = now.0 >= due
            && place
                .next_attempt
                .compare_exchange(due, later.0, SeqCst, SeqCst)
                .is_ok();
        let holder = place.holder();
        let wish = holder.wish()?;
        claimed.then_some(Attempt {
            place,
            holder,
            wish,
        })
    }

    /// Ends groups that have done nothing since `UNUSED`; `last_used` tells when one
    /// last did. Whether it ended any.
    pub fn end_unused(&self, now: Nanos, last_used: impl Fn(&Session) -> Nanos) -> bool {
        let mut ended = false;
        for (place, _) in self.all() {
            let joined = Nanos(place.next_attempt.load(SeqCst));
            let holder = place.holder();
            let Some(session) = place.session() else {
                continue;
            };
            if now.since(last_used(session).max(joined)) >= UNUSED {
                let passed = place.pass_on(holder, 0);
                if passed {
                    self.note_answer(holder, session);
                }
                ended |= passed;
            }
        }
        ended
    }

    /// Takes a session away again; whether nobody else has.
    pub fn withdraw(&self, session: &'static Session) -> bool {
        let place = self.place(session.group);
        place.is_some_and(|place| place.take(session))
    }

    /// Takes all sessions: the process has left the agent.
    pub fn leave(&self) -> impl Iterator<Item = &'static Session> {
        self.forget_answers();
        self.of_groups.iter().filter_map(|place| {
            let session = place.session.swap(std::ptr::null_mut(), SeqCst);
            // SAFETY: null or a session, and sessions are never freed.
            unsafe { session.as_ref() }
        })
    }
}

impl Attempt<'_> {
    /// The group has joined. Whether the place is still for the wish: if not, the
    /// session is nobody's.
    pub fn succeeded(self, session: &'static Session) -> bool {
        let ours = std::ptr::from_ref(session).cast_mut();
        let null = std::ptr::null_mut();
        let slot = &self.place.session;
        if slot.compare_exchange(null, ours, SeqCst, SeqCst).is_err() {
            return false;
        }
        // Whoever passes the place on does so before it takes the session.
        self.place.holder() == self.holder || !self.place.take(session)
    }
}

/// Whether a wish without a place may share a group: one that has the wish's class.
/// A hint shares a rule's only where hints give as much.
fn is_alike(place: &Place, search: &Search) -> bool {
    let (Some(session), Some(theirs)) = (place.session(), place.holder().wish()) else {
        return false;
    };
    let Wish { class, origin } = search.wish;
    let is_below = search.own.is_some_and(|own| class < own);
    let may = origin == Origin::Rule
        || theirs.origin == origin
        || is_below
        || search.hints == HintPolicy::Within;
    session.class() == Some(class) && may
}

#[cfg(test)]
mod tests;
