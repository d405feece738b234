//! The process's life with an agent.
//!
//! ```text
//! 0 Native ----> 1 Joining ----> 2 Joined
//!     ^              |               |  heartbeat stands still
//!     +--------------+               v
//!     (refused, nobody there)    3 Detached ----> 1 Joining ...
//! 4 Disabled: for ever (XSCHED_DISABLE, exit)
//! ```
//!
//! Only `Joined` gates anything. The thread that joins does so inside its
//! own launch, at most once per second; the others launch as native
//! meanwhile. A fork's child starts in `Native` (see [`crate::process`]).

mod connect;
mod fork;

use std::ffi::c_void;
use std::fmt;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};

use xsched_common::Abi;
use xsched_common::handshake::{Part, Wish};
use xsched_common::units::Nanos;

use crate::groups::{self, Group};
use crate::loader::host;
use crate::options::{Options, Power, VARIABLES, Verbosity};
use crate::page::{PageError, Session};
use crate::process::{Process, RETRY, State, disable, remember};
use crate::{Platform, callers, interpose, levers, log, owner, sys};

/// Why the process is not joined.
#[derive(Debug)]
pub enum JoinError {
    /// Nobody listens at the socket.
    NoAgent(sys::Errno),
    /// The agent did not answer in time.
    Silent,
    /// The agent's answer is not one.
    Malformed,
    /// The agent has no room.
    Busy,
    /// The agent is of another version.
    Abi(Abi),
    /// The socket belongs to a stranger.
    Stranger(u32),
    /// The agent's pages cannot be used.
    Page(PageError),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::NoAgent(why) => write!(f, "no agent: {why}"),
            JoinError::Silent => f.write_str("the agent does not answer"),
            JoinError::Malformed => f.write_str("the agent's answer makes no sense"),
            JoinError::Busy => f.write_str("the agent has no room for another client"),
            JoinError::Abi(abi) => write!(
                f,
                "the agent speaks ABI {abi}, this shim {}: install the same xsched version of both",
                xsched_common::ABI
            ),
            JoinError::Stranger(uid) => {
                write!(
                    f,
                    "the agent's socket is served by user {uid}, neither root nor us"
                )
            }
            JoinError::Page(why) => write!(f, "the agent's pages cannot be used: {why}"),
        }
    }
}

/// Attempts in a row at which an agent took the connection and said nothing;
/// each doubles the time to the next, up to half a minute.
static SILENCES: AtomicU32 = AtomicU32::new(0);
const MOST_SILENCES: u32 = 5;

/// Prepares what must exist before the first launch. Called by the library's
/// constructor, and by whatever comes before it (other libraries'
/// constructors may run first).
pub fn start<P: Platform>() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.swap(true, AcqRel) {
        return;
    }
    sys::know_main_thread();
    owner::prepare();
    log::know_standard_error();
    fork::install(P::code());
    groups::look_up();
    levers::register::<P>();
    if Options::get().power == Power::Off {
        disable();
    }
    interpose::arrivals::watch::<P>();
}

extern "C" fn leave_for_good(_: *mut c_void) {
    disable();
}

/// Whether it is time to try to join: the native path's only question.
#[inline(always)]
pub fn due(process: &Process) -> bool {
    let next = process.next_attempt.load(Relaxed);
    next == 0 || (next != u64::MAX && sys::now_coarse().0 >= next)
}

/// Tries to join. The platform fills in what only it knows before the gate is
/// in force.
#[cold]
#[inline(never)]
pub fn join<P: Platform>(process: &Process) {
    if Options::get().power == Power::Off {
        // A fork's child has forgotten it.
        process.next_attempt.store(u64::MAX, Relaxed);
        return;
    }
    let Some(before) = claim(process, sys::now_coarse()) else {
        return;
    };
    let joining = State::Joining as u32;
    let _unseen = sys::Unseen::new();
    let give_up = || {
        let _ = process
            .state
            .compare_exchange(joining, before, AcqRel, Relaxed);
    };
    if !sys::has_memory() {
        return give_up();
    }
    sys::know_main_thread();
    introduce_options();
    match connect::connect(Group::PROCESS, Part::Process) {
        Ok(session) => {
            SILENCES.store(0, Relaxed);
            let session: &'static Session = Box::leak(Box::new(session));
            P::introduce(session);
            enter(process, session);
        }
        Err(why) => {
            report(&why);
            if matches!(why, JoinError::Silent) {
                // Each attempt costs its launch 50 ms: a stopped agent must
                // not cost the program a twentieth of its time.
                let next = sys::now_coarse() + retry_after(SILENCES.fetch_add(1, Relaxed));
                process.next_attempt.store(next.0, Relaxed);
            }
            give_up();
        }
    }
}

/// Claims the attempt that is due, for this thread alone; where the process
/// stands, which is joining from here on. An attempt that is not over a second
/// after the next one was due is lost: its thread was jumped out of it, or has
/// ended.
fn claim(process: &Process, now: Nanos) -> Option<u32> {
    let joining = State::Joining as u32;
    let state = process.state.load(Acquire);
    let next = process.next_attempt.load(Relaxed);
    let (before, due) = if state == joining {
        (State::Native as u32, Nanos(next) + RETRY)
    } else if state == State::Native as u32 || state == State::Detached as u32 {
        (state, Nanos(next))
    } else {
        return None;
    };
    // The next attempt's time first: who is jumped out from here on has taken
    // nothing for longer than that.
    let claimed = next != u64::MAX
        && now >= due
        && process
            .next_attempt
            .compare_exchange(next, (now + RETRY).0, Relaxed, Relaxed)
            .is_ok();
    let joins = claimed
        && process
            .state
            .compare_exchange(state, joining, AcqRel, Relaxed)
            .is_ok();
    joins.then_some(before)
}

