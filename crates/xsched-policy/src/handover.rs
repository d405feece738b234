//! The end of a turn where the driver takes turns, too.
//!
//! What the last one left in flight would run by turns of the driver's with
//! what the next one launches, and each such turn costs a change of contexts:
//! 0.27 ms on an H200. So the next one's gate opens when the last one has
//! drained. A page that does not say so, because nobody in that process looks
//! or because it lies, holds the others up for a few times what it had in
//! flight, and that time is charged to it ([`super::usage`]).

use xsched_common::units::Nanos;

use super::ClientId;
use super::liveness::Member;
use super::memory::RankMemory;

/// The time between two looks: a drain is seen so much late, and a look is a
/// decision.
const LOOKS: (Nanos, Nanos) = (Nanos::from_micros(100), Nanos::from_millis(1));
/// How much longer than by T a drain may take. T leans to the short kernels.
const MOST_DRAIN: u64 = 4;
/// And however short it should be.
const LEAST_DRAIN: Nanos = Nanos::from_micros(500);

/// Somebody whose turn is over and who still has work on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drain {
    of: ClientId,
    /// The next one waits until then at most.
    until: Nanos,
}

/// Whom a turn waits for, `most` long at most, and when to look again; `last` had
/// the one before it until now, with a gate that was not closed.
pub(super) fn waits_for(
    most: Nanos,
    rank: &mut RankMemory,
    last: Option<ClientId>,
    now: Nanos,
    members: &[Member<'_>],
) -> Option<(ClientId, Nanos)> {
    let member_of = |id: ClientId| {
        let at = members.binary_search_by_key(&id, |member| member.state.id);
        at.ok().and_then(|at| members.get(at))
    };
    if most > Nanos::ZERO {
        let last = last.and_then(member_of);
        let begun = last
            .filter(|last| last.state.in_flight > 0)
            .map(|last| Drain {
                of: last.state.id,
                until: now + longest_drain(last).min(most),
            });
        rank.drain = begun.or(rank.drain);
    }
    let waits = rank.drain.and_then(|Drain { of, until }| {
        let last = member_of(of).filter(|_| rank.holder != Some(of) && now < until)?;
        let look = now + left(last)?.clamp(LOOKS.0, LOOKS.1);
        Some((of, look.min(until)))
    });
    if waits.is_none() {
        rank.drain = None;
    }
    waits
}

/// How long what it has in flight may take at most; zero if that is nothing.
pub(super) fn longest_drain(member: &Member<'_>) -> Nanos {
    left(member).map_or(Nanos::ZERO, |left| left.times(MOST_DRAIN).max(LEAST_DRAIN))
}

/// Device time that it has in flight, if it has any.
fn left(member: &Member<'_>) -> Option<Nanos> {
    let in_flight = Some(u64::from(member.state.in_flight)).filter(|&n| n > 0)?;
    Some(member.kernel_time.unwrap_or_default().times(in_flight))
}
