//! Policies: from the state of one device to what each client's gate does.
//!
//! A policy is a pure function of settings, state and time. It owns no clock
//! and makes no system call; what it must remember from one decision to the
//! next is a value that its caller keeps ([`DeviceMemory`]). `control`
//! gathers the state, calls [`decide`], and writes the decisions to the
//! control pages; tests do the same in virtual time.
//!
//! Every decision goes the same way, whatever the mode: who counts and in
//! which rank ([`liveness`]), who used the device since the last time
//! ([`usage`]), which numbers hold ([`knobs`], [`slo`]), what higher ranks
//! leave to lower ones ([`strict`]), whose turn it is among equals
//! ([`share`]), and what even the lowest gets ([`min_share`]).

mod attr;
mod first;
mod handover;
mod kernels;
mod knobs;
mod latency;
mod liveness;
mod memory;
mod min_share;
mod own_clock;
mod settings;
mod share;
mod silence;
mod slices;
mod slo;
mod strict;
#[cfg(test)]
mod tests;
mod usage;

pub use attr::{Override, OverrideKind, SchedAttr};
pub use first::first_gate;
pub use kernels::Strangers;
pub use knobs::{Cap, Knobs, cap_for};
pub use latency::LatencyWindow;
pub use memory::{Concurrency, DeviceMemory, Sharing};
pub use settings::{DeviceSettings, Linger, Settings};
pub use slices::{
    Activity, Bounded, LENGTHS, LONG, Parts, SHARED, SHORT, Slice, SliceChoice, SliceUser, slices,
};
pub use slo::SloVerdict;
pub use strict::linger_for;

use xsched_common::api::SharingMode;
use xsched_common::gate::GateMode;
use xsched_common::page::Edges;
use xsched_common::units::Nanos;

use share::Turns;
use silence::Assumption;

/// A client of the agent, numbered within the agent's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Whose share a client's time counts against: a user's, or what a rule gives
/// that user, however many processes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

impl Owner {
    /// Of a process of user `uid` that has its weight from the rule at this
    /// line, or from none.
    pub fn of(uid: u32, rule: Option<usize>) -> Owner {
        // Lines count from one.
        let rule = rule.map_or(0, |line| u32::try_from(line).unwrap_or(u32::MAX));
        Owner(u64::from(uid) << 32 | u64::from(rule))
    }
}

/// A client on one device, as a policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// Who.
    pub id: ClientId,
    /// By the kernel's word.
    pub owner: Owner,
    /// From configuration and kernel-verified identity, never from the client.
    pub attr: SchedAttr,
    /// A boost or suspension; one that has ended counts for nothing.
    pub hold: Option<Override>,
    /// Whether it has work.
    pub presence: Presence,
    /// Changes whenever its page shows any progress: launches, completions,
    /// bursts. Said by the client.
    pub progress: u64,
    /// Commands in flight, as its page last said; used, like the next, for
    /// the time in which its gate was closed.
    pub in_flight: u32,
    /// Its threads at the gate, as its page last said.
    pub waiting: u32,
    /// Time in which it had commands in flight, in total, up to the last
    /// completion. Said by the client.
    pub busy: Nanos,
    /// Bursts so far. Said by the client.
    pub bursts: u64,
    /// How long its latest bursts took, for a client with a target.
    pub latency: Option<BurstLatency>,
    /// Its measured kernel time T, if known. Said by the client and believed:
    /// a lie gives it a cap of up to 256 instead of the right one
    /// ([`cap_for`]), or keeps its class out for up to the longest linger.
    pub kernel_time: Option<Nanos>,
    /// 95th percentile of its own short gaps, if known. Said by the client.
    pub gap: Option<Nanos>,
    /// Bursts that followed another after such a gap. Said by the client.
    pub short_gaps: u64,
    /// When it became active, by the agent's clock, if it is.
    pub active_since: Nanos,
    /// Completions of which its own calls have told; `None` from shims that
    /// do not say. Said by the client.
    pub told: Option<u64>,
    /// How long this burst should last, of a client that is timed because
    /// nothing else tells. Said by the client.
    pub lasts: Option<Nanos>,
}

impl ClientState {
    /// A client that has not launched anything, of an owner of its own.
    pub fn new(id: ClientId, attr: SchedAttr) -> ClientState {
        ClientState {
            id,
            owner: Owner(id.0),
            attr,
            hold: None,
            presence: Presence::Never,
            progress: 0,
            in_flight: 0,
            waiting: 0,
            busy: Nanos::ZERO,
            bursts: 0,
            latency: None,
            kernel_time: None,
            gap: None,
            short_gaps: 0,
            active_since: Nanos::ZERO,
            told: None,
            lasts: None,
        }
    }
}

/// How long a client's bursts took in one window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstLatency {
    /// Counts the windows: a policy acts once on each.
    pub window: u64,
    /// The median.
    pub p50: Nanos,
    /// The 99th percentile.
    pub p99: Nanos,
}

