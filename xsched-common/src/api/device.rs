//! Devices, as the agent sees them.

use serde::{Deserialize, Serialize};

use super::{SharingMode, UnscheduledRow};
use crate::platform::Platform;
use crate::units::{Class, Nanos};

/// A device that joined processes use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceRow {
    /// `domain:bus:device.function`.
    pub address: String,
    /// Whose runtime its processes use.
    #[serde(default)]
    pub platform: Platform,
    /// How it is shared.
    #[serde(default)]
    pub mode: SharingMode,
    /// The numbers behind the mode, by name: times in ns, counts.
    #[serde(default)]
    pub knobs: std::collections::BTreeMap<String, u64>,
    /// The highest class that has work now, if any.
    pub top_active: Option<Class>,
    /// Joined processes.
    pub clients: u32,
    /// Estimated share of its time in the window in which joined processes
    /// had work on it.
    #[serde(default)]
    pub busy_ratio: Option<f64>,
    /// By class, highest first; classes without processes are left out.
    #[serde(default)]
    pub classes: Vec<ClassRow>,
    /// What the vendor's management library says of the whole device; left out
    /// where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<HardwareRow>,
    /// Work that escapes scheduling and is on this device, or may be; null
    /// where no probes that tell.
    #[serde(default)]
    pub unscheduled: Option<UnscheduledRow>,
}

/// A device's hardware, as its vendor's management library tells; null for
/// what it does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HardwareRow {
    /// The vendor's name of the model.
    pub name: Option<String>,
    /// The part of the last moments in which some kernel ran, whoever's.
    pub utilization: Option<f64>,
    /// The device's own memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Used of it, by whomever, bytes.
    pub memory_used_bytes: Option<u64>,
    /// Clock of its processors, Hz.
    pub clock_hz: Option<u64>,
    /// Watts.
    pub power_w: Option<f64>,
    /// The hottest that it says of itself, degrees Celsius.
    #[serde(default)]
    pub temperature_c: Option<f64>,
    /// Compute queues that it runs at once.
    #[serde(default)]
    pub queues: Option<u32>,
    /// Compute queues that processes have on it.
    #[serde(default)]
    pub queues_used: Option<u32>,
}

/// What the kernel's driver tells of one process's use of devices, over all of
/// them; null for what it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessHardware {
    /// Devices' own memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Compute units that its work occupied at the moment of reading: a
    /// snapshot, no mean.
    pub compute_units: Option<u32>,
    /// Time in which its queues were taken off a device for want of memory or
    /// queues, since its start.
    pub evicted_ns: Option<Nanos>,
    /// Hardware queues that it has.
    pub queues: Option<u32>,
}

/// A class on a device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClassRow {
    /// Which.
    pub class: Class,
    /// Joined processes.
    pub clients: u32,
    /// Those with work now.
    pub active: u32,
    /// Gates by state: open, capped, closed.
    pub open: u32,
    /// See `open`.
    pub capped: u32,
    /// See `open`.
    pub closed: u32,
    /// Estimated share of the device's time in the window.
    pub busy_ratio: Option<f64>,
}
