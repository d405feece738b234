//! NVIDIA's management library, as its header `nvml.h` describes it.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::library::{Library, text};
use super::{MOST, ManagedDevice, Management, PciAddress, Silent};

/// The file that the driver's packages install.
pub const FILE: &str = "libnvidia-ml.so.1";

type Handle = *mut c_void;

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
        }
    };
    Ok(Management {
        name: "NVML",
        // SAFETY: the length is the buffer's.
        driver: text(|to, size| unsafe { version(to, size as c_uint) }),
        devices: (0..devices.min(MOST)).map(device).collect(),
    })
}
