//! AMD's, as `rocm_smi.h` describes it.

use std::ffi::{c_char, c_int};

use super::readings::{self, Readings};
use super::{NAME, VERSION, write_text};

const SUCCESS: c_int = 0;
/// `RSMI_STATUS_INVALID_ARGS`.
const INVALID_ARGUMENTS: c_int = 1;
/// `RSMI_MEM_TYPE_VRAM`.
const VRAM: c_int = 0;
/// `RSMI_TEMP_CURRENT`.
const CURRENT: c_int = 0;

/// Writes what a device says, if there is such a device.
///
/// # Safety
/// `to` is null or writable.
unsafe fn tell<T>(index: u32, to: *mut T, value: impl FnOnce() -> T) -> c_int {
    if index >= readings::devices() || to.is_null() {
        return INVALID_ARGUMENTS;
    }
    // SAFETY: not null, so writable by the caller's promise.
    unsafe { to.write(value()) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn rsmi_init(_flags: u64) -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn rsmi_shut_down() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rsmi_num_monitor_devices(count: *mut u32) -> c_int {
    // SAFETY: the ABI's: a place for a number.
    unsafe { tell(0, count, readings::devices) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rsmi_version_str_get(
    _component: c_int,
    to: *mut c_char,
    room: usize,
) -> c_int {
    // SAFETY: the ABI's: so many bytes.
    match unsafe { write_text(VERSION, to, room) } {
        true => SUCCESS,
        false => INVALID_ARGUMENTS,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rsmi_dev_name_get(index: u32, to: *mut c_char, room: usize) -> c_int {
    // SAFETY: the ABI's: so many bytes.
    match index < readings::devices() && unsafe { write_text(NAME, to, room) } {
        true => SUCCESS,
        false => INVALID_ARGUMENTS,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rsmi_dev_pci_id_get(index: u32, to: *mut u64) -> c_int {
    // As hipsim says it: a bus of its own each, from 3 on.
    // SAFETY: the ABI's: a place for a number; so for all below.
    unsafe { tell(index, to, || u64::from(3 + index) << 8) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rsmi_dev_busy_percent_get(index: u32, to: *mut u32) -> c_int {
    // SAFETY: see above.
    unsafe {
        tell(index, to, || {
            (Readings::of(index).utilization * 100.0).round() as u32
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rsmi_dev_memory_total_get(index: u32, kind: c_int, to: *mut u64) -> c_int {
    match kind {
        // SAFETY: see above.
        VRAM => unsafe { tell(index, to, readings::memory) },
        _ => INVALID_ARGUMENTS,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rsmi_dev_memory_usage_get(index: u32, kind: c_int, to: *mut u64) -> c_int {
    match kind {
        // SAFETY: see above.
        VRAM => unsafe { tell(index, to, || Readings::of(index).memory_used) },
        _ => INVALID_ARGUMENTS,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rsmi_dev_power_ave_get(index: u32, _sensor: u32, to: *mut u64) -> c_int {
    // SAFETY: see above.
    unsafe { tell(index, to, || (Readings::of(index).power() * 1e6) as u64) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rsmi_dev_temp_metric_get(
    index: u32,
    _sensor: u32,
    metric: c_int,
    to: *mut i64,
) -> c_int {
    match metric {
        // SAFETY: see above.
        CURRENT => unsafe {
            tell(index, to, || {
                (Readings::of(index).temperature() * 1e3) as i64
            })
        },
        _ => INVALID_ARGUMENTS,
    }
}
