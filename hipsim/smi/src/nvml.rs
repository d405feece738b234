//! NVIDIA's, as `nvml.h` describes it.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::readings::{self, Readings};
use super::{NAME, VERSION, write_text};

const SUCCESS: c_int = 0;
/// `NVML_ERROR_INVALID_ARGUMENT`.
const INVALID_ARGUMENT: c_int = 2;

/// `nvmlPciInfo_t`.
#[repr(C)]
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
struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

/// `nvmlUtilization_t`, percent.
#[repr(C)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// The place that a handle stands for: one more, since none is null.
fn place(handle: *mut c_void) -> Option<u32> {
    let place = (handle.addr() as u32).checked_sub(1)?;
    (place < readings::devices()).then_some(place)
}

/// Writes what a device says, if there is such a device.
///
/// # Safety
/// `to` is null or writable.
unsafe fn tell<T>(handle: *mut c_void, to: *mut T, value: impl FnOnce(u32) -> T) -> c_int {
    let Some(place) = place(handle).filter(|_| !to.is_null()) else {
        return INVALID_ARGUMENT;
    };
    // SAFETY: not null, so writable by the caller's promise.
    unsafe { to.write(value(place)) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, room: c_uint) -> c_int {
    // SAFETY: the ABI's: so many bytes.
    match unsafe { write_text(VERSION, to, room as usize) } {
        true => SUCCESS,
        false => INVALID_ARGUMENT,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> c_int {
    if count.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the ABI's: a place for a number.
    unsafe { count.write(readings::devices()) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, to: *mut *mut c_void) -> c_int {
    if index >= readings::devices() || to.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the ABI's: a place for a handle.
    unsafe { to.write(std::ptr::without_provenance_mut(index as usize + 1)) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(
    handle: *mut c_void,
    to: *mut c_char,
    room: c_uint,
) -> c_int {
    // SAFETY: the ABI's: so many bytes.
    match place(handle).is_some() && unsafe { write_text(NAME, to, room as usize) } {
        true => SUCCESS,
        false => INVALID_ARGUMENT,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(handle: *mut c_void, to: *mut PciInfo) -> c_int {
    let info = |place| PciInfo {
        bus_id_legacy: [0; 16],
        domain: 0,
        // As the simulated driver says it: a bus of its own each, from 3 on.
        bus: 3 + place,
        device: 0,
        pci_device_id: 0,
        pci_subsystem_id: 0,
        bus_id: [0; 32],
    };
    // SAFETY: the ABI's: a place for the structure; so for all below.
    unsafe { tell(handle, to, info) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo(handle: *mut c_void, to: *mut Memory) -> c_int {
    let memory = |place| {
        let (total, used) = (readings::memory(), Readings::of(place).memory_used);
        Memory {
            total,
            free: total - used.min(total),
            used,
        }
    };
    // SAFETY: see above.
    unsafe { tell(handle, to, memory) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUtilizationRates(
    handle: *mut c_void,
    to: *mut Utilization,
) -> c_int {
    let rates = |place| Utilization {
        gpu: (Readings::of(place).utilization * 100.0).round() as c_uint,
        memory: 0,
    };
    // SAFETY: see above.
    unsafe { tell(handle, to, rates) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetClockInfo(
    handle: *mut c_void,
    _kind: c_uint,
    to: *mut c_uint,
) -> c_int {
    // SAFETY: see above.
    unsafe { tell(handle, to, |place| Readings::of(place).clock() as c_uint) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPowerUsage(handle: *mut c_void, to: *mut c_uint) -> c_int {
    // SAFETY: see above. Milliwatts.
    unsafe {
        tell(handle, to, |place| {
            (Readings::of(place).power() * 1e3) as c_uint
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTemperature(
    handle: *mut c_void,
    _sensor: c_uint,
    to: *mut c_uint,
) -> c_int {
    // SAFETY: see above.
    unsafe {
        tell(handle, to, |place| {
            Readings::of(place).temperature() as c_uint
        })
    }
}
