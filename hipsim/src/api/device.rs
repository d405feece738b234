//! The device: how many, which, what it is like, and waiting for all of it.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use std::sync::atomic::Ordering;

use super::stream::PRIORITIES;
use super::support::{api, put};
use crate::abi::error::{HipError, Result};
use crate::abi::properties::{self as props, Description, PropertiesR0000, PropertiesR0600};
use crate::options;
use crate::runtime::devices::{self, DeviceIndex};
use crate::runtime::{self, Runtime};

/// Compute units of the device.
pub const COMPUTE_UNITS: c_int = 60;
const NAME: &CStr = c"hipsim";

/// PCI domain, bus and device: each device of the machine has a bus of its own.
fn pci(device: DeviceIndex) -> (c_int, c_int, c_int) {
    (0, 3 + device.place() as c_int, 0)
}

fn pci_name(device: DeviceIndex) -> CString {
    let (domain, bus, number) = pci(device);
    CString::new(format!("{domain:04x}:{bus:02x}:{number:02x}.0")).unwrap_or_default()
}

fn uuid_of(device: DeviceIndex) -> [u8; 16] {
    let mut uuid = *b"GPU-hipsim000001";
    uuid[15] += device.place() as u8;
    uuid
}

fn description(device: DeviceIndex) -> Description {
    Description {
        name: "hipsim",
        architecture: options::architecture(),
        memory: options::get().memory,
        compute_units: COMPUTE_UNITS,
        pci: pci(device),
        uuid: uuid_of(device),
    }
}

fn check(device: c_int) -> Result<DeviceIndex> {
    if devices::count() == 0 {
        return Err(HipError::NoDevice);
    }
    let device = DeviceIndex::new(device)?;
    runtime::get()?;
    Ok(device)
}

/// Answers a question about a device.
unsafe fn tell<T>(device: c_int, at: *mut T, value: impl FnOnce(DeviceIndex) -> T) -> Result {
    if at.is_null() {
        return Err(HipError::InvalidValue);
    }
    let device = check(device)?;
    // SAFETY: the program's pointer for the result.
    unsafe { put(at, value(device)) }
}

