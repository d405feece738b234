//! The gate: every device command of the process asks here.
//!
//! Open, which is the rule, costs one load of the control word and one
//! counter. Whatever else happens is in [`wait`].

pub mod timing;
mod wait;
pub mod watch;

use wait::Passage;

use std::hint::cold_path;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use xsched_common::gate::{GateMode, GateWord};
use xsched_common::page::{DeviceStatus, MAX_GROUPS, Route};
use xsched_common::platform::EntryPoint;
use xsched_common::units::{DeviceIndex, Nanos};

use crate::groups;
use crate::inflight::{Activation, StreamSlot};
use crate::owner::Role;
use crate::page::Session;
use crate::process::Process;

/// How the platform finds out about completions without waiting.
pub trait Fencing {
    /// Looks at the device's outstanding fences and marks what they show as
    /// complete; how many commands that were, by group.
    fn reap(&self, device: DeviceIndex) -> [u64; MAX_GROUPS];

    /// Puts a fence on `own` if at least `batch` commands on it have none.
    fn fence(&self, own: &StreamSlot, batch: u64);

    /// Puts a fence on every stream of the device that has work and no
    /// fence; `own` is the calling thread's.
    fn fence_all(&self, device: DeviceIndex, own: Option<&StreamSlot>);

    /// Puts a stamp behind all work on `own`, which the calling thread
    /// launches on: an event that keeps the device's time.
    fn stamp(&self, own: &StreamSlot) -> Option<u64>;

    /// Whether the device has passed a stamp; yes where that cannot be known
    /// any more.
    fn has_passed(&self, stamp: u64) -> bool;

    /// The device's time between two stamps that it has passed.
    fn elapsed(&self, from: u64, to: u64) -> Option<Nanos>;

    /// A stamp that is needed no more.
    fn give_stamp(&self, device: DeviceIndex, stamp: u64);

    /// The thread is about to sleep: what the looking has changed for the
    /// program in this thread is put right, since a signal handler may look,
    /// or never come back.
    fn pause(&self);
}

/// A command at the gate.
#[derive(Clone, Copy)]
pub struct Command<'a> {
    /// Where it will run.
    pub device: DeviceIndex,
    /// Its stream; `None` when the table of streams is full: such a command
    /// is gated but not counted.
    pub stream: Option<&'a StreamSlot>,
    /// The function that it was given to.
    pub entry: &'static EntryPoint,
}

/// Launches between two publications of a stream's counts: a reader of the
/// status page sees them this late at most.
const PUBLISH_EVERY: u64 = 16;
/// Launches between two looks at the heartbeat while the device never idles.
const CHECK_EVERY: u64 = 4096;

/// Returns when the command may be handed to the runtime, and counts it; how
/// it went on. `fencing` is asked for only at a gate that is not open.
#[inline(always)]
pub fn admit<F: Fencing>(
    process: &'static Process,
    session: &'static Session,
    command: Command<'_>,
    role: Role,
    fencing: impl Fn(&'static Process) -> F,
) -> Route {
    let device = usize::from(command.device.0);
    let (Some(control), Some(status)) = (
        session.control().devices.get(device),
        session.status().devices.get(device),
    ) else {
        return Route::Gated;
    };
    let mut route = Route::Gated;
    if !GateWord(control.word.load(Acquire)).is_open() {
        cold_path();
        route = the_long_way(process, session, command, fencing);
    }
    let Some(stream) = command.stream else {
        return route;
    };
    let n = stream.launch(role);
    process.owner.order(role);
    if !status.activity().active {
        cold_path();
        begin(process, session, status, command.device);
    }
    if n.is_multiple_of(PUBLISH_EVERY) {
        cold_path();
        publish_stream(process, session, status, command.device, stream);
        if n.is_multiple_of(CHECK_EVERY) {
            check_lease(session);
        }
    }
    route
}

/// A gate that is not open.
#[cold]
#[inline(never)]
fn the_long_way<F: Fencing>(
    process: &'static Process,
    session: &'static Session,
    command: Command<'_>,
    fencing: impl Fn(&'static Process) -> F,
) -> Route {
    let control = session.control().devices.get(usize::from(command.device.0));
    let mode = control.map(|control| GateWord(control.word.load(Acquire)).mode());
    // Asked here and not at each launch: an open gate has nothing to pass.
    if session.control().scope.passes_api(command.entry.symbol) {
        return Route::Passthrough;
    }
    if mode != Some(GateMode::Watched) && !timing::is_within(process, session, command) {
        wait::pass(process, session, command, Passage::Command, &fencing);
    }
    if let Some(own) = command.stream
        && watch::is_asked_for(session, command.device)
    {
        timed(process, session, command.device, own, fencing);
    }
    Route::Gated
}

/// Apart, so that [`the_long_way`] has nothing to undo: a thread may be ended
/// at any instruction of it.
#[inline(never)]
fn timed<F: Fencing>(
    process: &'static Process,
    session: &'static Session,
    device: DeviceIndex,
    own: &StreamSlot,
    fencing: impl Fn(&'static Process) -> F,
) {
    crate::sys::undisturbed(|_| {
        let _unseen = crate::sys::Unseen::new();
        watch::launch(process, session, device, own, &fencing(process));
    });
}

#[cold]
fn begin(process: &Process, session: &Session, status: &DeviceStatus, device: DeviceIndex) {
    if let Some(work) = process.work(session.group, device)
        && work.begin(session, status, device) == Activation::Began
    {
        crate::callers::refresh(session);
        check_lease(session);
    }
}

/// Finds out under an open gate that the agent is gone or was restarted.
#[cold]
fn check_lease(session: &Session) {
    if session.lease_expired(crate::sys::now()) {
        crate::process::detach();
    }
}

#[inline(never)]
fn publish_stream(
    process: &Process,
    session: &Session,
    status: &DeviceStatus,
    device: DeviceIndex,
    stream: &StreamSlot,
) {
    status.admitted.fetch_add(stream.unpublished(), Relaxed);
    publish_in_flight(process, session, status, device);
    if let Some(base) = crate::process::session() {
        groups::refresh(process, base);
    }
}

fn publish_in_flight(
    process: &Process,
    session: &Session,
    status: &DeviceStatus,
    device: DeviceIndex,
) {
    let in_flight = process.streams.in_flight_of(session.group, device);
    status
        .in_flight
        .store(u32::try_from(in_flight).unwrap_or(u32::MAX), Relaxed);
}

/// Writes a device's counts to the status page.
pub fn publish(process: &Process, session: &Session, device: DeviceIndex) {
    let Some(status) = session.status().devices.get(usize::from(device.0)) else {
        return;
    };
    for stream in process.streams.of_group(session.group, device) {
        let news = stream.unpublished();
        if news != 0 {
            status.admitted.fetch_add(news, Relaxed);
        }
    }
    publish_in_flight(process, session, status, device);
}
