//! Weighted shares among equals: stride scheduling over device time.
//!
//! One of a rank has its turn and the others of it wait, because a device
//! that serves several processes at once splits its time among them by
//! rules of its own. Each charge of device time moves the client's pass by
//! charge / weight, and the turn goes to the least pass (Waldspurger and
//! Weihl, "Stride Scheduling", 1995). A client that comes back from idling
//! may be behind by one turn at most: what it did not use is gone. If it paused
//! for less than a turn, by what a turn of the lightest takes to make up for: a
//! batch that waits for its kernels every now and then would else lose that each
//! time.
//!
//! Shares belong to owners, not to processes: who starts ten has no more
//! time than who starts one. An owner has the weight of its heaviest client
//! at work, the turn goes to the owner of the least pass, and among its
//! clients to that of the least pass.
//!
//! Work-conserving: with nobody else at work the turn has no end, and when
//! its owner drains it passes on at once.

use xsched_common::api::SharingMode;
use xsched_common::gate::GateMode;
use xsched_common::page::Edges;
use xsched_common::units::{Nanos, Weight};

use super::liveness::{Member, RANKS};
use super::memory::{RankMemory, Remembered};
use super::{
    Again, Cap, ClientId, Concurrency, Decision, DeviceMemory, DeviceSettings, Knobs, Owner,
    Presence, Reason, handover,
};

/// Which ranks share by turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// All.
    All,
    /// Those whose gates are not open, because a higher one is there.
    Capped,
}

/// How they do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    /// Who.
    pub among: Among,
    /// Device time of one turn.
    pub slice: Nanos,
    /// Of who is below somebody, or has the turn only while whoever is due has no
    /// work for a moment.
    pub below: Knobs,
    /// Of who is neither: only the next one's turn waits for what it has in flight.
    pub unrivalled: Knobs,
    /// The longest that a turn waits until the last one's owner has drained;
    /// zero where it does not wait.
    pub drain: Nanos,
}

impl Turns {
    /// Of a device that is shared so.
    pub fn of(settings: &DeviceSettings, concurrency: Concurrency, knobs: Knobs) -> Option<Turns> {
        let among = match (settings.mode, concurrency) {
            (SharingMode::Share | SharingMode::Slo, _) => Among::All,
            (_, Concurrency::InTurns) => Among::Capped,
            (_, Concurrency::Together) => return None,
        };
        let slice = settings.slice_of(concurrency);
        let cap = match (settings.mode, concurrency, knobs.cap) {
            // A tenth of a turn, for which the next one waits; T leans to short
            // kernels, so it takes two or three times as long. Two batches on
            // an H200 together made 85 to 90% of one with 0.3 ms in flight,
            // whatever the turn, 93 to 96% with 2 ms, and no more with 5.
            (SharingMode::Share, Concurrency::InTurns, Cap::Time(budget)) => {
                Cap::Time(budget.max(Nanos(slice.0 / 10)))
            }
            (.., cap) => cap,
        };
        Some(Turns {
            among,
            slice,
            below: knobs,
            unrivalled: Knobs { cap, ..knobs },
            drain: match concurrency {
                Concurrency::InTurns => Nanos(slice.0 / 2),
                Concurrency::Together => Nanos::ZERO,
            },
        })
    }
}

/// Passes are in ns of device time at the largest weight.
const SCALE: u128 = Weight::MAX.get() as u128;

/// What `charge` moves a pass by.
fn stride(charge: Nanos, weight: Weight) -> u128 {
    u128::from(charge.0) * SCALE / u128::from(weight.get())
}

/// One owner in one rank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    owner: Owner,
    /// The owner's among owners.
    pass: u128,
    /// How far its own clients have come.
    vtime: u128,
    /// How many they are, and the weight of the heaviest at work.
    clients: u32,
    weight: Weight,
    /// And of the lightest; `None`: none is at work.
    lightest: Option<Weight>,
    /// The least pass of its clients with work, and whose.
    least: Option<(u128, ClientId)>,
    /// Whether one of them had work at the last decision.
    had_work: bool,
    /// How far it may be behind if it had none.
    may_be_behind: u128,
}