fn enter(process: &Process, session: &'static Session) {
    at_exit();
    remember(Group::PROCESS, Some(session));
    // A program that exits in another thread meanwhile stays disabled, and one
    // that has joined by a later attempt joined.
    let joined = process.state.compare_exchange(
        State::Joining as u32,
        State::Joined as u32,
        AcqRel,
        Relaxed,
    );
    if joined.is_err() {
        remember(Group::PROCESS, crate::process::session());
        session.connection.close();
        return;
    }
    process.owner.claim();
    process
        .session
        .store(std::ptr::from_ref(session).cast_mut(), Release);
    // Evaluated without this agent's passthrough list so far.
    callers::invalidate();
    callers::publish(session.status());
    groups::refresh(process, session);
    let control = session.control();
    log::verbose(format_args!(
        "joined the agent as client {} (epoch {:x})",
        control.client_id, control.epoch
    ));
}

/// From one attempt to the next after so many at which the agent said nothing.
fn retry_after(silences: u32) -> Nanos {
    RETRY.times(1 << silences.min(MOST_SILENCES))
}

/// From one attempt of a group to the next; longer while the agent says nothing.
pub fn retry_of_groups() -> Nanos {
    retry_after(SILENCES.load(Relaxed))
}

/// Joins with a group of a process that has joined as `base`.
#[cold]
pub fn join_group(base: &Session, group: Group, wish: Wish) -> Option<Session> {
    let _unseen = sys::Unseen::new();
    if !sys::has_memory() {
        return None;
    }
    match connect::connect(group, Part::Group(wish)) {
        Ok(session) => {
            SILENCES.store(0, Relaxed);
            session.status().introduce_as(base.status());
            log::verbose(format_args!(
                "joined the agent with a group of class {} as client {}",
                wish.class,
                session.control().client_id
            ));
            Some(session)
        }
        Err(why) => {
            log::verbose(format_args!("a group has no class of its own: {why}"));
            if matches!(why, JoinError::Silent) {
                SILENCES.fetch_add(1, Relaxed);
            }
            None
        }
    }
}

/// Registers [`leave_for_good`] behind everything the program has registered so
/// far, so that it runs before that: launches at exit must not wait.
fn at_exit() {
    static REGISTERED: AtomicU32 = AtomicU32::new(0);
    // Once is enough in nearly all programs, and the table of handlers must
    // not grow with every restart of the agent.
    if REGISTERED.fetch_add(1, Relaxed) == 0 {
        host::at_exit(leave_for_good);
    }
}

/// Prints the table with the values in force, if `XSCHED_VERBOSE` asks for
/// it and for the first call only.
fn introduce_options() {
    static DONE: AtomicBool = AtomicBool::new(false);
    let options = Options::get();
    if options.verbosity == Verbosity::Quiet || DONE.swap(true, Relaxed) {
        return;
    }
    for (variable, value) in VARIABLES.iter().zip(options.values()) {
        let name = variable.name.to_str().unwrap_or_default();
        match value {
            Some(set) => log::line(format_args!(
                "{name}={} ({}; {})",
                String::from_utf8_lossy(set),
                variable.kind,
                variable.meaning
            )),
            None => log::line(format_args!(
                "{name} not set ({}; default: {}; {})",
                variable.kind, variable.default, variable.meaning
            )),
        }
    }
}

fn report(why: &JoinError) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let message = format_args!("running unscheduled: {why}");
    match why {
        // Nobody but the user can repair these, and nothing works until
        // they do: said once, whatever the verbosity.
        JoinError::Abi(_) | JoinError::Stranger(_) | JoinError::Page(_) => {
            if !TOLD.swap(true, Relaxed) {
                log::line(message);
            }
        }
        JoinError::NoAgent(_) | JoinError::Silent | JoinError::Malformed | JoinError::Busy => {
            static MENTIONED: AtomicBool = AtomicBool::new(false);
            if !MENTIONED.swap(true, Relaxed) {
                log::verbose(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_made_by_one_thread_and_a_lost_one_by_another() {
        // SAFETY: zero bytes are a process that has not joined.
        let process = unsafe { Box::<Process>::new_zeroed().assume_init() };
        let (native, joining) = (State::Native as u32, State::Joining as u32);
        let state = || process.state.load(Relaxed);
        let start = Nanos::from_secs(100);
        assert_eq!(claim(&process, start), Some(native));
        let almost = Nanos(start.0 + 2 * RETRY.0 - 1);
        assert_eq!((claim(&process, almost), state()), (None, joining));
        let lost = start + RETRY.times(2);
        assert_eq!((claim(&process, lost), state()), (Some(native), joining));
        assert_eq!(claim(&process, lost), None, "another's by now");

        process.state.store(State::Detached as u32, Relaxed);
        assert_eq!(claim(&process, lost), None, "not due");
        assert_eq!(claim(&process, lost + RETRY), Some(State::Detached as u32));
        for state in [State::Joined, State::Disabled] {
            process.state.store(state as u32, Relaxed);
            assert_eq!(claim(&process, Nanos::from_secs(1_000)), None);
        }
    }
}
