//! Policies: from the state of one device to what each client's gate does.
//!
//! A policy is a pure function of state and time. It owns no clock and makes
//! no system call; `control` gathers the state, calls it, and writes its
//! decisions to the control pages.

mod strict;

pub use strict::{Strict, cap_for, linger_for};

use xsched_common::gate::GateMode;
use xsched_common::page::Edges;
use xsched_common::units::{Class, Nanos};

/// A client of the agent, numbered within the agent's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A client on one device, as a policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// Who.
    pub id: ClientId,
    /// From configuration and kernel-verified identity, never from the client.
    pub class: Class,
    /// Whether it has work.
    pub presence: Presence,
    /// Its measured kernel time T, if known. Said by the client and believed:
    /// a lie gives it a cap of up to 256 instead of the right one
    /// ([`cap_for`]), or keeps its class out for up to the longest linger.
    pub kernel_time: Option<Nanos>,
    /// 95th percentile of its own short gaps, if known. Said by the client.
    pub gap: Option<Nanos>,
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
}

/// From one device's state to decisions.
pub trait Policy {
    /// The name shown to users.
    fn name(&self) -> &'static str;

    /// Decides for every client of the device, appending to `out` in their
    /// order. Returns when to decide again even if nothing changes, always later than `now`.
    fn decide(&self, now: Nanos, clients: &[ClientState], out: &mut Vec<Decision>)
    -> Option<Nanos>;
}
