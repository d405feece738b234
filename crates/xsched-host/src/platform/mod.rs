//! What the vendors' management libraries tell about devices, and what their
//! kernel drivers let be done from outside of a process.
//!
//! The libraries are opened at run time, by the names that the vendors' packages
//! install. A machine without them misses what they tell, and nothing else:
//! no decision rests on it.

mod library;
mod nvidia;
mod rocm_smi;
pub mod slices;

use std::fmt;
use std::sync::Arc;

use nvidia::nvml;
use slices::{NoSlices, SliceDriver};

/// A management library that answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Management {
    /// What people call it.
    pub name: &'static str,
    /// Its driver's version; `None` if it does not say.
    pub driver: Option<String>,
    /// In the library's own order.
    pub devices: Vec<ManagedDevice>,
}

/// A device as a management library describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagedDevice {
    /// The vendor's name of the model.
    pub name: Option<String>,
    /// Where it is on the bus.
    pub address: Option<PciAddress>,
    /// The device's own memory, bytes.
    pub memory: Option<u64>,
    /// What it does now.
    pub now: Readings,
}

/// What a device does at a moment, as far as its library tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Readings {
    /// The part of the last moments in which some kernel ran, 0 to 1.
    pub utilization: Option<f64>,
    /// Of its own memory, bytes.
    pub memory_used: Option<u64>,
    /// Clock of its processors, Hz.
    pub clock_hz: Option<u64>,
    /// Watts.
    pub power_w: Option<f64>,
}

/// A place on the PCI bus; shown as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// Segment group.
    pub domain: u32,
    /// Bus in it.
    pub bus: u8,
    /// Device on the bus.
    pub device: u8,
    /// Function of the device.
    pub function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PciAddress {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

/// Why a management library tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silent {
    /// There is none.
    #[error("{0} is not installed")]
    Absent(&'static str),
    /// It lacks a function: it is another library, or too old.
    #[error("{library} has no {function}")]
    Lacking {
        /// The library's file.
        library: &'static str,
        /// The function.
        function: &'static str,
    },
    /// It refused; the vendor's number says why. Most often there is no driver.
    #[error("{library}: {function} failed with {code}")]
    Refused {
        /// The library's file.
        library: &'static str,
        /// The function.
        function: &'static str,
        /// What it returned.
        code: i32,
    },
}

/// Devices that are asked about: what a library says of their number is not
/// believed beyond any machine's.
const MOST: u32 = 256;

/// Asks all of them, those that are installed first. It may take as long as a
/// driver takes to wake its devices: not for a thread that others wait for.
pub fn management() -> Vec<Result<Management, Silent>> {
    let mut all = vec![nvml::read(nvml::FILE), rocm_smi::read(rocm_smi::FILE)];
    all.sort_by_key(|read| matches!(read, Err(Silent::Absent(_))));
    all
}

/// The driver of this machine whose time slices can be set.
///
/// # Errors
/// There is none, or nobody has checked it.
pub fn slice_driver() -> Result<Arc<dyn SliceDriver>, NoSlices> {
    nvidia::resource_manager().map(|driver| Arc::new(driver) as Arc<dyn SliceDriver>)
}

#[cfg(test)]
mod tests;