/// Whether a client has work on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Has not launched anything yet.
    Never,
    /// Has launched something that is not known to be complete.
    Active,
    /// Drained.
    Idle {
        /// When the agent noticed, by the agent's clock.
        since: Nanos,
    },
}

/// What happens to one client's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whose gate.
    pub id: ClientId,
    /// What it allows.
    pub mode: GateMode,
    /// Which changes of its activity the agent must hear of for its next
    /// decision.
    pub edges: Edges,
    /// Why.
    pub reason: Reason,
}

/// Why a gate is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody of a higher class is registered on the device.
    Unrivalled,
    /// A higher class is registered but has no work.
    RivalIdle,
    /// This client of a higher class has work, or had it a moment ago.
    HeldBy(ClientId),
    /// Would be held by this one of a higher class, which says that it has
    /// work but has shown no progress for longer than the limit.
    RivalStuck(ClientId),
    /// This one of a higher class is assumed to be through with its work,
    /// because nothing tells when it is.
    RivalAssumedIdle(ClientId),
    /// It is this client's turn among those of its class, or nobody else
    /// there has work.
    Turn,
    /// This other client of its class has its turn.
    WaitsFor(ClientId),
    /// A higher class has work, but this one has had less than the minimum
    /// share.
    MinShare,
    /// Suspended for a while.
    Suspended,
    /// The device is not shared by rules.
    Off,
}

/// Decides for every client of a device, appending to `out` in their order.
/// `clients` come in ascending order of their ids. Returns when to decide
/// again even if nothing changes, always later than `now`.
pub fn decide(
    settings: &DeviceSettings,
    memory: &mut DeviceMemory,
    now: Nanos,
    clients: &[ClientState],
    out: &mut Vec<Decision>,
) -> Option<Nanos> {
    let first = out.len();
    memory.meet(clients);
    kernels::learn(&mut memory.clients, clients, memory.strangers);
    let members: Vec<_> = clients
        .iter()
        .zip(&mut memory.clients)
        .map(|(state, remembered)| liveness::evaluate(settings, now, state, remembered))
        .collect();
    usage::charge(memory, now, &members);

    let mut again = Again::after(now);
    for member in &members {
        if let Some(hold) = Override::in_force(member.state.hold, now) {
            again.at(hold.until);
        }
    }
    let knobs = match settings.mode {
        SharingMode::Slo => slo::adapt(settings, &mut memory.slo, &members),
        _ => Knobs::of(settings),
    };
    memory.knobs = knobs;
    if settings.mode == SharingMode::Off {
        out.extend(members.iter().map(|member| Decision {
            id: member.state.id,
            mode: GateMode::Open,
            edges: Edges::NONE,
            reason: Reason::Off,
        }));
    } else {
        strict::decide(&knobs, now, &members, out, &mut again);
        let decisions = &mut out[first..];
        if let Some(turns) = Turns::of(settings, memory.concurrency, knobs) {
            share::decide(&turns, memory, now, &members, decisions, &mut again);
        }
        min_share::decide(settings, memory, now, &members, decisions, &mut again);
        silence::watch(&memory.clients, clients, decisions);
        for ((client, member), decision) in memory.clients.iter().zip(&members).zip(&*decisions) {
            let cared_for = decision.edges != Edges::NONE;
            let end = match member.assumption {
                Assumption::Until(end) => Some(end),
                // Behind a closed gate nothing ends.
                _ if decision.mode == GateMode::Closed => None,
                _ => {
                    let end = client.silence.ends_at(member.state);
                    end.map(|end| client.clock.reaches(end))
                }
            };
            if let Some(end) = end.filter(|_| cared_for) {
                again.at(end);
            }
        }
    }
    let clients = memory.clients.iter_mut().zip(&members);
    for ((remembered, member), decision) in clients.zip(&out[first..]) {
        if remembered.mode == GateMode::Closed && decision.mode != GateMode::Closed {
            remembered.ahead = 0;
        }
        if remembered.mode != GateMode::Closed {
            remembered.drains_until = now + handover::longest_drain(member);
        }
        remembered.mode = decision.mode;
    }
    again.earliest
}

/// Whether a change of a gate is worth waking its waiters for.
///
/// T is measured and jitters; a cap that follows every jitter would wake all
/// waiters each time.
pub fn worth_writing(now: GateMode, next: GateMode) -> bool {
    match (now, next) {
        (GateMode::Capped(a), GateMode::Capped(b)) => a.abs_diff(b) * 8 > a,
        _ => now != next,
    }
}

/// When to decide again.
struct Again {
    now: Nanos,
    earliest: Option<Nanos>,
}

impl Again {
    fn after(now: Nanos) -> Again {
        Again {
            now,
            earliest: None,
        }
    }

    fn at(&mut self, time: Nanos) {
        let time = time.max(self.now + Nanos(1));
        self.earliest = Some(self.earliest.map_or(time, |earliest| earliest.min(time)));
    }
}
