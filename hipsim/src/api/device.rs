//! The device: how many, which, what it is like, and waiting for all of it.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::stream::PRIORITIES;
use super::support::{put, run};
use crate::abi::error::{HipError, Result};
use crate::abi::properties::{self as props, Description, PropertiesR0000, PropertiesR0600};
use crate::options;
use crate::runtime;

/// Compute units of the device.
pub const COMPUTE_UNITS: c_int = 60;
const NAME: &CStr = c"hipsim";
const PCI_BUS_ID: &CStr = c"0000:03:00.0";
const PCI: (c_int, c_int, c_int) = (0, 3, 0);
const UUID: [u8; 16] = *b"GPU-hipsim000001";

fn description() -> Description {
    Description {
        name: "hipsim",
        architecture: "gfx906:sramecc+:xnack-",
        memory: options::get().memory,
        compute_units: COMPUTE_UNITS,
        pci: PCI,
    }
}

/// There is one device, number 0.
fn check(device: c_int) -> Result {
    runtime::get()?;
    if device == 0 {
        Ok(())
    } else {
        Err(HipError::InvalidDevice)
    }
}

/// Answers a question about a device.
unsafe fn tell<T>(device: c_int, at: *mut T, value: impl FnOnce() -> T) -> i32 {
    run(|| {
        if at.is_null() {
            return Err(HipError::InvalidValue);
        }
        check(device)?;
        // SAFETY: the program's pointer for the result.
        unsafe { put(at, value()) }
    })
}

pub unsafe extern "C" fn init(flags: c_uint) -> i32 {
    run(|| {
        if flags == 0 {
            check(0)
        } else {
            Err(HipError::InvalidValue)
        }
    })
}

pub unsafe extern "C" fn version(at: *mut c_int) -> i32 {
    // SAFETY: the program's pointer for the result.
    run(|| unsafe { put(at, options::get().version) })
}

pub unsafe extern "C" fn count(at: *mut c_int) -> i32 {
    // SAFETY: as above.
    unsafe { tell(0, at, || 1) }
}

pub unsafe extern "C" fn current(at: *mut c_int) -> i32 {
    // SAFETY: as above.
    unsafe { tell(0, at, || 0) }
}

pub unsafe extern "C" fn set_current(device: c_int) -> i32 {
    run(|| check(device))
}

pub unsafe extern "C" fn set_valid(_devices: *const c_int, count: c_int) -> i32 {
    run(|| {
        if count >= 0 {
            check(0)
        } else {
            Err(HipError::InvalidValue)
        }
    })
}

pub unsafe extern "C" fn by_ordinal(at: *mut c_int, ordinal: c_int) -> i32 {
    // SAFETY: as above.
    unsafe { tell(ordinal, at, || 0) }
}

unsafe fn copy_text(text: &CStr, to: *mut c_char, room: c_int) -> Result {
    let Ok(room @ 1..) = usize::try_from(room) else {
        return Err(HipError::InvalidValue);
    };
    if to.is_null() {
        return Err(HipError::InvalidValue);
    }
    let length = text.to_bytes().len().min(room - 1);
    // SAFETY: the program's buffer of `room` bytes.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), to, length);
        to.add(length).write(0);
    }
    Ok(())
}

pub unsafe extern "C" fn name(to: *mut c_char, room: c_int, device: c_int) -> i32 {
    // SAFETY: the program's buffer.
    run(|| check(device).and_then(|()| unsafe { copy_text(NAME, to, room) }))
}

pub unsafe extern "C" fn pci_bus_id(to: *mut c_char, room: c_int, device: c_int) -> i32 {
    // SAFETY: the program's buffer.
    run(|| check(device).and_then(|()| unsafe { copy_text(PCI_BUS_ID, to, room) }))
}

pub unsafe extern "C" fn by_pci_bus_id(at: *mut c_int, id: *const c_char) -> i32 {
    run(|| {
        // SAFETY: null or a C string of the program.
        if id.is_null() || unsafe { CStr::from_ptr(id) } != PCI_BUS_ID {
            return Err(HipError::InvalidValue);
        }
        check(0)?;
        // SAFETY: as above.
        unsafe { put(at, 0) }
    })
}

pub unsafe extern "C" fn uuid(at: *mut [u8; 16], device: c_int) -> i32 {
    // SAFETY: as above.
    unsafe { tell(device, at, || UUID) }
}

pub unsafe extern "C" fn total_memory(at: *mut usize, device: c_int) -> i32 {
    // SAFETY: as above.
    unsafe { tell(device, at, || options::get().memory as usize) }
}

pub unsafe extern "C" fn capability(major: *mut c_int, minor: *mut c_int, device: c_int) -> i32 {
    // SAFETY: as above.
    run(|| check(device).and_then(|()| unsafe { put(major, 9).and_then(|()| put(minor, 0)) }))
}

pub unsafe extern "C" fn properties_r0000(at: *mut PropertiesR0000, device: c_int) -> i32 {
    // SAFETY: as above.
    unsafe { tell(device, at, || PropertiesR0000::of(&description())) }
}

