//! How the process leaves its agent.

use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicPtr, fence};

use xsched_common::page::MAX_GROUPS;
use xsched_common::units::Nanos;

use super::{Process, process, session};
use crate::groups::Group;
use crate::page::Session;
use crate::{callers, levers, log, sys};

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// No agent so far.
    Native = 0,
    /// One thread is talking to the agent.
    Joining = 1,
    /// The gate is in force.
    Joined = 2,
    /// The agent fell silent.
    Detached = 3,
    /// The shim does nothing more.
    Disabled = 4,
}

/// How long a process without an agent waits before it looks for one.
pub const RETRY: Nanos = Nanos::from_secs(1);

/// By group, whose descriptors the child of a fork must close: kept outside of
/// the wiped state. Sessions are never freed, so the child's copy of one is
/// whole.
static SESSIONS: [AtomicPtr<Session>; MAX_GROUPS] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; MAX_GROUPS];

/// Says whose descriptors of a group a child must close.
pub fn remember(group: Group, session: Option<&'static Session>) {
    let session = session.map_or(std::ptr::null(), std::ptr::from_ref);
    if let Some(place) = SESSIONS.get(group.index()) {
        place.store(session.cast_mut(), Relaxed);
    }
}

/// Whose they are, once.
pub fn remembered() -> impl Iterator<Item = &'static Session> {
    SESSIONS.iter().filter_map(|place| {
        let session = place.swap(std::ptr::null_mut(), Relaxed);
        // SAFETY: null or a session, and sessions are never freed.
        unsafe { session.as_ref() }
    })
}

/// The shim does nothing more.
pub fn disable() {
    process().state.store(State::Disabled as u32, Release);
    process().next_attempt.store(u64::MAX, Relaxed);
    if let Some(session) = session() {
        leave(session);
    }
}

/// The agent fell silent: run free, with all groups, and look for a new one
/// later.
#[cold]
pub fn detach() {
    let process = process();
    let left = process.state.compare_exchange(
        State::Joined as u32,
        State::Detached as u32,
        AcqRel,
        Relaxed,
    );
    if left.is_ok() {
        process
            .next_attempt
            .store((sys::now_coarse() + RETRY).0, Relaxed);
        if let Some(session) = session() {
            leave(session);
        }
        levers::follow();
        log::verbose(format_args!("the agent is gone: running free"));
    }
}

fn leave(session: &'static Session) {
    let _unseen = sys::Unseen::new();
    process().session.store(std::ptr::null_mut(), Release);
    for session in std::iter::once(session).chain(process().groups.leave()) {
        wake(process(), session);
        remember(session.group, None);
        session.connection.close();
    }
    process().streams.complete_all();
    callers::invalidate();
}

/// Ends a group's session, which nobody finds any more.
pub fn leave_group(session: &'static Session) {
    let _unseen = sys::Unseen::new();
    wake(process(), session);
    if let Some(place) = SESSIONS.get(session.group.index()) {
        let ended = std::ptr::from_ref(session).cast_mut();
        let _ = place.compare_exchange(ended, std::ptr::null_mut(), Relaxed, Relaxed);
    }
    session.connection.close();
}

/// Wakes whoever waits anywhere, because the process has left the agent.
fn wake(process: &Process, session: &Session) {
    // Whoever has made its bed before this is called, and whoever does after it
    // sees that the session is gone.
    fence(SeqCst);
    let (control, status) = (session.control(), session.status());
    for ((control, status), wait_queue) in control
        .devices
        .iter()
        .zip(&status.devices)
        .zip(process.wait_queues(session.group))
    {
        if status.waiting.load(SeqCst) != 0 {
            sys::futex_wake_all(&control.word);
        }
        wait_queue.wake_all(&status.waiting);
    }
}
