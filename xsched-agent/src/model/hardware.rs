//! What the vendors' management libraries say of devices in use, read now and
//! then by a thread of its own: a driver takes as long as it likes.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use xsched_common::api::HardwareRow;
use xsched_host::platform::{self, ManagedDevice};

/// Time between two readings.
const EVERY: Duration = Duration::from_secs(5);

/// The newest reading, by bus address.
#[derive(Clone, Default)]
pub struct Hardware(Arc<Shared>);

#[derive(Default)]
struct Shared {
    rows: Mutex<BTreeMap<String, HardwareRow>>,
    /// Whether anybody uses a device: those that nobody uses are let sleep.
    used: AtomicBool,
}

/// The thread that reads, for as long as this lives.
pub struct HardwareReader {
    _stop: Sender<()>,
}

impl Hardware {
    /// Says whether devices are in use.
    pub fn wanted(&self, used: bool) {
        self.0.used.store(used, Relaxed);
    }

    /// Of the device at this address, if anything is known.
    pub fn of(&self, address: &str) -> Option<HardwareRow> {
        let rows = self.0.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(address).cloned()
    }

    /// Has it read.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn read(&self) -> io::Result<HardwareReader> {
        let (stop, stopped) = channel();
        let hardware = self.clone();
        thread::Builder::new()
            .name("hardware".into())
            .spawn(move || {
                while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    let rows = match hardware.0.used.load(Relaxed) {
                        true => rows(),
                        false => BTreeMap::new(),
                    };
                    let mut known = hardware
                        .0
                        .rows
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    *known = rows;
                }
            })?;
        Ok(HardwareReader { _stop: stop })
    }
}

fn rows() -> BTreeMap<String, HardwareRow> {
    let read = platform::management().into_iter().flatten();
    let devices = read.flat_map(|library| library.devices);
    devices
        .filter_map(|device| Some((device.address?.to_string(), row(device))))
        .collect()
}

fn row(device: ManagedDevice) -> HardwareRow {
    HardwareRow {
        name: device.name,
        utilization: device.now.utilization,
        memory_bytes: device.memory,
        memory_used_bytes: device.now.memory_used,
        clock_hz: device.now.clock_hz,
        power_w: device.now.power_w,
    }
}