pub unsafe extern "C" fn properties_r0600(at: *mut PropertiesR0600, device: c_int) -> i32 {
    // SAFETY: as above.
    unsafe { tell(device, at, || PropertiesR0600::of(&description())) }
}

/// Whatever is wished for, there is one device to choose.
pub unsafe extern "C" fn choose(at: *mut c_int, wanted: *const c_void) -> i32 {
    if wanted.is_null() {
        return run(|| Err(HipError::InvalidValue));
    }
    // SAFETY: as above.
    unsafe { tell(0, at, || 0) }
}

pub unsafe extern "C" fn attribute(at: *mut c_int, attribute: c_int, device: c_int) -> i32 {
    run(|| {
        check(device)?;
        let value = attribute_value(attribute).ok_or(HipError::InvalidValue)?;
        // SAFETY: as above.
        unsafe { put(at, value) }
    })
}

/// Values of `hipDeviceAttribute_t`, by number; what the device does not have is 0.
fn attribute_value(attribute: c_int) -> Option<c_int> {
    Some(match attribute {
        2 => 2,
        5 => props::CLOCK_KHZ,
        19 => props::L2_BYTES,
        23 => 9,
        25 => props::THREADS_PER_UNIT / 64,
        26..=28 | 56 => 1024,
        29..=31 => props::MAX_GRID,
        55 => 1024,
        57 => props::THREADS_PER_UNIT,
        58 => c_int::MAX,
        59 => props::MEMORY_BUS_BITS,
        60 => props::MEMORY_CLOCK_KHZ,
        63 => COMPUTE_UNITS,
        67 => PCI.1,
        68 => PCI.2,
        69 => PCI.0,
        71 | 72 => props::REGISTERS,
        74..=76 | 10_002 => props::SHARED_MEMORY as c_int,
        77 => 2,
        81 | 82 => 256,
        83 => 16 << 10,
        87 => props::WARP,
        // Present: host mapping, registered pointers, concurrent kernels, managed access, cooperative launches, overlap,
        // managed memory, priorities, unified addressing, memory pools, large BAR, value waits, fine grain.
        3 | 4 | 8..=12 | 24 | 78 | 85 | 88 | 10_011 | 10_013 | 10_016 => 1,
        10_000 => props::CLOCK_KHZ,
        10_003 => 906,
        10_015 => COMPUTE_UNITS,
        0..=199 | 10_000..=10_199 => 0,
        _ => return None,
    })
}

pub unsafe extern "C" fn synchronize() -> i32 {
    run(|| {
        let runtime = runtime::get()?;
        {
            let core = runtime.lock();
            let capturing = core
                .streams
                .iter()
                .find_map(|(id, stream)| stream.capture.map(|_| id));
            drop(core);
            if let Some(id) = capturing {
                return super::support::refuse_capture(runtime, id);
            }
        }
        runtime.wait_all();
        Ok(())
    })
}

/// Streams and events of the program stay valid: the simulator only finishes their work.
pub unsafe extern "C" fn reset() -> i32 {
    run(|| {
        runtime::get()?.wait_all();
        Ok(())
    })
}

pub unsafe extern "C" fn flags(at: *mut c_uint) -> i32 {
    // SAFETY: as above.
    unsafe { tell(0, at, || 0) }
}

pub unsafe extern "C" fn priority_range(least: *mut c_int, greatest: *mut c_int) -> i32 {
    run(|| {
        check(0)?;
        // SAFETY: as above; either may be null.
        unsafe {
            let _ = put(least, PRIORITIES.1);
            let _ = put(greatest, PRIORITIES.0);
        }
        Ok(())
    })
}

pub unsafe extern "C" fn limit(at: *mut usize, limit: c_int) -> i32 {
    run(|| {
        check(0)?;
        let value = match limit {
            0 => 1024,
            1 => 4 << 20,
            2 => 8 << 20,
            _ => return Err(HipError::UnsupportedLimit),
        };
        // SAFETY: as above.
        unsafe { put(at, value) }
    })
}

pub unsafe extern "C" fn set_limit(limit: c_int, _value: usize) -> i32 {
    run(|| {
        if (0..3).contains(&limit) {
            check(0)
        } else {
            Err(HipError::UnsupportedLimit)
        }
    })
}

pub unsafe extern "C" fn config(at: *mut c_int) -> i32 {
    // SAFETY: as above.
    unsafe { tell(0, at, || 0) }
}

pub unsafe extern "C" fn can_access_peer(at: *mut c_int, device: c_int, peer: c_int) -> i32 {
    run(|| {
        check(device)?;
        check(peer)?;
        // SAFETY: as above. A device is not its own peer.
        unsafe { put(at, 0) }
    })
}

pub unsafe extern "C" fn enable_peer(_peer: c_int, _flags: c_uint) -> i32 {
    run(|| Err(HipError::InvalidDevice))
}

pub unsafe extern "C" fn disable_peer(_peer: c_int) -> i32 {
    run(|| Err(HipError::PeerAccessNotEnabled))
}
