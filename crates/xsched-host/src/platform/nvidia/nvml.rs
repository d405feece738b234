//! NVIDIA's management library, as its header `nvml.h` describes it.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::super::library::{Library, text};
use super::super::{DeviceProcess, MOST, ManagedDevice, Management, PciAddress, Readings, Silent};

/// The file that the driver's packages install.
pub const FILE: &str = "libnvidia-ml.so.1";

type Handle = *mut c_void;

/// `NVML_TEMPERATURE_GPU`.
const SENSOR_GPU: c_uint = 0;

/// `NVML_CLOCK_SM`: of the processors.
const CLOCK_SM: c_uint = 1;

/// `nvmlUtilization_t`, percent.
#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlPciInfo_t`.
#[repr(C)]
#[derive(Default)]
struct PciInfo {
    bus_id_legacy: [u8; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_subsystem_id: c_uint,
    bus_id: [u8; 32],
}

/// `nvmlMemory_t`, bytes.
#[repr(C)]
#[derive(Default)]
struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

/// `nvmlProcessInfo_t`, of the functions that end in `_v2` and `_v3`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ProcessInfo {
    pid: c_uint,
    used_memory: u64,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// `NVML_VALUE_NOT_AVAILABLE`.
const NOT_AVAILABLE: u64 = u64::MAX;

/// Processes of one device that are asked for.
const MOST_PROCESSES: usize = 1_024;

type Processes = unsafe extern "C" fn(Handle, *mut c_uint, *mut ProcessInfo) -> c_int;

/// Processes that compute on a device; none where it does not say, or has more
/// than are asked for.
fn processes(get: Processes, of: Handle) -> Vec<DeviceProcess> {
    let mut infos = vec![ProcessInfo::default(); MOST_PROCESSES];
    let mut count = MOST_PROCESSES as c_uint;
    // SAFETY: a handle from the library; it writes up to `count` structures, of
    // which there are as many.
    if unsafe { get(of, &raw mut count, infos.as_mut_ptr()) } != 0 {
        return Vec::new();
    }
    infos.truncate(count as usize);
    let told = |info: &ProcessInfo| DeviceProcess {
        pid: info.pid,
        memory: (info.used_memory != NOT_AVAILABLE).then_some(info.used_memory),
    };
    infos.iter().map(told).collect()
}

/// Asks the library in `file`.
pub fn read(file: &'static str) -> Result<Management, Silent> {
    let library = Library::open(file)?;
    // SAFETY: the types of nvml.h, for these and all below.
    let (init, shutdown) = unsafe {
        (
            library.function::<unsafe extern "C" fn() -> c_int>("nvmlInit_v2")?,
            library.function::<unsafe extern "C" fn() -> c_int>("nvmlShutdown")?,
        )
    };
    // SAFETY: has no preconditions.
    library.check("nvmlInit_v2", unsafe { init() })?;
    let read = initialised(&library);
    // SAFETY: once for each successful init.
    unsafe { shutdown() };
    read
}

fn initialised(library: &Library) -> Result<Management, Silent> {
    type Name = unsafe extern "C" fn(Handle, *mut c_char, c_uint) -> c_int;
    // SAFETY: see `read`.
    let (version, count, handle, name, pci, memory) = unsafe {
        (
            library.function::<unsafe extern "C" fn(*mut c_char, c_uint) -> c_int>(
                "nvmlSystemGetDriverVersion",
            )?,
            library
                .function::<unsafe extern "C" fn(*mut c_uint) -> c_int>("nvmlDeviceGetCount_v2")?,
            library.function::<unsafe extern "C" fn(c_uint, *mut Handle) -> c_int>(
                "nvmlDeviceGetHandleByIndex_v2",
            )?,
            library.function::<Name>("nvmlDeviceGetName")?,
            library.function::<unsafe extern "C" fn(Handle, *mut PciInfo) -> c_int>(
                "nvmlDeviceGetPciInfo_v3",
            )?,
            library.function::<unsafe extern "C" fn(Handle, *mut Memory) -> c_int>(
                "nvmlDeviceGetMemoryInfo",
            )?,
        )
    };
    // What not every device or release tells.
    type Numbers = unsafe extern "C" fn(Handle, *mut Utilization) -> c_int;
    // SAFETY: see `read`.
    let (utilization, clock, power, temperature, running) = unsafe {
        (
            library.function::<Numbers>("nvmlDeviceGetUtilizationRates"),
            library.function::<unsafe extern "C" fn(Handle, c_uint, *mut c_uint) -> c_int>(
                "nvmlDeviceGetClockInfo",
            ),
            library.function::<unsafe extern "C" fn(Handle, *mut c_uint) -> c_int>(
                "nvmlDeviceGetPowerUsage",
            ),
            library.function::<unsafe extern "C" fn(Handle, c_uint, *mut c_uint) -> c_int>(
                "nvmlDeviceGetTemperature",
            ),
            // The second is of drivers before 510.
            library
                .function::<Processes>("nvmlDeviceGetComputeRunningProcesses_v3")
                .or_else(|_| {
                    library.function::<Processes>("nvmlDeviceGetComputeRunningProcesses_v2")
                }),
        )
    };
    let readings = |of: Handle, used: Option<u64>| {
        let (mut share, mut megahertz) = (Utilization::default(), 0);
        let (mut milliwatts, mut celsius) = (0, 0);
        // SAFETY: a handle from the library; each writes what its header says.
        let (shared, clocked, powered, felt) = unsafe {
            (
                utilization.as_ref().map(|get| get(of, &raw mut share)),
                clock
                    .as_ref()
                    .map(|get| get(of, CLOCK_SM, &raw mut megahertz)),
                power.as_ref().map(|get| get(of, &raw mut milliwatts)),
                temperature
                    .as_ref()
                    .map(|get| get(of, SENSOR_GPU, &raw mut celsius)),
            )
        };
        let told = |code| code == Ok(0);
        Readings {
            utilization: told(shared).then(|| f64::from(share.gpu.min(100)) / 100.0),
            memory_used: used,
            clock_hz: told(clocked).then(|| u64::from(megahertz) * 1_000_000),
            power_w: told(powered).then(|| f64::from(milliwatts) / 1_000.0),
            temperature_c: told(felt).then(|| f64::from(celsius)),
        }
    };
    let mut devices = 0;
    // SAFETY: writes one number.
    library.check("nvmlDeviceGetCount_v2", unsafe { count(&raw mut devices) })?;
    let device = |index| {
        let mut of = std::ptr::null_mut();
        // SAFETY: writes one handle.
        if unsafe { handle(index, &raw mut of) } != 0 {
            // A device that is lost, or another user's: it is there.
            return ManagedDevice {
                name: None,
                address: None,
                memory: None,
                now: Readings::default(),
                processes: Vec::new(),
            };
        }
        let (mut at, mut bytes) = (PciInfo::default(), Memory::default());
        // SAFETY: a handle from the library, and structures of its header.
        let (located, sized) = unsafe { (pci(of, &raw mut at), memory(of, &raw mut bytes)) };
        ManagedDevice {
            // SAFETY: the length is the buffer's.
            name: text(|to, size| unsafe { name(of, to, size as c_uint) }),
            address: (located == 0).then_some(PciAddress {
                domain: at.domain,
                bus: at.bus as u8,
                device: at.device as u8,
                function: 0,
                reserved: 0,
            }),
            memory: (sized == 0).then_some(bytes.total),
            now: readings(of, (sized == 0).then_some(bytes.used)),
            processes: running
                .as_ref()
                .map_or_else(|_| Vec::new(), |get| processes(*get, of)),
        }
    };
    Ok(Management {
        name: "NVML",
        // SAFETY: the length is the buffer's.
        driver: text(|to, size| unsafe { version(to, size as c_uint) }),
        devices: (0..devices.min(MOST)).map(device).collect(),
    })
}
