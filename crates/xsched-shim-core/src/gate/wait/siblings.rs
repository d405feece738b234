//! Other groups of the waiter's process, for which it looks as well.
//!
//! A thread of a higher group may wait for this one outside of the runtime: for
//! a lock that it holds, for what it would compute next. Then nobody but the
//! threads at the gate can notice that the higher group's work is complete, that
//! it stands still, or that it asks for what this one has launched.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use xsched_common::gate::{
    Decision, Evidence, GateMode, GateWord, Guard, Limits, Sibling, Waiter, sibling_stalls_at,
};
use xsched_common::page::MAX_GROUPS;
use xsched_common::units::Nanos;

use super::{Fencing, Parts};
use crate::groups;
use crate::inflight::StreamSlot;
use crate::process::{self, Process};

/// How often the first in line looks at the work of other groups. What they wait
/// for in the runtime they learn of themselves.
const LOOK: Nanos = Nanos::from_millis(2);

/// What other groups mean for a wait.
pub enum Judged {
    /// It ends.
    Ends(Decision),
    /// It goes on, and looks again then.
    Until(Nanos),
}

impl Judged {
    /// With a wait until that time.
    pub fn earlier_than(self, until: Nanos) -> Decision {
        match self {
            Judged::Ends(decision) => decision,
            Judged::Until(sooner) => Decision::Wait {
                until: until.min(sooner),
            },
        }
    }
}

/// The first in line would wait: whether another group of its process is a
/// reason not to, or to look again soon. `None` where no other is at work.
pub fn judge(
    parts: &Parts<'_>,
    fencing: &impl Fencing,
    waiter: &Waiter,
    word: GateWord,
    now: Nanos,
) -> Option<Judged> {
    let device = parts.command.device;
    let mut until = None;
    if waiter_may_go(parts, now) {
        return Some(Judged::Ends(Decision::Go));
    }
    for sibling in groups::siblings(parts.process, parts.session) {
        let group = sibling.group;
        let Some(work) = parts.process.work(group, device) else {
            continue;
        };
        if parts.process.streams.in_flight_of(group, device) == 0 {
            continue;
        }
        // Its own calls tell what is complete, most of the time.
        if now.since(work.last_completion()) > LOOK && until.is_none() {
            fencing.fence_all(device, parts.command.stream);
            super::reap(parts, fencing);
        }
        let streams = parts.process.streams.of_group(group, device);
        let stalls_at = sibling_stalls_at(
            &Limits::DEFAULT,
            &Sibling {
                fenced: streams.map(StreamSlot::fenced_in_flight).sum(),
                last_completion: work.last_completion(),
                kernel_time: work.kernel_time(),
            },
            waiter,
            parts.wait_queue.last_trickle(),
            parts.wait_queue.doublings(word),
        );
        if stalls_at.is_some_and(|at| now >= at) {
            return Some(Judged::Ends(Decision::Pass(Guard::Stall)));
        }
        let next = (now + LOOK).min(stalls_at.unwrap_or(Nanos::MAX));
        until = Some(next.min(until.unwrap_or(Nanos::MAX)));
    }
    until.map(Judged::Until)
}

/// Whether a thread of a higher group waits for this one's work and would itself
/// be let through: what it waits for is as good as its own.
fn waiter_may_go(parts: &Parts<'_>, now: Nanos) -> bool {
    let device = parts.command.device;
    let own = parts.session.group;
    let Some(by) = parts.process.groups.awaited_by(own, now) else {
        return false;
    };
    let Some(base) = process::session() else {
        return true;
    };
    let session = groups::session_of(parts.process, base, by);
    let control = session.control().devices.get(usize::from(device.0));
    let mode = control.map(|control| GateWord(control.word.load(Acquire)).mode());
    match mode {
        None | Some(GateMode::Open | GateMode::Watched) => true,
        Some(GateMode::Capped(cap)) => {
            parts.process.streams.in_flight_of(own, device) < u64::from(cap)
        }
        Some(GateMode::Closed) => false,
    }
}

/// Fences have told of work of other groups.
pub fn completed(parts: &Parts<'_>, by_group: [u64; MAX_GROUPS], now: Nanos) {
    let device = parts.command.device;
    for sibling in groups::siblings(parts.process, parts.session) {
        let news = by_group.get(sibling.group.index()).copied().unwrap_or(0);
        let (Some(work), Some(status)) = (
            parts.process.work(sibling.group, device),
            sibling.status().devices.get(usize::from(device.0)),
        ) else {
            continue;
        };
        if news != 0 {
            work.completed(status, news, now, Evidence::Fence);
        }
        let is_over = news != 0 || status.in_flight.load(Relaxed) != 0;
        if is_over && parts.process.streams.in_flight_of(sibling.group, device) == 0 {
            crate::gate::publish(parts.process, sibling, device);
            let Process { streams, owner, .. } = parts.process;
            work.settle(streams, owner, sibling, device, now);
        }
    }
}