/// The owners of a rank in ascending order: those with clients in it, and those
/// who left while they were less than a turn behind. A newcomer is owed a turn,
/// so one that leaves after its turn must not come back as a newcomer.
pub(super) type Groups = Vec<Group>;

/// The end of a turn is looked for this much later at the soonest. While another
/// client drains, the turn is charged half of the time, so each look would come
/// after half of the time before.
const LEAST_TIME_LEFT: Nanos = Nanos::from_micros(20);

/// How many turns of its own whoever pauses may be behind at most: others wait for
/// so long at once.
const MOST_TURNS: u64 = 16;

/// Most owners in debt that are remembered.
const DEBTORS: usize = 64;

/// A client's place among the clients, and its member's among the members.
fn place(clients: &[Remembered], id: ClientId) -> Option<usize> {
    clients.binary_search_by_key(&id, |client| client.id).ok()
}

fn at(groups: &Groups, owner: Owner) -> Option<usize> {
    groups
        .binary_search_by_key(&owner, |group| group.owner)
        .ok()
}

pub(super) fn decide(
    turns: &Turns,
    memory: &mut DeviceMemory,
    now: Nanos,
    members: &[Member<'_>],
    decisions: &mut [Decision],
    again: &mut Again,
) {
    let slice = turns.slice;
    let mut present = [0u32; RANKS];
    let mut active = [0u32; RANKS];
    let mut open = [false; RANKS];
    for (member, decision) in members.iter().zip(&*decisions) {
        if let Some(rank) = member.rank {
            present[rank] += 1;
            active[rank] += u32::from(member.active());
            open[rank] |= decision.mode == GateMode::Open;
        }
    }
    for rank in 0..RANKS {
        let of_rank = move |member: &Member<'_>| member.rank == Some(rank);
        let state = &mut memory.ranks[rank];
        gather(rank, &mut state.groups, &mut memory.clients, members);
        advance(
            slice,
            now,
            rank,
            state,
            &mut memory.clients,
            &memory.left,
            members,
        );
        // Alone in its rank a client has nobody to share with.
        if present[rank] < 2 || (turns.among == Among::Capped && open[rank]) {
            (state.holder, state.drain) = (None, None);
            continue;
        }
        let last = state.holder;
        let had_it = last.filter(|id| {
            let at = place(&memory.clients, *id);
            at.is_some_and(|at| memory.clients[at].mode != GateMode::Closed)
        });
        let holder = choose(slice, state, &memory.clients, members);
        let drain = handover::waits_for(
            turns.drain,
            state,
            had_it.filter(|_| holder != last),
            now,
            members,
        );
        let contended = active[rank] > 1;
        let fills_in = || fills_in(slice, state, now, &memory.clients, members);
        let knobs = match open[rank] && !fills_in() {
            true => &turns.unrivalled,
            false => &turns.below,
        };
        let mut given = false;
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
            given = true;
            let waits_for = match (drain, holder) {
                (Some((last, _)), Some(id)) if id == member.state.id => Some(last),
                (_, holder) => holder.filter(|id| *id != member.state.id),
            };
            (decision.mode, decision.reason) = match waits_for {
                Some(id) => (GateMode::Closed, Reason::WaitsFor(id)),
                None => (
                    GateMode::Capped(knobs.cap_of(member.kernel_time)),
                    Reason::Turn,
                ),
            };
        }
        match drain {
            Some((_, look)) if given => again.at(look),
            None if given && contended => {
                again.at(now + slice.since(memory.ranks[rank].used).max(LEAST_TIME_LEFT));
            }
            _ => {}
        }
    }
}

