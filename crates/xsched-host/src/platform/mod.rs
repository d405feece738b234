//! What the vendors' management libraries tell about devices, and what their
//! kernel drivers let be done from outside of a process.
//!
//! The libraries are opened at run time, by the names that the vendors' packages
//! install. A machine without them misses what they tell, and nothing else:
//! no decision rests on it.

mod amdgpu;
mod library;
mod nvidia;
mod rocm_smi;
pub mod slices;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use xsched_common::units::PciAddress;

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
    /// Processes that compute on it, as far as its library tells.
    pub processes: Vec<DeviceProcess>,
}

/// A process on a device, as a management library says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceProcess {
    /// Its number in the first pid namespace.
    pub pid: u32,
    /// The device's own memory that it has, bytes.
    pub memory: Option<u64>,
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
    /// Degrees Celsius.
    pub temperature_c: Option<f64>,
}

/// What the kernel's drivers themselves say, without a library of the vendor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelView {
    /// Devices of which a driver tells something.
    pub devices: Vec<KernelDevice>,
    /// Processes that use them, by pid in the first namespace.
    pub processes: BTreeMap<u32, ProcessUse>,
}

/// A device as its driver describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelDevice {
    /// Where it is on the bus.
    pub address: PciAddress,
    /// Its own memory, bytes.
    pub memory: Option<u64>,
    /// What it does now.
    pub now: Readings,
    /// Compute queues that it runs at once.
    pub queues: Option<u32>,
    /// Compute queues that processes have on it.
    pub queues_used: u32,
}

impl KernelDevice {
    /// Whether processes have more compute queues than it runs at once: the
    /// driver then takes turns between them, whatever their priority
    /// (`pm_calc_rlib_size` in drivers/gpu/drm/amd/amdkfd says the same).
    pub fn is_oversubscribed(&self) -> bool {
        self.queues.is_some_and(|queues| self.queues_used > queues)
    }
}

/// What a process has of the devices, over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// Devices' own memory, bytes.
    pub memory: Option<u64>,
    /// Compute units that its work occupied at the moment of reading.
    pub compute_units: Option<u64>,
    /// Time in which its queues were evicted, ns since its start.
    pub evicted_ns: Option<u64>,
    /// Hardware queues.
    pub queues: Option<u64>,
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

/// Reads what the kernel's drivers say below `sysfs`, which is `/sys` but in
/// tests.
pub fn kernel(sysfs: &Path) -> KernelView {
    amdgpu::read(sysfs)
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
