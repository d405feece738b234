//! AMD's system management interface, as its header `rocm_smi.h` describes it.

use std::ffi::{c_char, c_int};

use super::library::{Library, text};
use super::{MOST, ManagedDevice, Management, PciAddress, Readings, Silent};

/// The file that ROCm's packages install. The name has no version: they keep
/// the link, and the functions here have been the same since ROCm 3.
pub const FILE: &str = "librocm_smi64.so";

/// `RSMI_MEM_TYPE_VRAM`.
const VRAM: c_int = 0;

/// `RSMI_TEMP_TYPE_JUNCTION`: the hottest place.
const JUNCTION: u32 = 1;

/// `RSMI_TEMP_CURRENT`.
const CURRENT: c_int = 0;

/// Asks the library in `file`.
pub fn read(file: &'static str) -> Result<Management, Silent> {
    let library = Library::open(file)?;
    // SAFETY: the types of rocm_smi.h, for these and all below.
    let (init, shutdown) = unsafe {
        (
            library.function::<unsafe extern "C" fn(u64) -> c_int>("rsmi_init")?,
            library.function::<unsafe extern "C" fn() -> c_int>("rsmi_shut_down")?,
        )
    };
    // SAFETY: zero is no flag.
    library.check("rsmi_init", unsafe { init(0) })?;
    let read = initialised(&library);
    // SAFETY: once for each successful init.
    unsafe { shutdown() };
    read
}

fn initialised(library: &Library) -> Result<Management, Silent> {
    type Text = unsafe extern "C" fn(u32, *mut c_char, usize) -> c_int;
    // SAFETY: see `read`.
    let (count, version, name, pci, memory) = unsafe {
        (
            library
                .function::<unsafe extern "C" fn(*mut u32) -> c_int>("rsmi_num_monitor_devices")?,
            library.function::<Text>("rsmi_version_str_get")?,
            library.function::<Text>("rsmi_dev_name_get")?,
            library
                .function::<unsafe extern "C" fn(u32, *mut u64) -> c_int>("rsmi_dev_pci_id_get")?,
            library.function::<unsafe extern "C" fn(u32, c_int, *mut u64) -> c_int>(
                "rsmi_dev_memory_total_get",
            )?,
        )
    };
    // What not every device or release tells.
    // SAFETY: see `read`.
    let (busy, used, power, temperature) = unsafe {
        (
            library.function::<unsafe extern "C" fn(u32, *mut u32) -> c_int>(
                "rsmi_dev_busy_percent_get",
            ),
            library.function::<unsafe extern "C" fn(u32, c_int, *mut u64) -> c_int>(
                "rsmi_dev_memory_usage_get",
            ),
            library.function::<unsafe extern "C" fn(u32, u32, *mut u64) -> c_int>(
                "rsmi_dev_power_ave_get",
            ),
            library.function::<unsafe extern "C" fn(u32, u32, c_int, *mut i64) -> c_int>(
                "rsmi_dev_temp_metric_get",
            ),
        )
    };
    let readings = |index| {
        let (mut percent, mut bytes, mut microwatts, mut millidegrees) = (0, 0, 0, 0);
        // SAFETY: each writes one number.
        let (shared, sized, powered, felt) = unsafe {
            (
                busy.as_ref().map(|get| get(index, &raw mut percent)),
                used.as_ref().map(|get| get(index, VRAM, &raw mut bytes)),
                power.as_ref().map(|get| get(index, 0, &raw mut microwatts)),
                temperature
                    .as_ref()
                    .map(|get| get(index, JUNCTION, CURRENT, &raw mut millidegrees)),
            )
        };
        let told = |code| code == Ok(0);
        Readings {
            utilization: told(shared).then(|| f64::from(percent.min(100)) / 100.0),
            memory_used: told(sized).then_some(bytes),
            // Behind a structure that differs between releases.
            clock_hz: None,
            power_w: told(powered).then(|| microwatts as f64 / 1e6),
            temperature_c: told(felt).then_some(millidegrees as f64 / 1e3),
        }
    };
    let mut devices = 0;
    // SAFETY: writes one number.
    library.check("rsmi_num_monitor_devices", unsafe {
        count(&raw mut devices)
    })?;
    let device = |index| {
        let (mut at, mut bytes) = (0, 0);
        // SAFETY: each writes one number.
        let (located, sized) =
            unsafe { (pci(index, &raw mut at), memory(index, VRAM, &raw mut bytes)) };
        ManagedDevice {
            // SAFETY: the length is the buffer's.
            name: text(|to, size| unsafe { name(index, to, size) }),
            address: (located == 0).then(|| address(at)),
            memory: (sized == 0).then_some(bytes),
            now: readings(index),
            // The kernel says it: see `amdgpu`.
            processes: Vec::new(),
        }
    };
    Ok(Management {
        name: "ROCm SMI",
        // SAFETY: component 0 is the driver; the length is the buffer's.
        driver: text(|to, size| unsafe { version(0, to, size) }),
        devices: (0..devices.min(MOST)).map(device).collect(),
    })
}

/// A `bdfid`: domain in the upper half; bus, device and function in the low
/// 16 bits.
fn address(bdfid: u64) -> PciAddress {
    PciAddress {
        domain: (bdfid >> 32) as u32,
        bus: (bdfid >> 8) as u8,
        device: (bdfid >> 3) as u8 & 31,
        function: bdfid as u8 & 7,
        reserved: 0,
    }
}
