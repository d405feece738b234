//! The devices of the machine that this process sees, and which one each thread uses.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::abi::error::{HipError, Result};
use crate::options;

/// Most devices of a machine: handles of streams and events have room for this many.
pub const MAX_DEVICES: usize = 8;

/// A device by the number it has in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceIndex(u8);

/// The device that is current when a thread chose none.
pub const FIRST: DeviceIndex = DeviceIndex(0);

thread_local! {
    static CURRENT: Cell<DeviceIndex> = const { Cell::new(FIRST) };
}

impl DeviceIndex {
    /// The device with this number.
    ///
    /// # Errors
    /// `InvalidDevice` when this process sees fewer.
    pub fn new(number: i32) -> Result<Self> {
        u8::try_from(number)
            .ok()
            .filter(|number| usize::from(*number) < count())
            .map(Self)
            .ok_or(HipError::InvalidDevice)
    }

    /// The calling thread's current device.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Makes it the current device of the calling thread.
    pub fn make_current(self) {
        CURRENT.set(self);
    }

    /// Its number in this process.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// Its place on the machine, which does not depend on what this process sees.
    pub fn place(self) -> usize {
        visible().get(self.number()).copied().unwrap_or(0)
    }

    /// The file that the processes on this device share.
    pub fn path(self) -> PathBuf {
        let mut path = options::get().device.clone().into_os_string();
        match self.place() {
            0 => {}
            place => path.push(format!(".{place}")),
        }
        path.into()
    }
}

/// Number of devices this process sees.
pub fn count() -> usize {
    visible().len()
}

/// All of them.
pub fn all() -> impl Iterator<Item = DeviceIndex> {
    (0..count()).map(|number| DeviceIndex(number as u8))
}

fn visible() -> &'static [usize] {
    static VISIBLE: OnceLock<Vec<usize>> = OnceLock::new();
    VISIBLE.get_or_init(|| {
        let names = ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"];
        let devices = (0..options::get().devices).collect();
        names
            .into_iter()
            .fold(devices, |devices, name| match std::env::var(name) {
                Ok(list) => select(&devices, &list),
                Err(_) => devices,
            })
    })
}

/// The devices that a list of numbers names, in its order. The first number that names none ends it, as with the real
/// runtime.
fn select(devices: &[usize], list: &str) -> Vec<usize> {
    let mut selected = Vec::new();
    for number in list.split(',') {
        let device = number.trim().parse::<usize>().ok();
        match device.and_then(|number| devices.get(number)) {
            Some(device) if !selected.contains(device) => selected.push(*device),
            _ => break,
        }
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_devices_renumber_and_end_at_the_first_bad_number() {
        assert_eq!(select(&[0, 1, 2], "2,0"), [2, 0]);
        assert_eq!(select(&[0, 1, 2], "1,7,0"), [1]);
        assert_eq!(select(&[2, 0], "1"), [0]);
        assert_eq!(select(&[0, 1], "1,1"), [1]);
        assert!(select(&[0, 1], "").is_empty());
        assert!(select(&[0, 1], "-1").is_empty());
    }
}
