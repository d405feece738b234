//! `[platform]`: what only one vendor's driver lets be done.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xsched_policy::SliceChoice;

/// The table with the choice about time slices.
pub const TIME_SLICES_IN: &str = "platform.nvidia";

/// Levers that only one vendor's driver has.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Platforms {
    /// NVIDIA's driver.
    pub nvidia: Nvidia,
}

impl Platforms {
    /// Whether time slices follow the classes: one driver has them.
    pub fn time_slices(&self) -> SliceChoice {
        self.nvidia.time_slices.into()
    }
}

/// NVIDIA's driver.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nvidia {
    /// Whether the hardware's time slices follow the classes: "on" or "off". It needs no shim. Default: on, where the driver's version was checked.
    pub time_slices: Switch,
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
