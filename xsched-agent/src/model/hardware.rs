//! What the vendors' management libraries and the kernel's drivers say of
//! devices in use, read now and then by a thread of its own: a driver takes as
//! long as it likes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use xsched_common::api::{AgentWarning, HardwareRow, ProcessHardware};
use xsched_common::units::Nanos;
use xsched_host::platform::{self, KernelView, ManagedDevice, ProcessUse};

/// Time between two readings.
const EVERY: Duration = Duration::from_secs(5);

/// The newest reading, by bus address.
#[derive(Clone, Default)]
pub struct Hardware(Arc<Shared>);

#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    /// Whether anybody uses a device: those that nobody uses are let sleep.
    used: AtomicBool,
}

/// What was told last.
#[derive(Default)]
struct Told {
    devices: BTreeMap<String, HardwareRow>,
    processes: BTreeMap<u32, ProcessHardware>,
    warnings: Vec<AgentWarning>,
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
        self.told(|told| told.devices.get(address).cloned())
    }

    /// Of the process with this pid, if anything is known.
    pub fn of_process(&self, pid: u32) -> Option<ProcessHardware> {
        self.told(|told| told.processes.get(&pid).copied())
    }

    /// What users should not overlook.
    pub fn warnings(&self) -> Vec<AgentWarning> {
        self.told(|told| told.warnings.clone())
    }

    fn told<T>(&self, pick: impl FnOnce(&Told) -> T) -> T {
        pick(&self.0.told.lock().unwrap_or_else(PoisonError::into_inner))
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
                    let news = match hardware.0.used.load(Relaxed) {
                        true => read(),
                        false => Told::default(),
                    };
                    let mut told = hardware
                        .0
                        .told
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    *told = news;
                }
            })?;
        Ok(HardwareReader { _stop: stop })
    }
}

fn read() -> Told {
    let libraries = platform::management().into_iter().flatten();
    let mut told = Told::default();
    for device in libraries.flat_map(|library| library.devices) {
        told.add_managed(device);
    }
    told.add(&platform::kernel(Path::new("/sys")));
    told
}

impl Told {
    /// Adds what a library says.
    fn add_managed(&mut self, device: ManagedDevice) {
        for process in &device.processes {
            let known = self.processes.entry(process.pid).or_default();
            known.memory_bytes = match (known.memory_bytes, process.memory) {
                (Some(on_others), Some(here)) => on_others.checked_add(here),
                (on_others, here) => on_others.or(here),
            };
        }
        if let Some(address) = device.address {
            self.devices.insert(address.to_string(), row(device));
        }
    }

    /// Adds what the kernel knows and the libraries did not say.
    fn add(&mut self, kernel: &KernelView) {
        for device in &kernel.devices {
            let address = device.address.to_string();
            if device.is_oversubscribed() {
                let (used, most) = (device.queues_used, device.queues.unwrap_or(0));
                self.warnings.push(AgentWarning {
                    code: "queues_oversubscribed".to_owned(),
                    text: format!(
                        "processes have {used} compute queues on {address}, which runs {most} at \
                         once: its driver takes turns between them whatever their class; stop \
                         some, or give them fewer streams"
                    ),
                });
            }
            let row = self.devices.entry(address).or_default();
            let now = &device.now;
            row.utilization = row.utilization.or(now.utilization);
            row.memory_bytes = row.memory_bytes.or(device.memory);
            row.memory_used_bytes = row.memory_used_bytes.or(now.memory_used);
            row.clock_hz = row.clock_hz.or(now.clock_hz);
            row.power_w = row.power_w.or(now.power_w);
            row.temperature_c = row.temperature_c.or(now.temperature_c);
            row.queues = device.queues;
            row.queues_used = Some(device.queues_used);
        }
        let processes = kernel.processes.iter();
        self.processes
            .extend(processes.map(|(pid, used)| (*pid, process(used))));
    }
}

fn process(used: &ProcessUse) -> ProcessHardware {
    let small = |n: Option<u64>| n.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    ProcessHardware {
        memory_bytes: used.memory,
        compute_units: small(used.compute_units),
        evicted_ns: used.evicted_ns.map(Nanos),
        queues: small(used.queues),
    }
}

fn row(device: ManagedDevice) -> HardwareRow {
    HardwareRow {
        name: device.name,
        utilization: device.now.utilization,
        memory_bytes: device.memory,
        memory_used_bytes: device.now.memory_used,
        clock_hz: device.now.clock_hz,
        power_w: device.now.power_w,
        temperature_c: device.now.temperature_c,
        queues: None,
        queues_used: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::units::PciAddress;
    use xsched_host::platform::{DeviceProcess, KernelDevice, Readings};

    #[test]
    fn memory_of_a_process_is_that_of_all_its_devices() {
        let mut told = Told::default();
        for (device, memory) in [(3, Some(1 << 30)), (4, Some(2 << 30)), (5, None)] {
            told.add_managed(ManagedDevice {
                name: None,
                address: Some(PciAddress {
                    domain: 0,
                    bus: 1,
                    device,
                    function: 0,
                    reserved: 0,
                }),
                memory: None,
                now: Readings::default(),
                processes: vec![DeviceProcess { pid: 4242, memory }],
            });
        }
        assert_eq!(told.devices.len(), 3);
        assert_eq!(told.processes[&4242].memory_bytes, Some(3 << 30));
    }

    #[test]
    fn the_kernel_fills_in_and_too_many_queues_are_a_warning() {
        let address = PciAddress {
            domain: 0,
            bus: 3,
            device: 0,
            function: 0,
            reserved: 0,
        };
        let used = ProcessUse {
            memory: Some(1 << 30),
            queues: Some(25),
            ..ProcessUse::default()
        };
        let view = KernelView {
            devices: vec![KernelDevice {
                address,
                memory: Some(192 << 30),
                now: Readings {
                    utilization: Some(0.2),
                    power_w: Some(400.0),
                    ..Readings::default()
                },
                queues: Some(24),
                queues_used: 25,
            }],
            processes: BTreeMap::from([(4242, used)]),
        };
        let from_library = HardwareRow {
            utilization: Some(0.9),
            ..HardwareRow::default()
        };
        let mut told = Told {
            devices: BTreeMap::from([(address.to_string(), from_library)]),
            ..Told::default()
        };
        told.add(&view);
        let device = &told.devices["0000:03:00.0"];
        assert_eq!(
            (device.utilization, device.power_w),
            (Some(0.9), Some(400.0))
        );
        assert_eq!((device.queues, device.clock_hz), (Some(24), None));
        assert_eq!(device.queues_used, Some(25));
        let process = told.processes[&4242];
        assert_eq!((process.queues, process.evicted_ns), (Some(25), None));
        let [warning] = told.warnings.as_slice() else {
            panic!("{:?}", told.warnings);
        };
        assert_eq!(warning.code, "queues_oversubscribed");
        assert!(warning.text.contains("25 compute queues on 0000:03:00.0"));
    }
}
