//! Who used the device since the last decision.
//!
//! The agent's own clock says how long a client had work and an open gate:
//! that is what it is charged for, because it kept others out for as long,
//! and no statement of its own can shorten it. What a closed gate left in
//! flight runs on for a while beside the next one's work; of that the
//! client's page tells, and the two are charged half of the time each, as
//! the device serves them. A client that keeps silent about it saves at most
//! half of its cap (K T) per turn, and one that says for longer than it can be that
//! it drains is not believed. One that says that it drains takes half of
//! the time from whoever has the device: where that is somebody of another rank,
//! who would not pay for it, the spared half counts for his turns all the same.

use xsched_common::gate::{GateMode, Limits, ThreadKind, trickle_interval};
use xsched_common::units::Nanos;

use super::DeviceMemory;
use super::liveness::{Member, RANKS};
use super::memory::Remembered;

/// Longest time that is charged at once: after that somebody stopped the
/// agent or the machine.
const LONGEST: Nanos = Nanos::from_secs(1);

/// Device time of the kernels that guards let through a closed gate meanwhile,
/// for the main thread, whose turn comes most often.
fn trickled(kernel_time: Nanos, meanwhile: Nanos) -> Nanos {
    let every = trickle_interval(&Limits::DEFAULT, kernel_time, ThreadKind::Main);
    let time = u128::from(meanwhile.0) * u128::from(kernel_time.0) / u128::from(every.0);
    Nanos(u64::try_from(time).unwrap_or(u64::MAX)).min(meanwhile)
}

/// Charges the time since the last decision, by what gates and clients were
/// then. The sum of all charges is the time in which anybody had work.
pub(super) fn charge(memory: &mut DeviceMemory, now: Nanos, members: &[Member<'_>]) {
    let since = std::mem::replace(&mut memory.charged_to, now);
    let dt = match since {
        Nanos::ZERO => Nanos::ZERO,
        since => now.since(since).min(LONGEST),
    };
    memory.charged_for = dt;
    let (mut open, mut draining) = (0, 0);
    // Suspended clients are a rank of their own.
    let rank_of = |member: &Member<'_>| member.rank.unwrap_or(RANKS);
    let mut draining_in = [0; RANKS + 1];
    for (client, member) in memory.clients.iter_mut().zip(members) {
        // Backwards is no time at all.
        let said = member.state.busy.since(client.busy).min(LONGEST);
        client.busy = member.state.busy;
        client.charged_last = Nanos::ZERO;
        let ns = |time: Nanos| i64::try_from(time.0).unwrap_or(i64::MAX);
        client.ahead = client.ahead.saturating_sub(ns(said));
        if client.mode == GateMode::Closed {
            let drained = if member.state.in_flight > 0 && now < client.drains_until {
                // Its kernels still run; what they took is told at their end.
                client.ahead = client.ahead.saturating_add(ns(dt));
                dt
            } else {
                // What it says of work that is over is believed once: of what guards
                // let through a closed gate it is the wait that looks busy.
                let most = match client.drains_until.since(since).min(dt) {
                    left if left > Nanos::ZERO => left,
                    _ => trickled(member.kernel_time.unwrap_or_default(), dt),
                };
                client.drains_until = client.drains_until.min(now);
                let beyond = Nanos(client.ahead.min(0).unsigned_abs()).min(most);
                client.ahead = client.ahead.max(0);
                beyond
            };
            client.charged_last = Nanos(drained.0 / 2);
            draining += client.charged_last.0;
            draining_in[rank_of(member)] += client.charged_last.0;
        } else {
            if client.active {
                open += 1;
                client.ahead += ns(dt);
            }
            client.ahead = client.ahead.clamp(0, ns(LONGEST));
        }
    }
    // Who has left had the device until now.
    let had_it = |left: &Remembered| left.active && left.mode != GateMode::Closed;
    open += memory.left.iter().filter(|left| had_it(left)).count() as u64;
    // Without anybody beside it, a drain has the device to itself; and all
    // of them together cannot have used more than there was.
    let (factor, most) = match open {
        0 => (2, dt.0),
        _ => (1, dt.0 / 2),
    };
    let claimed = draining * factor;
    let granted = claimed.min(most);
    let part_of_granted = |time: u64| {
        let part = u128::from(time) * u128::from(factor * granted);
        (part / u128::from(claimed.max(1))) as u64
    };
    for (client, member) in memory.clients.iter_mut().zip(members) {
        client.spared = Nanos::ZERO;
        if client.mode == GateMode::Closed {
            client.charged_last = Nanos(part_of_granted(client.charged_last.0));
        } else if client.active {
            client.charged_last = Nanos((dt.0 - granted) / open);
            let own = part_of_granted(draining_in[rank_of(member)]);
            client.spared = Nanos(granted.saturating_sub(own) / open);
        }
        client.charged = client.charged + client.charged_last;
    }
    for left in &mut memory.left {
        left.charged_last = match had_it(left) {
            true => Nanos((dt.0 - granted) / open),
            false => Nanos::ZERO,
        };
    }
    for (client, member) in memory.clients.iter_mut().zip(members) {
        client.active = member.active();
    }
}
