//! The minimum share: what a class gets although a higher one wants all of
//! the device.
//!
//! While a class with work is held back it gains a claim at the rate of its
//! minimum share; whatever device time it gets (in the gaps of the higher
//! class, by the shim's trickle) pays the claim off, and up to a second's
//! worth in advance. A claim as long as one of its kernels opens its gates
//! for one command at a time until it is used. So a class that finds gaps
//! never interrupts a higher one, and a starved one does it by the smallest
//! pieces there are.

use xsched_common::gate::GateMode;
use xsched_common::units::Nanos;

use super::liveness::{Member, RANKS};
use super::{Again, Decision, DeviceMemory, DeviceSettings, Reason};

/// The smallest piece: below that, opening a gate costs more than it gives.
const PIECE: Nanos = Nanos::from_micros(200);

/// A grant ends after this many pieces of time, used or not.
const PIECES_UNTIL_LEFT: u64 = 4;

/// How far ahead, and how far behind, a claim is remembered.
const HORIZON: Nanos = Nanos::from_secs(1);

pub(super) fn decide(
    settings: &DeviceSettings,
    memory: &mut DeviceMemory,
    now: Nanos,
    members: &[Member<'_>],
    decisions: &mut [Decision],
    again: &mut Again,
) {
    let share = i64::from(settings.min_share_permille.min(500));
    let Some(of_horizon) = part(HORIZON, share).filter(|part| *part > 0) else {
        return;
    };
    let mut charged = [0i64; RANKS];
    let mut piece = [Nanos::ZERO; RANKS];
    let mut held = [false; RANKS];
    for ((client, member), decision) in memory.clients.iter().zip(members).zip(&*decisions) {
        let Some(rank) = member.rank else { continue };
        charged[rank] += i64::try_from(client.charged_last.0).unwrap_or(i64::MAX);
        if member.active() && matches!(decision.reason, Reason::HeldBy(_)) {
            held[rank] = true;
            piece[rank] = piece[rank].max(member.kernel_time.unwrap_or(PIECE));
        }
    }
    let dt = memory.charged_for;
    for rank in 0..RANKS {
        let state = &mut memory.ranks[rank];
        state.owed = state.owed.saturating_sub(charged[rank]).max(-of_horizon);
        if !held[rank] {
            state.granted = None;
            continue;
        }
        let piece = piece[rank].clamp(PIECE, HORIZON);
        let most = i64::try_from(piece.0).unwrap_or(i64::MAX).max(of_horizon);
        state.owed = (state.owed + part(dt, share).unwrap_or(0)).min(most);
        let due = i64::try_from(piece.0).unwrap_or(i64::MAX);
        match state.granted {
            None if state.owed >= due => state.granted = Some(now),
            Some(since)
                if state.owed <= 0 || now.since(since) >= piece.times(PIECES_UNTIL_LEFT) =>
            {
                state.granted = None;
            }
            _ => {}
        }
        if state.granted.is_some() {
            again.at(now + Nanos(state.owed.unsigned_abs().max(PIECE.0 / 2)));
        } else {
            let missing = (due - state.owed).unsigned_abs();
            again.at(now + Nanos(missing.saturating_mul(1000) / share.unsigned_abs()));
        }
    }
    for (member, decision) in members.iter().zip(decisions) {
        let granted = member
            .rank
            .is_some_and(|rank| memory.ranks[rank].granted.is_some());
        if granted && matches!(decision.reason, Reason::HeldBy(_)) {
            decision.mode = GateMode::Capped(1);
            decision.reason = Reason::MinShare;
        }
    }
}

/// `permille` thousandths of a time, ns.
fn part(time: Nanos, permille: i64) -> Option<i64> {
    Some(i64::try_from(time.0).ok()?.checked_mul(permille)? / 1000)
}
