//! Waiting at a gate that is not open.

mod function;
mod siblings;

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use xsched_common::gate::{
    self, Decision, Evidence, GateMode, GateView, GateWord, Guard, Limits, Turn, Waiter, decide,
    fence_batch,
};
use xsched_common::page::{DeviceControl, DeviceStatus};
use xsched_common::units::Nanos;

use super::{Command, Fencing};
use crate::groups;
use crate::inflight::DeviceWork;
use crate::page::Session;
use crate::process::{self, Process};
use crate::sys::{self, Held};
use crate::thread::{self, AtGate, Thread};
use crate::wait_queue::{QueueSlot, WaitQueue};

/// What belongs to one device.
struct Parts<'a> {
    process: &'static Process,
    session: &'static Session,
    control: &'static DeviceControl,
    status: &'static DeviceStatus,
    work: &'static DeviceWork,
    wait_queue: &'static WaitQueue,
    command: Command<'a>,
    passage: Passage,
    held: &'a Held,
}

/// What comes to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// A command.
    Command,
    /// A record with which a timed interval begins ([`super::timing`]), whose
    /// commands are to pass along with it.
    Interval,
}

/// Returns when what came may go; how many commands the gate lets through with
/// that as one, where no other bound is lower.
#[cold]
#[inline(never)]
pub fn pass<F: Fencing>(
    process: &'static Process,
    session: &'static Session,
    command: Command<'_>,
    passage: Passage,
    fencing: impl FnOnce(&'static Process) -> F,
) -> u64 {
    let device = usize::from(command.device.0);
    let (Some(control), Some(status), Some(work), Some(wait_queue)) = (
        session.control().devices.get(device),
        session.status().devices.get(device),
        process.work(session.group, command.device),
        process.wait_queue(session.group, command.device),
    ) else {
        return 1;
    };
    let here = sys::stack_pointer();
    thread::with(|thread| {
        if thread.at_gate.get().is_around(here, sys::now) {
            return 1;
        }
        // Of a wait that a signal handler jumped out of.
        function::count_no_more(thread);
        let outer = thread.at_gate.replace(AtGate::new(here));
        let most = sys::undisturbed(|held| {
            let _unseen = sys::Unseen::new();
            if let Some(base) = process::session() {
                crate::callers::refresh(base);
                groups::refresh(process, base);
            }
            let parts = Parts {
                process,
                session,
                control,
                status,
                work,
                wait_queue,
                command,
                passage,
                held,
            };
            if here < thread.in_function.get() {
                function::wait(&parts, &fencing(process), thread)
            } else {
                wait(&parts, &fencing(process), thread)
            }
        });
        thread.at_gate.set(outer);
        most
    })
}

fn wait(parts: &Parts<'_>, fencing: &impl Fencing, thread: &Thread) -> u64 {
    let began = sys::now();
    let at_gate = thread.at_gate.get();
    let ticket = &thread.queue_ticket;
    thread.at_gate.set(at_gate.looks(began));
    let place = parts.wait_queue.enter(began, &parts.status.waiting, ticket);
    let waiter = Waiter::new(place.arrived(), sys::thread_kind());
    let device = parts.command.device;
    parts.work.begin(parts.session, parts.status, device);
    if let Some(own) = parts.command.stream {
        fencing.fence(own, batch(parts.control, gate_word(parts)));
    }

    let mut slept = false;
    let mut watch = Watch::new(began);
    let most = loop {
        // The process has left the agent: it exits, or another thread found
        // the lease expired.
        if has_left(parts) {
            place.wake_more(gate_word(parts));
            break u64::MAX;
        }
        let now = sys::now();
        thread.at_gate.set(at_gate.looks(now));
        let turn = place.turn(now);
        let word = gate_word(parts);
        // One that comes late to a gate that has closed meanwhile gives it back.
        if place.take_grant() && matches!(word.mode(), GateMode::Capped(_)) {
            break 1;
        }
        let Answer {
            decision,
            room,
            now,
        } = ask(parts, fencing, &waiter, &mut watch, word, turn);
        let decision = match decision {
            Decision::Wait { .. } if place.has_waited_outside_too_long(now) => {
                Decision::Pass(Guard::Stall)
            }
            Decision::Wait { until } if turn == Turn::First => {
                match siblings::judge(parts, fencing, &waiter, word, now) {
                    Some(judged) => judged.earlier_than(until),
                    None => decision,
                }
            }
            other => other,
        };
        match decision {
            Decision::Go => {
                break match (word.mode(), parts.passage) {
                    (GateMode::Capped(_), Passage::Command) => {
                        place.grant(room.saturating_sub(1));
                        1
                    }
                    (GateMode::Capped(_), Passage::Interval) => u64::from(room),
                    _ => {
                        place.wake_more(word);
                        u64::MAX
                    }
                };
            }
            Decision::Pass(guard) => {
                pass_by(parts, guard, word, turn, now);
                break match guard {
                    Guard::Stall => 1,
                    Guard::Trickle | Guard::Lease => u64::MAX,
                };
            }
            Decision::Wait { until } => {
                watch.sleeps_until(turn, until);
                // Each time: it may stand at another place since the last one.
                place.sleeps();
                if !slept {
                    slept = true;
                    // Once more, because a drainer that did not see this
                    // thread waiting may have said idle since it arrived.
                    parts.work.begin(parts.session, parts.status, device);
                    super::publish(parts.process, parts.session, device);
                }
                if turn == Turn::First {
                    fencing.fence_all(device, parts.command.stream);
                }
                fencing.pause();
                match turn {
                    Turn::First => {
                        sys::futex_wait(&parts.control.word, word.0, until.since(now), parts.held);
                    }
                    Turn::Behind => sleep_behind(parts, &place, word),
                }
            }
        }
    };

    if slept && in_flight(parts) == 0 {
        // The device did nothing for this process while it waited here.
        parts.work.resumed(sys::now());
    }
    drop(place);
    if slept {
        let status = parts.session.status();
        status.waits.fetch_add(1, Relaxed);
        status.gate_waits.record(sys::now().since(began));
    }
    most
}

fn gate_word(parts: &Parts<'_>) -> GateWord {
    GateWord(parts.control.word.load(Acquire))
}

/// A group's session ends with its process's.
fn has_left(parts: &Parts<'_>) -> bool {
    let base = process::session_now();
    !base.is_some_and(|base| {
        std::ptr::eq(
            groups::session_of(parts.process, base, parts.session.group),
            parts.session,
        )
    })
}

fn in_flight(parts: &Parts<'_>) -> u64 {
    let (group, device) = (parts.session.group, parts.command.device);
    parts.process.streams.in_flight_of(group, device)
}

/// What a waiter is to do.
struct Answer {
    decision: Decision,
    /// Launches that the gate admits, if this one may pass by its turn.
    room: u32,
    now: Nanos,
}

/// Only the first in the queue looks for completions, and only if it cannot go
/// without: in a crowd each of them would ask about all of the others' fences.
fn ask(
    parts: &Parts<'_>,
    fencing: &impl Fencing,
    waiter: &Waiter,
    watch: &mut Watch,
    word: GateWord,
    turn: Turn,
) -> Answer {
    let mut decide_now = || {
        let now = sys::now();
        let view = GateView {
            blind_until: watch.blind_until(turn, now),
            ..view(parts, word, turn, now)
        };
        Answer {
            decision: decide(&Limits::DEFAULT, &view, waiter),
            room: gate::room(&view),
            now,
        }
    };
    if turn == Turn::First {
        let fresh = sys::now().since(parts.wait_queue.last_reap()) < Limits::DEFAULT.poll_last;
        if fresh {
            let answer = decide_now();
            if answer.decision == Decision::Go {
                return answer;
            }
        }
        reap(parts, fencing);
    }
    decide_now()
}

/// Sleeps behind others until it is called: its turn has come, the gate is open,
/// or the process has left the agent. The agent wakes the first in the queue only.
fn sleep_behind(parts: &Parts<'_>, place: &QueueSlot<'_>, seen: GateWord) {
    if let Some(sleep_word) = place.sleep_word()
        && gate_word(parts) == seen
        && !has_left(parts)
    {
        sleep_word.sleep(place.sleep_limit(), parts.held);
    }
}

/// Since when the waiter has been looking for completions: a stall is known
/// only to who looked. Time behind others does not count, nor does time in
/// which a busy machine did not let the thread run, for two looks are needed
/// before another thread's stream can be fenced.
struct Watch {
    began: Nanos,
    /// When it meant to look again; zero: it was not looking.
    due: Nanos,
    blind_until: Nanos,
}

/// A look so much later than it was meant to be is by a thread that could not
/// run.
const LATE: Nanos = Nanos::from_millis(2);
/// Longest time by which blindness postpones a stall: waits stay bounded.
const MOST_BLIND: Nanos = Nanos::from_millis(100);

impl Watch {
    const fn new(began: Nanos) -> Watch {
        Watch {
            began,
            due: Nanos::ZERO,
            blind_until: Nanos::ZERO,
        }
    }

    /// The waiter looks now if it is first; until when it was blind.
    fn blind_until(&mut self, turn: Turn, now: Nanos) -> Nanos {
        match turn {
            Turn::First if now.since(self.due) > LATE => {
                self.blind_until = now.min(self.began + MOST_BLIND);
            }
            Turn::First => {}
            Turn::Behind => self.due = Nanos::ZERO,
        }
        self.blind_until
    }

    /// It sleeps; if it was first, the next look is then.
    fn sleeps_until(&mut self, turn: Turn, until: Nanos) {
        if turn == Turn::First {
            self.due = until;
        }
    }
}

fn reap(parts: &Parts<'_>, fencing: &impl Fencing) {
    let device = parts.command.device;
    let by_group = fencing.reap(device);
    let commands = by_group
        .get(parts.session.group.index())
        .copied()
        .unwrap_or(0);
    if commands > 0 {
        // The agent charges a closed gate for what is still in flight.
        super::publish_in_flight(parts.process, parts.session, parts.status, device);
    }
    let now = sys::now();
    parts.wait_queue.reaped(now);
    parts
        .work
        .completed(parts.status, commands, now, Evidence::Fence);
    siblings::completed(parts, by_group, now);
}

fn view(parts: &Parts<'_>, word: GateWord, turn: Turn, now: Nanos) -> GateView {
    let Command {
        device,
        stream,
        entry: _,
    } = parts.command;
    // Whoever stands behind passes only where nothing depends on it.
    let in_flight = match turn {
        Turn::First => {
            let streams = &parts.process.streams;
            let in_flight = streams.in_flight_before(parts.session.group, device, stream);
            in_flight.saturating_add(parts.wait_queue.granted())
        }
        Turn::Behind => 0,
    };
    GateView {
        word,
        in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
        last_completion: parts.work.last_completion(),
        blind_until: Nanos::ZERO,
        last_trickle: parts.wait_queue.last_trickle(),
        kernel_time: parts.work.kernel_time(),
        beat_seen: parts.session.beat_seen(now),
        now,
        cap_doublings: parts.wait_queue.doublings(word),
        turn,
    }
}

fn pass_by(parts: &Parts<'_>, guard: Guard, word: GateWord, turn: Turn, now: Nanos) {
    if let Some(count) = parts.session.status().guards.get(guard as usize) {
        count.fetch_add(1, Relaxed);
    }
    match (guard, turn) {
        // Left over outside of the queue: that the cap is too low is not known,
        // and those in the queue are not held up for it.
        (Guard::Stall, Turn::Behind) => {}
        (Guard::Trickle, _) => parts.wait_queue.trickled(now),
        (Guard::Stall, Turn::First) => {
            parts.wait_queue.trickled(now);
            parts.wait_queue.double(word);
            parts.wait_queue.forget_grants();
        }
        (Guard::Lease, _) => process::detach(),
    }
}

fn batch(control: &DeviceControl, word: GateWord) -> u64 {
    fence_batch(control.fence_batch.load(Relaxed), word.mode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blindness_postpones_a_stall_but_not_for_ever() {
        let at = |ms: u64| Nanos::from_millis(1_000 + ms);
        let mut watch = Watch::new(at(0));
        let mut look = |turn, ms, next| {
            let blind = watch.blind_until(turn, at(ms));
            watch.sleeps_until(turn, at(next));
            blind
        };
        assert_eq!(look(Turn::Behind, 30, 31), Nanos::ZERO);
        assert_eq!(look(Turn::First, 40, 41), at(40));
        assert_eq!(look(Turn::First, 41, 60), at(40), "looks on");
        assert_eq!(look(Turn::First, 61, 62), at(40), "it meant to sleep");
        assert_eq!(look(Turn::First, 70, 71), at(70), "was not run");
        assert_eq!(look(Turn::Behind, 71, 72), at(70));
        assert_eq!(look(Turn::First, 72, 73), at(72), "was behind");
        for ms in (90..500).step_by(20) {
            assert!(look(Turn::First, ms, ms + 1) <= at(0) + MOST_BLIND);
        }
    }
}