api! {
    fn init(flags: c_uint) {
        if flags == 0 {
            check(0).map(|_| ())
        } else {
            Err(HipError::InvalidValue)
        }
    }

    fn version(at: *mut c_int) { put(at, options::version()) }
    fn count(at: *mut c_int) { tell(0, at, |_| devices::count() as c_int) }
    fn current(at: *mut c_int) { tell(0, at, |_| DeviceIndex::current().number() as c_int) }

    fn set_current(device: c_int) {
        let device = check(device)?;
        runtime::on(device)?;
        device.make_current();
        Ok(())
    }

    fn set_valid(_devices: *const c_int, count: c_int) {
        if count >= 0 {
            check(0).map(|_| ())
        } else {
            Err(HipError::InvalidValue)
        }
    }

    fn by_ordinal(at: *mut c_int, ordinal: c_int) { tell(ordinal, at, |device| device.number() as c_int) }
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

api! {
    fn name(to: *mut c_char, room: c_int, device: c_int) {
        check(device).and_then(|_| copy_text(NAME, to, room))
    }

    fn pci_bus_id(to: *mut c_char, room: c_int, device: c_int) {
        check(device).and_then(|device| copy_text(&pci_name(device), to, room))
    }

    fn by_pci_bus_id(at: *mut c_int, id: *const c_char) {
        if id.is_null() {
            return Err(HipError::InvalidValue);
        }
        check(0)?;
        let id = CStr::from_ptr(id);
        let found = devices::all().find(|device| pci_name(*device).as_c_str() == id);
        let found = found.ok_or(HipError::InvalidValue)?;
        put(at, found.number() as c_int)
    }

    fn uuid(at: *mut [u8; 16], device: c_int) { tell(device, at, uuid_of) }
    fn total_memory(at: *mut usize, device: c_int) { tell(device, at, |_| options::get().memory as usize) }
}

/// Major and minor version of the processor.
fn processor_version() -> (c_int, c_int) {
    let version = options::architecture().version();
    version.map_or((0, 0), |(major, minor, _)| (major, minor))
}

api! {
    fn capability(major: *mut c_int, minor: *mut c_int, device: c_int) {
        check(device)?;
        let version = processor_version();
        put(major, version.0).and_then(|()| put(minor, version.1))
    }

    fn properties_r0000(at: *mut PropertiesR0000, device: c_int) {
        tell(device, at, |device| {
            PropertiesR0000::of(&description(device))
        })
    }

    fn properties_r0600(at: *mut PropertiesR0600, device: c_int) {
        tell(device, at, |device| {
            PropertiesR0600::of(&description(device))
        })
    }

    /// The devices are alike, so the first is as good as any.
    fn choose(at: *mut c_int, wanted: *const c_void) {
        if wanted.is_null() {
            return Err(HipError::InvalidValue);
        }
        tell(0, at, |_| 0)
    }

    fn attribute(at: *mut c_int, attribute: c_int, device: c_int) {
        let device = check(device)?;
        let value = attribute_value(device, attribute).ok_or(HipError::InvalidValue)?;
        put(at, value)
    }
}

/// Values of `hipDeviceAttribute_t`, by number; what the device does not have is 0.
fn attribute_value(device: DeviceIndex, attribute: c_int) -> Option<c_int> {
    Some(match attribute {
        2 => 2,
        5 => props::CLOCK_KHZ,
        19 => props::L2_BYTES,
        23 => processor_version().0,
        25 => props::THREADS_PER_UNIT / 64,
        26..=28 | 56 => 1024,
        29..=31 => props::MAX_GRID,
        55 => 1024,
        57 => props::THREADS_PER_UNIT,
        58 => c_int::MAX,
        59 => props::MEMORY_BUS_BITS,
        60 => props::MEMORY_CLOCK_KHZ,
        61 => processor_version().1,
        63 => COMPUTE_UNITS,
        67 => pci(device).1,
        68 => pci(device).2,
        69 => pci(device).0,
        71 | 72 => props::REGISTERS,
        74..=76 | 10_002 => props::SHARED_MEMORY as c_int,
        77 => 2,
        81 | 82 => 256,
        83 => 16 << 10,
        87 => options::architecture().wave(),
        // Present: host mapping, registered pointers, concurrent kernels, managed access, cooperative launches, overlap,
        // managed memory, priorities, unified addressing, memory pools, large BAR, value waits, fine grain.
        3 | 4 | 8..=12 | 24 | 78 | 85 | 88 | 10_011 | 10_013 | 10_016 => 1,
        10_000 => props::CLOCK_KHZ,
        10_003 => options::architecture().number(),
        10_015 => COMPUTE_UNITS,
        0..=199 | 10_000..=10_199 => 0,
        _ => return None,
    })
}

api! {
    fn synchronize() {
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
    }

    /// Streams and events of the program stay valid: the simulator only finishes their work.
    fn reset() {
        runtime::get()?.wait_all();
        Ok(())
    }

    fn flags(at: *mut c_uint) { tell(0, at, |_| 0) }

    fn priority_range(least: *mut c_int, greatest: *mut c_int) {
        check(0)?;
        let _ = put(least, PRIORITIES.1);
        let _ = put(greatest, PRIORITIES.0);
        Ok(())
    }

    fn limit(at: *mut usize, limit: c_int) {
        check(0)?;
        let value = match limit {
            0 => 1024,
            1 => 4 << 20,
            2 => 8 << 20,
            _ => return Err(HipError::UnsupportedLimit),
        };
        put(at, value)
    }

    fn set_limit(limit: c_int, _value: usize) {
        if (0..3).contains(&limit) {
            check(0).map(|_| ())
        } else {
            Err(HipError::UnsupportedLimit)
        }
    }

    fn config(at: *mut c_int) { tell(0, at, |_| 0) }

    fn can_access_peer(at: *mut c_int, device: c_int, peer: c_int) {
        let (device, peer) = (check(device)?, check(peer)?);
        put(at, c_int::from(device != peer))
    }
}

/// The runtime of the current device and the bit of a peer of it.
fn peer_bit(peer: c_int) -> Result<(&'static Runtime, u32)> {
    let peer = check(peer)?;
    let runtime = runtime::get()?;
    if peer == runtime.device {
        return Err(HipError::InvalidDevice);
    }
    Ok((runtime, 1 << peer.number()))
}

api! {
    fn enable_peer(peer: c_int, flags: c_uint) {
        let (runtime, bit) = peer_bit(peer)?;
        if flags != 0 {
            return Err(HipError::InvalidValue);
        }
        match runtime.peers.fetch_or(bit, Ordering::Relaxed) & bit {
            0 => Ok(()),
            _ => Err(HipError::PeerAccessAlreadyEnabled),
        }
    }

    fn disable_peer(peer: c_int) {
        let (runtime, bit) = peer_bit(peer)?;
        match runtime.peers.fetch_and(!bit, Ordering::Relaxed) & bit {
            0 => Err(HipError::PeerAccessNotEnabled),
            _ => Ok(()),
        }
    }
}