/// Who is in the rank, by owner.
fn gather(rank: usize, groups: &mut Groups, clients: &mut [Remembered], members: &[Member<'_>]) {
    for group in groups.iter_mut() {
        group.had_work = group.least.take().is_some();
        (group.clients, group.lightest, group.may_be_behind) = (0, None, 0);
    }
    for (client, member) in clients.iter_mut().zip(members) {
        if member.rank.is_none() {
            // Others went on while it was suspended.
            client.line = None;
        }
        if member.rank != Some(rank) {
            continue;
        }
        let owner = member.state.owner;
        if client.line.replace((rank, owner)) != Some((rank, owner)) {
            (client.pass, client.idle_since) = (0, Some(Nanos::ZERO));
        }
        let index = match groups.binary_search_by_key(&owner, |group| group.owner) {
            Ok(index) => index,
            Err(index) => {
                let group = Group {
                    owner,
                    pass: 0,
                    vtime: 0,
                    clients: 0,
                    weight: Weight::MIN,
                    lightest: None,
                    least: None,
                    had_work: false,
                    may_be_behind: 0,
                };
                groups.insert(index, group);
                index
            }
        };
        let group = &mut groups[index];
        if group.clients == 0 {
            group.weight = Weight::MIN;
        }
        group.clients += 1;
        let weight = member.state.attr.weight;
        if member.active() || client.charged_last > Nanos::ZERO {
            group.weight = group.weight.max(weight);
        }
        if member.active() {
            group.lightest = Some(group.lightest.map_or(weight, |least| least.min(weight)));
        }
    }
}

/// Moves passes by what was charged, and lets in who came back.
fn advance(
    slice: Nanos,
    now: Nanos,
    index: usize,
    rank: &mut RankMemory,
    clients: &mut [Remembered],
    left: &[Remembered],
    members: &[Member<'_>],
) {
    let of_rank = |member: &Member<'_>| member.rank == Some(index);
    let groups = &mut rank.groups;
    // What nobody gave by turns is held against nobody.
    let by_turns = rank.holder.is_some();
    for client in left.iter().filter(|_| by_turns) {
        let owner = client
            .line
            .filter(|(of, _)| *of == index)
            .map(|(_, owner)| owner);
        if let Some(group) = owner.and_then(|owner| at(groups, owner)) {
            let group = &mut groups[group];
            group.pass += stride(client.charged_last, group.weight);
        }
    }
    // By owners, who are heavier than the lightest of theirs.
    let at_work = groups.iter().filter(|group| group.lightest.is_some());
    let lightest_owner = at_work.map(|group| group.weight).min();
    for (client, member) in clients.iter_mut().zip(members) {
        let Some(index) = at(groups, member.state.owner).filter(|_| of_rank(member)) else {
            continue;
        };
        let (group, weight) = (&mut groups[index], member.state.attr.weight);
        let charge = match by_turns {
            true => client.charged_last + client.spared,
            false => Nanos::ZERO,
        };
        client.pass += stride(charge, weight);
        group.pass += stride(charge, group.weight);
        if rank.holder == Some(client.id) {
            rank.used = rank.used + client.charged_last;
        }
        match member.presence {
            Presence::Active => {}
            Presence::Idle { since } => client.idle_since = Some(since),
            Presence::Never => {
                client.idle_since.get_or_insert(now);
            }
        }
        if member.active() {
            if let Some(since) = client.idle_since.take() {
                let most = |lightest: Option<Weight>, weight| match now.since(since) < slice {
                    true => stride(slice, lightest.unwrap_or(weight))
                        .min(stride(slice.times(MOST_TURNS), weight)),
                    false => stride(slice, weight),
                };
                let least = group.vtime.saturating_sub(most(group.lightest, weight));
                client.pass = client.pass.max(least);
                let behind = most(lightest_owner, group.weight);
                group.may_be_behind = group.may_be_behind.max(behind);
            }
            if group.least.is_none_or(|(pass, _)| client.pass < pass) {
                group.least = Some((client.pass, client.id));
            }
        }
    }
    let mut least: Option<u128> = None;
    for group in groups.iter_mut() {
        if let Some((pass, _)) = group.least {
            group.vtime = group.vtime.max(pass);
            if !group.had_work {
                let behind = group.may_be_behind;
                group.pass = group.pass.max(rank.vtime.saturating_sub(behind));
            }
            least = Some(least.map_or(group.pass, |least| least.min(group.pass)));
        }
    }
    rank.vtime = rank.vtime.max(least.unwrap_or(0));
    let vtime = rank.vtime;
    groups.retain(|group| {
        let behind = stride(slice, group.weight);
        group.clients > 0 || group.pass.saturating_add(behind) > vtime
    });
    while groups.iter().filter(|group| group.clients == 0).count() > DEBTORS {
        let debts = groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.clients == 0);
        if let Some((least, _)) = debts.min_by_key(|(_, group)| group.pass) {
            groups.remove(least);
        }
    }
}

/// Whose turn it is from now on.
fn choose(
    slice: Nanos,
    rank: &mut RankMemory,
    clients: &[Remembered],
    members: &[Member<'_>],
) -> Option<ClientId> {
    let groups = &rank.groups;
    let with_work = groups
        .iter()
        .filter_map(|group| Some((group, group.least?)));
    let next = with_work.min_by_key(|(group, _)| group.pass);
    let holder = rank.holder.and_then(|id| {
        let index = place(clients, id)?;
        let member = members.get(index).filter(|member| member.active())?;
        Some((&clients[index], &groups[at(groups, member.state.owner)?]))
    });
    let weight_of = |id: ClientId| {
        let index = place(clients, id)?;
        Some(members.get(index)?.state.attr.weight)
    };
    // How far the one who is due was behind when the turn began: its owner goes
    // ahead of everybody by having it.
    let stays = match (holder, next) {
        (Some((client, group)), Some((due, (pass, id)))) => {
            let weight_of = |id| weight_of(id).unwrap_or(Weight::MIN);
            let (ahead, own, weight) = match due.owner == group.owner {
                true => (
                    client.pass.saturating_sub(pass),
                    weight_of(client.id),
                    weight_of(id),
                ),
                false => (
                    group.pass.saturating_sub(due.pass),
                    group.weight,
                    due.weight,
                ),
            };
            let behind = ahead.saturating_sub(stride(rank.used, own));
            // A turn lasts for its slice, unless somebody came back and is owed
            // one: that is a turn, give or take what has moved meanwhile.
            rank.used < slice && behind <= stride(Nanos(slice.0 / 2), weight)
        }
        _ => false,
    };
    let next = match (stays, next) {
        (true, _) => rank.holder,
        (false, next) => next.map(|(_, (_, id))| id),
    };
    if next != rank.holder || rank.used >= slice {
        rank.used = Nanos::ZERO;
    }
    rank.holder = next;
    next
}

/// Whether the turn belongs to somebody who was ahead of another when it began:
/// one that has had work within the last turn, and will have it back at once. A
/// batch that waits for its kernels after every few would else wait for as much
/// of the others' each time.
fn fills_in(
    slice: Nanos,
    rank: &RankMemory,
    now: Nanos,
    clients: &[Remembered],
    members: &[Member<'_>],
) -> bool {
    let group_of = |client: &Remembered| {
        let (_, owner) = client.line?;
        Some(&rank.groups[at(&rank.groups, owner)?])
    };
    let Some((holder, member)) = rank
        .holder
        .and_then(|id| place(clients, id))
        .and_then(|at| Some((&clients[at], members.get(at)?)))
    else {
        return false;
    };
    let Some(own) = group_of(holder) else {
        return false;
    };
    let pauses = |presence| match presence {
        Presence::Idle { since } => now.since(since) < slice,
        Presence::Active | Presence::Never => false,
    };
    let mut others = clients.iter().zip(members);
    others.any(|(client, other)| {
        let in_rank = client.id != holder.id && other.rank == member.rank;
        let Some(group) = group_of(client).filter(|_| in_rank && pauses(other.presence)) else {
            return false;
        };
        match group.owner == own.owner {
            true => {
                let began = stride(rank.used, member.state.attr.weight);
                client.pass < holder.pass.saturating_sub(began)
            }
            false => group.pass < own.pass.saturating_sub(stride(rank.used, own.weight)),
        }
    })
}

#[cfg(test)]
mod tests;
