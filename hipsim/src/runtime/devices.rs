//! The devices of the machine that this process sees, and which one each thread uses.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::OnceLock;

use simdevice::places;
pub use simdevice::places::MAX_DEVICES;

use crate::abi::error::{HipError, Result};

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
        places::path(self.place())
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
    // AMD's runtime reads CUDA's variable where its own is not set (ROCclr's rocdevice.cpp), and so CUDA's face gets what it needs.
    VISIBLE.get_or_init(|| {
        places::visible(&[
            "ROCR_VISIBLE_DEVICES",
            "HIP_VISIBLE_DEVICES|CUDA_VISIBLE_DEVICES",
        ])
    })
}
