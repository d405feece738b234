//! Policies: from the state of one device to what each client's gate does.
//!
//! A policy is a pure function of settings, state and time. It owns no clock
//! and makes no system call; what it must remember from one decision to the
//! next is a value that its caller keeps ([`DeviceMemory`]). `control`
//! gathers the state, calls [`decide`], and writes the decisions to the
//! control pages; tests do the same in virtual time.

mod settings;
mod strict;
mod terms;

pub use settings::{DeviceSettings, Linger, Settings};
pub use strict::{cap_for, linger_for};
pub use terms::{Hold, HoldKind, Terms};

use xsched_common::gate::GateMode;
use xsched_common::page::Edges;
use xsched_common::units::Nanos;

/// A client of the agent, numbered within the agent's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A client on one device, as a policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// Who.
    pub id: ClientId,
    /// From configuration and kernel-verified identity, never from the client.
    pub terms: Terms,
    /// A boost or suspension; one that has ended counts for nothing.
    pub hold: Option<Hold>,
    /// Whether it has work.
    pub presence: Presence,
    /// Commands in flight, as its page last said.
    pub in_flight: u32,
    /// Changes whenever its page shows any progress: launches, completions,
    /// bursts. Said by the client.
    pub progress: u64,
    /// Bursts so far. Said by the client.
    pub bursts: u64,
    /// P99 of its latest bursts, for a client with a target.
    pub burst_p99: Option<BurstP99>,
    /// Its measured kernel time T, if known. Said by the client and believed:
    /// a lie gives it a cap of up to 256 instead of the right one
    /// ([`cap_for`]), or keeps its class out for up to the longest linger.
    pub kernel_time: Option<Nanos>,
    /// 95th percentile of its own short gaps, if known. Said by the client.
    pub gap: Option<Nanos>,
}

impl ClientState {
    /// A client that has not launched anything.
    pub fn new(id: ClientId, terms: Terms) -> ClientState {
        ClientState {
            id,
            terms,
            hold: None,
            presence: Presence::Never,
            in_flight: 0,
            progress: 0,
            bursts: 0,
            burst_p99: None,
            kernel_time: None,
            gap: None,
        }
    }
}

/// How long a client's bursts took lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstP99 {
    /// The 99th percentile.
    pub p99: Nanos,
    /// Bursts that it is taken from.
    pub count: u64,
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

/// What a policy remembers of one device between two decisions.
#[derive(Clone, Debug, Default)]
pub struct DeviceMemory {}

/// Decides for every client of a device, appending to `out` in their order.
/// Returns when to decide again even if nothing changes, always later than
/// `now`.
pub fn decide(
    settings: &DeviceSettings,
    _memory: &mut DeviceMemory,
    now: Nanos,
    clients: &[ClientState],
    out: &mut Vec<Decision>,
) -> Option<Nanos> {
    strict::decide(settings, now, clients, out)
}
