//! Strict class priority, work-conserving: a class gets the time that no
//! higher class wants.
//!
//! Two numbers make it work on a device that cannot preempt. The **cap**
//! bounds how much of a lower class is in flight when a higher one arrives,
//! so it waits for about one budget of time, not for a ring of 10,000
//! launches. The **linger** keeps lower classes out for a moment after the
//! higher one drained, because a program that synchronises 50 times per
//! request would otherwise find a kernel of the others on the device after
//! each of the 50.

use xsched_common::gate::GateMode;
use xsched_common::page::Edges;
use xsched_common::units::Nanos;

use super::liveness::{Member, RANKS};
use super::silence::Assumption;
use super::{Again, ClientId, ClientState, Decision, Knobs, Presence, Reason};

/// Time from an opened gate to the first kernel's start: futex wake and
/// launch. Part of what a burst of the higher class loses when the gate
/// opens too early.
const DISPATCH: Nanos = Nanos::from_micros(50);

/// After this many bursts it is known how they follow each other.
const BURSTS_THAT_TELL: u64 = 32;

/// How long `holder` keeps lower classes out after it drained: as long as
/// its own gaps within a request are (P95), and at least as long as it would
/// take to get the device back (K T + dispatch), within the limits. A client
/// whose bursts are whole requests, few of them followed by another soon,
/// has little to gain from the latter; one that has gaps and does not count
/// them (an older shim) is not taken for such. `reclaim` is the largest K T of
/// the classes below.
pub fn linger_for(knobs: &Knobs, holder: &ClientState, reclaim: Nanos) -> Nanos {
    let gap = holder.gap.unwrap_or(Nanos::ZERO);
    let counts = holder.short_gaps > 0 || holder.gap.is_none();
    let whole =
        counts && holder.bursts >= BURSTS_THAT_TELL && holder.short_gaps < holder.bursts / 4;
    let linger = match whole {
        true => gap,
        false => gap.max(reclaim + DISPATCH),
    };
    linger.clamp(knobs.linger_min, knobs.linger_max)
}

/// What matters of one rank on a device. Gathered once per decision, which
/// so takes time in proportion to the clients: the control thread's heart
/// must beat whatever their number.
#[derive(Clone, Copy, Default)]
struct Rank {
    present: bool,
    /// Largest K T.
    in_flight: Nanos,
    /// Who keeps lower ranks out the longest, and until when.
    holder: Option<(Nanos, ClientId)>,
    /// One that would, if it were believed.
    stuck: Option<ClientId>,
    /// One that would, if it were not assumed to be idle.
    assumed_idle: Option<ClientId>,
}

/// Lowest first.
type Ranks = [Rank; RANKS];

/// One decision.
struct Strict<'a> {
    knobs: &'a Knobs,
    now: Nanos,
    ranks: Ranks,
}

impl<'a> Strict<'a> {
    fn new(knobs: &'a Knobs, now: Nanos, members: &[Member<'_>]) -> Strict<'a> {
        let mut strict = Strict {
            knobs,
            now,
            ranks: Ranks::default(),
        };
        for member in members {
            let Some(rank) = member.rank.and_then(|rank| strict.ranks.get_mut(rank)) else {
                continue;
            };
            rank.present = true;
            let held = knobs.in_flight_of(member.kernel_time);
            rank.in_flight = rank.in_flight.max(held);
        }
        for member in members {
            let Some(at) = member.rank else { continue };
            let until = strict.holds_until(member, at);
            let rank = &mut strict.ranks[at];
            if let Some(until) = until
                && rank.holder.is_none_or(|(longest, _)| until > longest)
            {
                rank.holder = Some((until, member.state.id));
            }
            if member.stuck {
                rank.stuck = Some(member.state.id);
            }
            if matches!(member.assumption, Assumption::Idle(_)) {
                rank.assumed_idle = Some(member.state.id);
            }
        }
        strict
    }

    /// Until when a member keeps lower ranks out; `None` if it does not.
    fn holds_until(&self, member: &Member<'_>, rank: usize) -> Option<Nanos> {
        match member.presence {
            Presence::Active => Some(Nanos::MAX),
            Presence::Idle { since } => {
                let below = self.ranks[..rank].iter();
                let reclaim = below.map(|rank| rank.in_flight).max();
                let reclaim = reclaim.unwrap_or(Nanos::ZERO);
                let end = since + linger_for(self.knobs, member.state, reclaim);
                (end > self.now).then_some(end)
            }
            Presence::Never => None,
        }
    }

    /// A client without anybody below it never rings. During the linger it
    /// does not ring either: the timer that ends the linger looks at its
    /// page, so 50 short gaps cost no system call.
    fn edges(&self, member: &Member<'_>, rank: usize) -> Edges {
        if !self.ranks[..rank].iter().any(|rank| rank.present) {
            return Edges::NONE;
        }
        match member.presence {
            Presence::Active => Edges::IDLE,
            // What it launches meanwhile must be timed all the same.
            Presence::Idle { .. } if self.holds_until(member, rank).is_some() => {
                match member.assumption {
                    Assumption::Idle(_) => Edges::WATCH,
                    _ => Edges::NONE,
                }
            }
            // One that is not believed is active as far as its page goes:
            // the next news of it is that it is idle, or, if it is timed, that it
            // launches.
            Presence::Never if member.stuck => Edges::IDLE.with(Edges::ACTIVE),
            Presence::Idle { .. } | Presence::Never => Edges::ACTIVE,
        }
    }

    fn gate(&self, member: &Member<'_>, rank: usize, again: &mut Again) -> (GateMode, Reason) {
        let above = &self.ranks[rank + 1..];
        let holder = above
            .iter()
            .filter_map(|rank| rank.holder)
            .max_by_key(|holder| holder.0);
        if let Some((until, id)) = holder {
            if until != Nanos::MAX {
                again.at(until);
            }
            return (GateMode::Closed, Reason::HeldBy(id));
        }
        if !above.iter().any(|rank| rank.present) {
            return (GateMode::Open, Reason::Unrivalled);
        }
        let stuck = above.iter().find_map(|rank| rank.stuck);
        let assumed = above.iter().find_map(|rank| rank.assumed_idle);
        let reason = stuck
            .map(Reason::RivalStuck)
            .or(assumed.map(Reason::RivalAssumedIdle));
        (
            GateMode::Capped(self.knobs.cap_of(member.kernel_time)),
            reason.unwrap_or(Reason::RivalIdle),
        )
    }
}

pub(super) fn decide(
    knobs: &Knobs,
    now: Nanos,
    members: &[Member<'_>],
    out: &mut Vec<Decision>,
    again: &mut Again,
) {
    let strict = Strict::new(knobs, now, members);
    out.extend(members.iter().map(|member| {
        let ((mode, reason), edges) = match member.rank {
            None => ((GateMode::Closed, Reason::Suspended), Edges::NONE),
            Some(rank) => (strict.gate(member, rank, again), strict.edges(member, rank)),
        };
        Decision {
            id: member.state.id,
            mode,
            edges,
            reason,
        }
    }));
}
