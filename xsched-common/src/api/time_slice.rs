//! The hardware's time slices.

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// How long a device goes on with a process's work before it turns to the
/// next one's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimeSliceRow {
    /// `domain:bus:device.function`.
    pub device: String,
    /// What the driver says that it is.
    pub slice_ns: Nanos,
    /// Who has made it so.
    pub set_by: SliceSetter,
    /// Why it is so, for people: "a higher class is on this device".
    pub reason: String,
}

/// Who has set a time slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SliceSetter {
    /// Nobody: it is the driver's.
    Driver,
    /// The agent, by the process's class.
    Class,
    /// The program or another tool: the agent leaves it alone.
    Other,
}

impl SliceSetter {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            SliceSetter::Driver => "driver",
            SliceSetter::Class => "class",
            SliceSetter::Other => "other",
        }
    }
}

/// Whether time slices can be set on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimeSlicing {
    /// The driver that lets them be set, and its version; null where none
    /// does.
    pub driver: Option<String>,
    /// Why not, where not.
    pub reason: Option<String>,
    /// Times that one was set since the agent's start.
    pub changes: u64,
    /// Times that a driver or the kernel refused.
    pub failures: u64,
}
