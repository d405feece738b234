//! Timed intervals at the gate ([`crate::timing`]).

use std::sync::atomic::Ordering::Relaxed;

use xsched_common::gate::{GateWord, Limits, ThreadKind};
use xsched_common::units::Nanos;

use super::wait::{self, Passage};
use super::{Command, Fencing};
use crate::inflight::StreamSlot;
use crate::page::Session;
use crate::process::Process;
use crate::sys;
use crate::timing::{Edge, Stands};

/// Whether the command belongs to an interval that has passed the gate.
pub fn is_within(process: &Process, session: &Session, command: Command<'_>) -> bool {
    let timing = &process.timing;
    let place = command
        .stream
        .and_then(|slot| Some((slot, process.streams.index_of(slot)?)));
    let Some((slot, stream)) = place else {
        return false;
    };
    let work = process.work(session.group, command.device);
    let kernel_time = work.map_or(Nanos::ZERO, |work| work.kernel_time());
    let stands = timing.stands(stream, slot.launched(), kernel_time, sys::now());
    if stands == Stands::Splits && timing.is_asked_for() {
        session.status().split_intervals.fetch_add(1, Relaxed);
    }
    stands == Stands::Within
}

/// An event that may measure is about to be recorded on the stream of `command`. Waits if that
/// begins an interval at a gate that is not open.
pub fn before_record<F: Fencing>(
    process: &'static Process,
    session: &'static Session,
    command: Command<'_>,
    fencing: impl FnOnce(&'static Process) -> F,
) {
    let timing = &process.timing;
    let place = command
        .stream
        .and_then(|slot| Some((slot, process.streams.index_of(slot)?)));
    if let Some((slot, stream)) = place
        && timing.recorded(stream, slot.launched()) == Edge::Begins
    {
        let most = hold(process, session, command, fencing);
        timing.begin(stream, StreamSlot::launched(slot), most, sys::now());
    }
}

/// How many commands the gate lets through with the record.
fn hold<F: Fencing>(
    process: &'static Process,
    session: &'static Session,
    command: Command<'_>,
    fencing: impl FnOnce(&'static Process) -> F,
) -> u64 {
    let device = usize::from(command.device.0);
    let (Some(control), Some(wait_queue)) = (
        session.control().devices.get(device),
        process.wait_queue(session.group, command.device),
    ) else {
        return 1;
    };
    if GateWord(control.word.load(Relaxed)).is_open() {
        return u64::MAX;
    }
    process.timing.doubted();
    let came = sys::now();
    let most = wait::pass(process, session, command, Passage::Interval, fencing);
    if wait_queue.last_trickle() >= came && sys::thread_kind() == ThreadKind::Main {
        // The main thread's trickle is for one kernel; several are paid for
        // with any other thread's.
        let Limits {
            trickle,
            trickle_main,
            ..
        } = Limits::DEFAULT;
        wait_queue.trickled(sys::now() + Nanos(trickle.0 - trickle_main.0));
    }
    most
}
