//! NVIDIA: the management library, and the resource manager (RM) of the kernel
//! driver.

mod descriptor;
mod groups;
pub mod nvml;
mod rm;
#[cfg(test)]
mod tests;

use std::fs;
use std::sync::OnceLock;

use xsched_common::platform::Platform;
use xsched_common::units::Nanos;

use super::slices::{Group, GroupId, NoSlices, Scan, SliceDriver, SliceError};
use crate::process::ProcessId;
use descriptor::descriptors;
use rm::Control;

/// What the loaded module says of itself.
const VERSION: &str = "/proc/driver/nvidia/version";

/// Branches of the driver of which NVIDIA's published sources
/// (open-gpu-kernel-modules; the first and the last release of each) have the
/// structures and numbers of [`rm`], word for word. They were tried on a GPU
/// with 580.159.04.
const CHECKED: [u32; 11] = [535, 545, 550, 555, 560, 565, 570, 575, 580, 590, 595];

/// The slice of a channel group for computing, as 580.159.04 gives it on an
/// H200; groups for copying have 1,024 us.
const DEFAULT_SLICE: Nanos = Nanos::from_micros(2048);

/// The driver of this machine.
pub struct ResourceManager {
    version: String,
    /// Whether it compares descriptors, once it was tried.
    compares: OnceLock<bool>,
}

/// The driver of this machine, if its slices can be set.
///
/// # Errors
/// There is none, or nobody has checked it.
pub fn resource_manager() -> Result<ResourceManager, NoSlices> {
    match fs::read_to_string(VERSION) {
        Ok(text) => of_version(&text),
        Err(_) => Err(NoSlices::NoDriver),
    }
}

fn of_version(text: &str) -> Result<ResourceManager, NoSlices> {
    let version = version(text).ok_or(NoSlices::Unreadable(VERSION))?;
    let branch = version.split('.').next().and_then(|n| n.parse().ok());
    match branch.is_some_and(|branch| CHECKED.contains(&branch)) {
        true => Ok(ResourceManager {
            version: version.to_owned(),
            compares: OnceLock::new(),
        }),
        false => Err(NoSlices::Unchecked {
            version: version.to_owned(),
            checked: CHECKED.map(|branch| branch.to_string()).join(", "),
        }),
    }
}

/// From a line as `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64
/// 580.159.04  Release Build`.
fn version(text: &str) -> Option<&str> {
    let line = text
        .lines()
        .find(|line| line.starts_with("NVRM version:"))?;
    line.split_whitespace()
        .find(|word| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

impl ResourceManager {
    /// By `NVreg_RegistryDwords` the driver can be told to let root use any
    /// session on any descriptor. Then a process's descriptor does not tell
    /// which sessions are its own.
    fn must_compare(&self) -> Result<(), SliceError> {
        let compares = match self.compares.get() {
            Some(compares) => *compares,
            None => {
                let [(one, its), (_other, others)] = rm::own_sessions()?;
                let compares = groups::compares(&one, its, others);
                *self.compares.get_or_init(|| compares)
            }
        };
        match compares {
            true => Ok(()),
            false => Err(SliceError::Lenient),
        }
    }
}

impl SliceDriver for ResourceManager {
    fn platform(&self) -> Platform {
        Platform::Cuda
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn default_slice(&self) -> Nanos {
        DEFAULT_SLICE
    }

    fn look(&self, process: ProcessId, scan: &mut Scan) -> Result<Vec<Group>, SliceError> {
        self.must_compare()?;
        let sessions = descriptors(process)?;
        let controls: Vec<&dyn Control> = sessions.iter().map(|s| s as &dyn Control).collect();
        groups::look(process.pid, &controls, rm::newest_client, scan)
    }

    fn set(&self, process: ProcessId, group: GroupId, slice: Nanos) -> Result<Nanos, SliceError> {
        let sessions = descriptors(process)?;
        let controls: Vec<&dyn Control> = sessions.iter().map(|s| s as &dyn Control).collect();
        groups::set(process.pid, &controls, group, slice)
    }
}
