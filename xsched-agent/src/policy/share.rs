//! Weighted shares among equals: stride scheduling over device time.
//!
//! One of a rank has its turn and the others of it wait, because a device
//! that serves several processes at once splits its time among them by
//! rules of its own. Each charge of device time moves the client's pass by
//! charge / weight, and the turn goes to the least pass (Waldspurger and
//! Weihl, "Stride Scheduling", 1995). A client that comes back from idling
//! may be behind by one turn at most: what it did not use is gone.
//!
//! Work-conserving: with nobody else at work the turn has no end, and when
//! its owner drains it passes on at once.

use xsched_common::gate::GateMode;
use xsched_common::page::Edges;
use xsched_common::units::Nanos;

use super::liveness::{Member, RANKS};
use super::memory::{RankMemory, Remembered};
use super::{Again, ClientId, Decision, DeviceMemory, DeviceSettings, Knobs, Reason};

/// Passes are in ns of device time at the largest weight.
const SCALE: u128 = xsched_common::units::Weight::MAX.get() as u128;

/// What `charge` moves the pass of a client by.
fn stride(charge: Nanos, member: &Member<'_>) -> u128 {
    u128::from(charge.0) * SCALE / u128::from(member.state.terms.weight.get())
}

pub(super) fn decide(
    settings: &DeviceSettings,
    knobs: &Knobs,
    memory: &mut DeviceMemory,
    now: Nanos,
    members: &[Member<'_>],
    decisions: &mut [Decision],
    again: &mut Again,
) {
    let mut present = [0u32; RANKS];
    let mut active = [0u32; RANKS];
    for member in members {
        if let Some(rank) = member.rank {
            present[rank] += 1;
            active[rank] += u32::from(member.active());
        }
    }
    for rank in 0..RANKS {
        // Alone in its rank a client has nobody to share with.
        if present[rank] < 2 {
            memory.ranks[rank].holder = None;
            continue;
        }
        let of_rank = move |member: &Member<'_>| member.rank == Some(rank);
        let state = &mut memory.ranks[rank];
        advance(settings, state, &mut memory.clients, members, of_rank);
        let holder = choose(settings, state, &memory.clients, members, of_rank);
        let contended = active[rank] > 1;
        let mut turns = false;
        for (member, decision) in members.iter().zip(&mut *decisions) {
            if !of_rank(member) {
                continue;
            }
            // Everybody's next change of activity may move the turn.
            decision.edges = decision.edges.with(match member.active() || member.stuck {
                true => Edges::IDLE,
                false => Edges::ACTIVE,
            });
            if decision.mode == GateMode::Closed {
                continue;
            }
            turns = true;
            (decision.mode, decision.reason) = match holder {
                Some(id) if id != member.state.id => (GateMode::Closed, Reason::WaitsFor(id)),
                _ => (
                    GateMode::Capped(knobs.cap_of(member.state.kernel_time)),
                    Reason::Turn,
                ),
            };
        }
        if turns && contended {
            again.at(now + settings.slice.since(memory.ranks[rank].used));
        }
    }
}

/// Moves passes by what was charged, and lets in who came back.
fn advance(
    settings: &DeviceSettings,
    rank: &mut RankMemory,
    clients: &mut [Remembered],
    members: &[Member<'_>],
    of_rank: impl Fn(&Member<'_>) -> bool,
) {
    let mut least: Option<u128> = None;
    for (client, member) in clients.iter_mut().zip(members) {
        if !of_rank(member) {
            continue;
        }
        client.pass += stride(client.charged_last, member);
        if rank.holder == Some(client.id) {
            rank.used = rank.used + client.charged_last;
        }
        if member.active() {
            let behind = stride(settings.slice, member);
            client.pass = client.pass.max(rank.vtime.saturating_sub(behind));
            least = Some(least.map_or(client.pass, |least| least.min(client.pass)));
        }
    }
    rank.vtime = rank.vtime.max(least.unwrap_or(0));
}

/// Whose turn it is from now on.
fn choose(
    settings: &DeviceSettings,
    rank: &mut RankMemory,
    clients: &[Remembered],
    members: &[Member<'_>],
    of_rank: impl Fn(&Member<'_>) -> bool,
) -> Option<ClientId> {
    let mut least: Option<(u128, &Member<'_>)> = None;
    let mut holder: Option<(u128, &Member<'_>)> = None;
    for (client, member) in clients.iter().zip(members) {
        if !of_rank(member) || !member.active() {
            continue;
        }
        if least.is_none_or(|(pass, _)| client.pass < pass) {
            least = Some((client.pass, member));
        }
        if rank.holder == Some(client.id) {
            holder = Some((client.pass, member));
        }
    }
    let next = match (holder, least) {
        // A turn lasts for its slice, unless somebody is behind by more than
        // a turn of its own: it came back and is owed that.
        (Some((pass, holder)), Some((behind, other)))
            if rank.used < settings.slice
                && pass.saturating_sub(behind) <= stride(settings.slice, other) =>
        {
            Some(holder.state.id)
        }
        (_, least) => least.map(|(_, member)| member.state.id),
    };
    if next != rank.holder || rank.used >= settings.slice {
        rank.used = Nanos::ZERO;
    }
    rank.holder = next;
    next
}
