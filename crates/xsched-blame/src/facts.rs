//! What an account is made of.

use xsched_common::page::HistogramCounts;
use xsched_common::units::Nanos;

use super::Own;

/// What is known of one service on one device over some time. What is not
/// known is zero or empty: it can then not be blamed.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The service, some of whose threads may be among the others.
    pub pid: u32,
    /// The time.
    pub over: Nanos,
    /// Its bursts by length.
    pub bursts: HistogramCounts,
    /// The P99 of its bursts to reach, if it has a target.
    pub target: Option<Nanos>,
    /// What bursts of these sizes do while nothing else is at work.
    pub own: Option<Own>,
    /// Whether nothing else was at work in this time either.
    pub alone: bool,
    /// Time that its launches waited at the gate, in sum.
    pub gate_wait: Nanos,
    /// Time within its bursts in which its threads were ready to run and had
    /// no processor.
    pub service_delay: Nanos,
    /// Time within its bursts that its host code took between launches beyond
    /// what it takes alone.
    pub host_gaps: Nanos,
    /// Work of lower classes that its bursts found on the device, that of its
    /// own threads in a class group below it as well.
    pub in_flight: Vec<InFlight>,
    /// The agent's own delays, while lower classes had work.
    pub agent: HeldUp,
    /// Clients of classes that are not lower.
    pub peers: Vec<PeerWork>,
    /// Whoever launches past the gate.
    pub past_gate: Vec<Escaping>,
    /// Device time that was used and not by joined processes, where the
    /// hardware tells.
    pub unscheduled_busy: Option<Nanos>,
}

/// Commands of a client of a lower class that a burst finds in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InFlight {
    /// Whose.
    pub pid: u32,
    /// How many a burst found, mean.
    pub commands: f64,
    /// How many its gate lets be in flight.
    pub cap: u32,
    /// How long each takes alone.
    pub kernel: Nanos,
}

/// Times in which the agent could not act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldUp {
    /// Within the service's bursts, while lower classes had work.
    pub delay: Nanos,
}

/// Device time of a client that is not below the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerWork {
    /// Whose.
    pub pid: u32,
    /// Within the service's bursts.
    pub busy: Nanos,
}

/// A process that launches past the gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Escaping {
    /// Which.
    pub pid: u32,
    /// Launches past the gate, in the time.
    pub launches: f64,
}
