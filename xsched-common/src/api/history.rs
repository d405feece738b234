//! The past of a process or of the devices.

use serde::{Deserialize, Serialize};

use crate::units::{Class, Nanos};

/// What the agent remembers, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct History {
    /// The process; `None` for the machine.
    pub pid: Option<u32>,
    /// Time between two points.
    pub interval_ns: Nanos,
    /// At most a few hundred; a process that is gone has none.
    pub points: Vec<HistoryPoint>,
}

/// One moment. What was not known then is `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HistoryPoint {
    /// Time of day, ns since 1970.
    pub time_unix_ns: u64,
    /// Launches in the window that ends here.
    pub launches_per_s: f64,
    /// Median burst in that window.
    pub burst_p50_ns: Option<Nanos>,
    /// 99th percentile of its bursts.
    pub burst_p99_ns: Option<Nanos>,
    /// 99th percentile of its waits at the gate.
    pub gate_wait_p99_ns: Option<Nanos>,
    /// Estimated share of the device's time.
    pub busy_ratio: Option<f64>,
    /// Its class; for the machine, the highest class that had work.
    pub class: Option<Class>,
}
