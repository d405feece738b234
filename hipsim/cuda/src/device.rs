//! Initialisation, and what the device is like.

use std::ffi::{c_char, c_int, c_uint};

use crate::code::{Code, Result};
use crate::support::{api, put};
use crate::{exports, hip};

/// The version that the driver says it is of, unless this variable says another: as CUDA counts (12090 is 12.9).
const VERSION: c_int = 13050;
const VERSION_VARIABLE: &str = "HIPSIM_CUDA_VERSION";

/// CUDA's version of the driver that is simulated.
pub fn driver_version() -> c_int {
    static VERSIONS: std::sync::OnceLock<c_int> = std::sync::OnceLock::new();
    *VERSIONS.get_or_init(|| {
        let set = std::env::var(VERSION_VARIABLE).ok();
        set.and_then(|set| set.parse().ok()).unwrap_or(VERSION)
    })
}

const NAME: &[u8] = b"hipsim\0";
/// Compute capability: that of an H200.
const CAPABILITY: (c_int, c_int) = (9, 0);

/// What it sees of the machine. `MIG-` and an identifier name a part of the first device, which is then the only one.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// The identifier of the part of a device that the variable names.
fn instance(visible: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = visible
        .split(',')
        .next()?
        .trim()
        .strip_prefix("MIG-")?
        .bytes()
        .filter(|byte| *byte != b'-')
        .collect();
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    let mut uuid = [0; 16];
    for (at, byte) in uuid.iter_mut().enumerate() {
        *byte = (digit(2 * at)? << 4 | digit(2 * at + 1)?) as u8;
    }
    (digits.len() == 32).then_some(uuid)
}

fn checked(device: c_int) -> Result {
    let mut count = 0;
    // SAFETY: a local for the result.
    unsafe { hip::hipGetDeviceCount(&raw mut count) }?;
    if (0..count).contains(&device) {
        Ok(())
    } else {
        Err(Code::INVALID_DEVICE)
    }
}

api! {
    fn init(flags: c_uint) {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        exports::open()?;
        hip::hipInit(0)
    }

    fn version(at: *mut c_int) { put(at, driver_version()) }

    fn name(to: *mut c_char, room: c_int, device: c_int) {
        checked(device)?;
        let Ok(room @ 1..) = usize::try_from(room) else {
            return Err(Code::INVALID_VALUE);
        };
        if to.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let length = NAME.len().min(room);
        // SAFETY: the program's buffer of `room` bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(NAME.as_ptr().cast(), to, length);
            to.add(length - 1).write(0);
        }
        Ok(())
    }

    fn instance_uuid(at: *mut [u8; 16], device: c_int) {
        match std::env::var(VISIBLE).ok().as_deref().and_then(instance) {
            Some(uuid) => {
                checked(device)?;
                put(at, uuid)
            }
            None => hip::hipDeviceGetUuid(at, device),
        }
    }

    fn capability(major: *mut c_int, minor: *mut c_int, device: c_int) {
        checked(device)?;
        put(major, CAPABILITY.0)?;
        put(minor, CAPABILITY.1)
    }

    fn attribute(at: *mut c_int, attribute: c_int, device: c_int) {
        checked(device)?;
        put(at, value(attribute, device)?)
    }

    /// `CUdevprop`: fourteen words, of the first CUDA.
    fn properties(at: *mut [c_int; 14], device: c_int) {
        checked(device)?;
        put(at, [
            1024, 1024, 1024, 64, i32::MAX, 65535, 65535, 48 << 10, 64 << 10, 32, i32::MAX,
            65536, 1_980_000, 512,
        ])
    }
}

/// hipsim's numbers of what it knows of its own devices (`hipDeviceAttribute_t`): bus, device, domain, processors.
const HIP_PCI_BUS: c_int = 67;
const HIP_PCI_DEVICE: c_int = 68;
const HIP_PCI_DOMAIN: c_int = 69;
const HIP_PROCESSORS: c_int = 63;

/// How many processors a device has.
pub fn processors(device: c_int) -> Result<c_int> {
    checked(device)?;
    value(16, device)
}

/// PCI domain, bus and device.
pub fn pci(device: c_int) -> Result<[c_int; 3]> {
    Ok([value(50, device)?, value(33, device)?, value(34, device)?])
}

/// Values of `CUdevice_attribute`, by number; what the device does not have is 0.
fn value(attribute: c_int, device: c_int) -> Result<c_int> {
    let of_hipsim = |attribute| {
        let mut value = 0;
        // SAFETY: a local for the result.
        unsafe { hip::hipDeviceGetAttribute(&raw mut value, attribute, device) }?;
        Ok(value)
    };
    Ok(match attribute {
        // Threads per block; block and grid dimensions.
        1..=3 => 1024,
        4 => 64,
        5 => i32::MAX,
        6 | 7 => 65_535,
        // Shared and constant memory, warp, pitch, registers.
        8 => 48 << 10,
        9 => 64 << 10,
        10 => 32,
        11 => i32::MAX,
        12 | 82 => 65_536,
        13 => 1_980_000,
        14 | 30 => 512,
        // Overlap, host mapping, concurrent kernels.
        15 | 19 | 31 => 1,
        16 => of_hipsim(HIP_PROCESSORS)?,
        21..=29 | 42..=46 | 52..=74 | 77 => 16_384,
        33 => of_hipsim(HIP_PCI_BUS)?,
        34 => of_hipsim(HIP_PCI_DEVICE)?,
        36 => 3_201_000,
        37 => 6_144,
        38 => 60 << 20,
        39 => 2_048,
        40 => 3,
        // Unified addressing.
        41 => 1,
        50 => of_hipsim(HIP_PCI_DOMAIN)?,
        51 => 32,
        75 => CAPABILITY.0,
        76 => CAPABILITY.1,
        // Priorities, caches, managed memory.
        78..=80 | 83 => 1,
        81 => 228 << 10,
        87 => 2,
        // Concurrent managed access, compute preemption, registered pointers, value waits, cooperative launches.
        89..=96 => 1,
        97 => 227 << 10,
        99 => 1,
        106 => 32,
        111 => 1 << 10,
        // Memory pools, 64-bit values and "nor", events of several processes.
        115 | 122 | 123 | 125 => 1,
        126 => 1,
        0..=199 => 0,
        _ => return Err(Code::INVALID_VALUE),
    })
}
