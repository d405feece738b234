//! Where the time of a service's slow bursts went.

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// An account of a process's slow bursts over some time. What they took
/// beyond what they should take is the loss; the parts and what is not
/// explained sum up to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BlameRow {
    /// The time that it covers.
    pub over_ns: Nanos,
    /// Bursts in that time.
    pub bursts: u64,
    /// Of these, those that took longer than `limit_ns`.
    pub slow: u64,
    /// Beyond it a burst is slow: the latency target, or without one half as
    /// much again as a burst takes alone; null until either is known.
    pub limit_ns: Option<Nanos>,
    /// Mean length of the slow bursts; null without any.
    pub slow_mean_ns: Option<Nanos>,
    /// Mean time that bursts of their sizes take while nothing else is at
    /// work, as remembered; null while it is not known.
    pub own_ns: Option<Nanos>,
    /// What the slow bursts took beyond `own_ns`, or beyond `limit_ns` where
    /// that is shorter or `own_ns` is not known: in sum.
    pub loss_ns: Nanos,
    /// Where the loss went, largest first.
    pub parts: Vec<BlamePart>,
    /// The rest of the loss.
    pub unexplained_ns: Nanos,
    /// The account in a sentence: "gate_wait 62%, ...".
    pub summary: String,
}

impl BlameRow {
    /// A time of the account as a share of the loss; null without loss.
    pub fn share(&self, time: Nanos) -> Option<f64> {
        (self.loss_ns > Nanos::ZERO).then(|| time.0 as f64 / self.loss_ns.0 as f64)
    }
}

/// One cause's part of a loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BlamePart {
    /// What it is.
    pub cause: BlameCause,
    /// The process whose work it is; null for causes without one.
    pub pid: Option<u32>,
    /// Its part of the loss, in sum over the slow bursts.
    pub time_ns: Nanos,
    /// The most that it can have cost by what was measured of it.
    pub at_most_ns: Nanos,
    /// How the time is known.
    pub known: BlameSource,
    /// Launches of that process past the gate; null for other causes.
    pub launches_per_s: Option<f64>,
    /// Commands of that process that were in flight when a burst began, mean;
    /// null for other causes.
    pub in_flight: Option<f64>,
    /// How long each of them takes; null for other causes.
    pub kernel_ns: Option<Nanos>,
}

/// What a burst can lose time to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BlameCause {
    /// Its own work takes longer than its target even alone.
    OwnWork,
    /// Its own launches waited at the gate.
    GateWait,
    /// Work of a lower class that was on the device already when the burst
    /// began, and which nothing can interrupt.
    InFlight,
    /// Work of a class that is not lower.
    Peer,
    /// Work that does not go through the gate.
    PastGate,
    /// Its own host code between launches.
    HostGaps,
    /// Its threads were ready to run and got no processor.
    ServiceCpu,
    /// The agent got no processor, or was stopped, while lower classes had
    /// work.
    AgentHeldUp,
}

impl BlameCause {
    /// Every one.
    pub const ALL: [BlameCause; 8] = [
        BlameCause::OwnWork,
        BlameCause::GateWait,
        BlameCause::InFlight,
        BlameCause::Peer,
        BlameCause::PastGate,
        BlameCause::HostGaps,
        BlameCause::ServiceCpu,
        BlameCause::AgentHeldUp,
    ];

    /// As in JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            BlameCause::OwnWork => "own_work",
            BlameCause::GateWait => "gate_wait",
            BlameCause::InFlight => "in_flight",
            BlameCause::Peer => "peer",
            BlameCause::PastGate => "past_gate",
            BlameCause::HostGaps => "host_gaps",
            BlameCause::ServiceCpu => "service_cpu",
            BlameCause::AgentHeldUp => "agent_held_up",
        }
    }

    /// For people, short enough for a legend.
    pub const fn label(self) -> &'static str {
        match self {
            BlameCause::OwnWork => "own work",
            BlameCause::GateWait => "gate wait",
            BlameCause::InFlight => "others in flight",
            BlameCause::Peer => "its own class",
            BlameCause::PastGate => "past the gate",
            BlameCause::HostGaps => "host code",
            BlameCause::ServiceCpu => "no processor",
            BlameCause::AgentHeldUp => "agent held up",
        }
    }
}

/// How a part of a loss is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BlameSource {
    /// Counted by the kernel, the shim or the agent.
    Measured,
    /// What other parts leave, where this cause was at work and can account
    /// for it.
    Remainder,
}

/// Work that escapes scheduling: of processes without the shim, and calls
/// of joined ones that never reach it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnscheduledRow {
    /// Processes that launched so in the window.
    pub processes: u32,
    /// Of these, those whose device is not known: they may be on any.
    pub of_unknown_device: u32,
    /// The busiest of them first, at most 16.
    pub pids: Vec<u32>,
    /// In the window.
    pub launches_per_s: f64,
    /// Their share of all launches in the window; null without launches.
    pub launch_ratio: Option<f64>,
    /// The part of the device's time that was used and not by joined
    /// processes, where the vendor's management library tells what was used;
    /// else null: without the shim nobody counts device time.
    pub busy_ratio: Option<f64>,
}

/// Something about the agent itself that users should not overlook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AgentWarning {
    /// Stable: `heartbeats_late`; more may be added.
    pub code: String,
    /// What, and what to do, in a line.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for cause in BlameCause::ALL {
            let json = serde_json::to_string(&cause).expect("serialises");
            assert_eq!(json, format!("\"{}\"", cause.name()));
        }
    }
}
