//! Timing a program whose completions nothing tells of.
//!
//! Some programs launch and never ask: they poll memory that a kernel writes,
//! or wait for nothing at all. Without a call of theirs nobody can know the
//! moment in which their work is complete; no thread of ours may call the
//! runtime. So while the agent asks for it ([`Edges::WATCH`], a lower class
//! waits), each launch leaves stamps and reads those of earlier ones, and the
//! status page says how long the burst should last by what such work took
//! before ([`xsched_common::gate::Pace`]). Behind that time the agent takes
//! the program for idle until its next launch, which rings.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use xsched_common::gate::{GateMode, GateWord, Pace, Stamp};
use xsched_common::page::Edges;
use xsched_common::units::{DeviceIndex, Nanos};

use super::Fencing;
use crate::inflight::StreamSlot;
use crate::page::Session;
use crate::process::Process;
use crate::sys;

/// Launches between two looks at stamps, beside those at which one is put.
const COLLECT_EVERY: u64 = 16;

/// Whether the agent asks for it on a device.
pub fn is_asked_for(session: &Session, device: DeviceIndex) -> bool {
    wanted(session, device).contains(Edges::WATCH)
}

fn wanted(session: &Session, device: DeviceIndex) -> Edges {
    let control = session.control().devices.get(usize::from(device.0));
    control.map_or(Edges::NONE, |control| {
        Edges(control.wanted_edges.load(SeqCst))
    })
}

/// A command is about to be launched on `own`; the thread's signals are held
/// back, because a handler that jumps would leave the pace locked.
pub fn launch(
    process: &Process,
    session: &Session,
    device: DeviceIndex,
    own: &StreamSlot,
    fencing: &impl Fencing,
) {
    let index = usize::from(device.0);
    let (Some(work), Some(status), Some(pace)) = (
        process.work(session.group, device),
        session.status().devices.get(index),
        session.status().paces.get(index),
    ) else {
        return;
    };
    let now = sys::now();
    if !status.activity().active {
        super::begin(process, session, status, device);
    }
    let ended = work.expected_end();
    let until = own.paced.with(|paced| {
        let launched = own.launched();
        let begins = paced.arrives(launched, now);
        if begins || paced.wants_stamp(launched) || launched.is_multiple_of(COLLECT_EVERY) {
            if begins {
                // Other streams may have work that nobody asks about any more.
                fencing.reap(device);
                fencing.fence_all(device, None);
            }
            collect(process, session, device, own, paced, fencing);
            if paced.wants_stamp(launched) {
                put(launched, own, now, paced, fencing);
            }
        }
        paced.launches(launched, now, work.kernel_time())
    });
    let Some(until) = until else {
        return;
    };
    if process.streams.in_flight_of(session.group, device) == own.in_flight() {
        work.expect_no_more(ended);
    }
    // First what the agent looks at, then what it wants, which it writes
    // before it looks: one of the two sees the other.
    let is_unknown = || {
        let mut own = process.streams.of_group(session.group, device);
        own.any(StreamSlot::is_unknown)
    };
    pace.lasts_ns
        .store(work.expect(until, now, is_unknown).0, SeqCst);
    let assumed_idle = wanted(session, device).contains(Edges::ACTIVE);
    if ended <= now && assumed_idle && work.begin_anew(session, status, device, ended) {
        pace.lasts_ns
            .store(work.expect(until, now, is_unknown).0, SeqCst);
    }
}

/// A call that is no command comes behind commands on `own`: a stamp now may
/// show what the next launch could not.
pub fn pass_by(
    process: &Process,
    session: &Session,
    device: DeviceIndex,
    own: &StreamSlot,
    fencing: &impl Fencing,
) {
    own.paced.with(|paced| {
        collect(process, session, device, own, paced, fencing);
        let launched = own.launched();
        if paced.lacks_stamp(launched) {
            put(launched, own, sys::now(), paced, fencing);
        }
    });
}

fn put(launched: u64, own: &StreamSlot, now: Nanos, paced: &mut Pace, fencing: &impl Fencing) {
    if let Some(event) = fencing.stamp(own) {
        paced.put(Stamp {
            event,
            sequence: launched,
            put: now,
        });
    }
}

/// Looks at the stamps of earlier launches.
fn collect(
    process: &Process,
    session: &Session,
    device: DeviceIndex,
    own: &StreamSlot,
    paced: &mut Pace,
    fencing: &impl Fencing,
) {
    let index = usize::from(device.0);
    let (Some(control), Some(status), Some(work)) = (
        session.control().devices.get(index),
        session.status().devices.get(index),
        process.work(session.group, device),
    ) else {
        return;
    };
    while let Some((first, next)) = paced.next() {
        if !fencing.has_passed(next.event) {
            return;
        }
        let elapsed = fencing.elapsed(first.event, next.event);
        let (took, free) = paced.passed(elapsed);
        fencing.give_stamp(device, free.event);
        own.complete(next.sequence);
        // At a cap fences tell of the same commands.
        if let Some(took) = took
            && GateWord(control.word.load(Relaxed)).mode() == GateMode::Watched
        {
            work.timed(status, took);
        }
        super::publish_in_flight(process, session, status, device);
    }
    paced.settle(own.launched(), sys::now());
}

/// Gives a stream's stamps up, whose device was reset: they died with it.
pub fn forget(own: &StreamSlot) {
    own.paced.with(|paced| paced.clear().count());
}

/// Gives a stream's stamps back before it is destroyed.
pub fn abandon(own: &StreamSlot, fencing: &impl Fencing) {
    let device = own.info().device;
    own.paced.with(|paced| {
        for stamp in paced.clear() {
            fencing.give_stamp(device, stamp.event);
        }
        paced.move_in();
    });
}

/// The program itself has told of so many completions.
pub fn note_told(session: &Session, device: DeviceIndex, commands: u64) {
    if let Some(pace) = session.status().paces.get(usize::from(device.0)) {
        pace.told.fetch_add(commands, Relaxed);
    }
}
