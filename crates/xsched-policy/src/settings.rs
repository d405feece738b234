//! How devices are shared: what the configuration says, as the policy needs it.

use std::collections::BTreeMap;

use xsched_common::api::SharingMode;
use xsched_common::units::{Nanos, PciAddress};

use super::Concurrency;

/// How all devices are shared. A value: a reload makes a new one, and the
/// control thread takes it over between two rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// For devices that are not named.
    pub default: DeviceSettings,
    /// For devices that are, by bus address.
    pub devices: BTreeMap<PciAddress, DeviceSettings>,
}

impl Settings {
    /// What holds for a device; `None` is one that did not say its address.
    pub fn of(&self, device: Option<PciAddress>) -> &DeviceSettings {
        device
            .and_then(|pci| self.devices.get(&pci))
            .unwrap_or(&self.default)
    }
}

/// How one device is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSettings {
    /// Which rules apply.
    pub mode: SharingMode,
    /// D: device time that a lower class may have in flight. The starting
    /// point in mode `slo`, unused in mode `fixed`.
    pub budget: Nanos,
    /// How long a drained process keeps lower classes out.
    pub linger: Linger,
    /// Mode `fixed`: commands that a lower class may have in flight.
    pub fixed_cap: u16,
    /// Commands between two fences while a gate is not open; 0 lets the shim
    /// choose a quarter of the cap.
    pub fence_batch: u32,
    /// Device time that a class gets although a higher one wants all of it,
    /// in thousandths; 0 for none but the shim's trickle.
    pub min_share_permille: u16,
    /// Device time of one turn among equals; `None` goes by the device.
    pub slice: Option<Nanos>,
    /// How long a process may say that it has work without any sign of
    /// progress before it no longer holds back others.
    pub active_limit: Nanos,
}

impl DeviceSettings {
    /// Device time of one turn among equals.
    pub fn slice_of(&self, concurrency: Concurrency) -> Nanos {
        self.slice.unwrap_or(match concurrency {
            Concurrency::Together => Nanos::from_millis(5),
            // What is in flight at the end of a turn runs on beside the next
            // one's, by the driver's turns.
            Concurrency::InTurns => Nanos::from_millis(20),
        })
    }
}

impl Default for DeviceSettings {
    fn default() -> DeviceSettings {
        DeviceSettings {
            mode: SharingMode::Priority,
            budget: Nanos::from_micros(300),
            linger: Linger::default(),
            fixed_cap: 4,
            fence_batch: 0,
            min_share_permille: 10,
            slice: None,
            active_limit: Nanos::from_secs(1),
        }
    }
}

/// How long a drained process keeps lower classes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// As long as its own short gaps, within limits.
    Adaptive {
        /// The shortest.
        min: Nanos,
        /// The longest: the most that lower classes lose per burst.
        max: Nanos,
    },
    /// Always this long; zero for none.
    Fixed(Nanos),
}

impl Default for Linger {
    fn default() -> Linger {
        Linger::Adaptive {
            min: Nanos::from_micros(100),
            max: Nanos::from_millis(5),
        }
    }
}

impl Linger {
    /// The shortest and the longest.
    pub fn limits(self) -> (Nanos, Nanos) {
        match self {
            Linger::Adaptive { min, max } => (min, max.max(min)),
            Linger::Fixed(linger) => (linger, linger),
        }
    }
}
