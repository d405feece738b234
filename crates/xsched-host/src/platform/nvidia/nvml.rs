//! NVIDIA's management library, as its header `nvml.h` describes it.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::super::library::{Library, text};
use super::super::{MOST, ManagedDevice, Management, PciAddress, Readings, Silent};

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
    let (utilization, clock, power, temperature) = unsafe {
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
            }),
            memory: (sized == 0).then_some(bytes.total),
            now: readings(of, (sized == 0).then_some(bytes.used)),
        }
    };
    Ok(Management {
        name: "NVML",
        // SAFETY: the length is the buffer's.
        driver: text(|to, size| unsafe { version(to, size as c_uint) }),
        devices: (0..devices.min(MOST)).map(device).collect(),
    })
}
