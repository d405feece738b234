//! `[platform]`: what only one vendor's driver lets be done.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xsched_common::page::QueuePriority;
use xsched_common::units::Class;
use xsched_policy::SliceChoice;

/// The table with the choice about time slices.
pub const TIME_SLICES_IN: &str = "platform.nvidia";
/// The table with the choice about queues' priorities.
pub const QUEUE_PRIORITY_IN: &str = "platform.amd";

/// Levers that only one vendor's driver has.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Platforms {
    /// NVIDIA's driver.
    pub nvidia: Nvidia,
    /// AMD's runtime.
    pub amd: Amd,
}

impl Platforms {
    /// Whether time slices follow the classes: one driver has them.
    pub fn time_slices(&self) -> SliceChoice {
        self.nvidia.time_slices.into()
    }

    /// Whether hardware queues have the priority of their process's class: one runtime has such a thing.
    pub fn queue_priority(&self) -> QueueChoice {
        self.amd.queue_priority
    }
}

/// NVIDIA's driver.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nvidia {
    /// Whether the hardware's time slices follow the classes: "on" or "off". It needs no shim. Default: on, where the driver's version was checked.
    pub time_slices: Switch,
}

/// AMD's runtime.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Amd {
    /// Whether the shim gives the hardware queues of its process the priority of the process's class: "off" or "by-class". Default: off; no AMD hardware has confirmed what it brings.
    pub queue_priority: QueueChoice,
}

/// What becomes of the priorities of hardware queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueueChoice {
    /// Left alone.
    #[default]
    Off,
    /// Low below normal, high and realtime above.
    ByClass,
}

impl QueueChoice {
    /// What the queues of a process of this class get.
    pub const fn priority(self, class: Class) -> QueuePriority {
        match self {
            QueueChoice::Off => QueuePriority::Leave,
            QueueChoice::ByClass => QueuePriority::of(class),
        }
    }
}

impl fmt::Display for QueueChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QueueChoice::Off => "off",
            QueueChoice::ByClass => "by-class",
        })
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Done.
    #[default]
    On,
    /// Left alone.
    Off,
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Switch::On => "on",
            Switch::Off => "off",
        })
    }
}

impl From<Switch> for SliceChoice {
    fn from(switch: Switch) -> SliceChoice {
        match switch {
            Switch::On => SliceChoice::ByClass,
            Switch::Off => SliceChoice::Leave,
        }
    }
}

impl From<SliceChoice> for Switch {
    fn from(choice: SliceChoice) -> Switch {
        match choice {
            SliceChoice::ByClass => Switch::On,
            SliceChoice::Leave => Switch::Off,
        }
    }
}
