//! Attributes of streams, pointers and pairs of devices.

use std::ffi::{c_int, c_uint, c_void};

use super::device::{COMPUTE_UNITS, disable_peer, enable_peer};
use super::memory::{NO_DEVICE, type_code};
use super::stream::PRIORITIES;
use super::support::{DefaultStream, api, put, run, stream};
use crate::abi::error::{HipError, Result};
use crate::abi::types::StreamHandle;
use crate::runtime;
use crate::runtime::command::Address;
use crate::runtime::devices::DeviceIndex;
use crate::runtime::memory::{self, Allocation, Kind};

/// `hipLaunchAttributeSynchronizationPolicy`, `hipLaunchAttributePriority`.
const SYNCHRONIZATION_POLICY: c_int = 3;
const PRIORITY: c_int = 8;
/// `hipSyncPolicyAuto`.
const POLICY_AUTO: c_int = 1;

api! {
    fn stream_get(of: StreamHandle, attribute: c_int, value: *mut c_int) {
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        let core = runtime.lock();
        let stream = core.streams.get(id)?;
        let found = match attribute {
            SYNCHRONIZATION_POLICY => POLICY_AUTO,
            PRIORITY => stream.priority,
            _ => return Err(HipError::InvalidValue),
        };
        put(value, found)
    }

    fn stream_set(of: StreamHandle, attribute: c_int, value: *const c_int) {
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        if value.is_null() {
            return Err(HipError::InvalidValue);
        }
        let value = value.read();
        let mut core = runtime.lock();
        let stream = core.streams.get_mut(id)?;
        match attribute {
            SYNCHRONIZATION_POLICY => Ok(()),
            PRIORITY => {
                stream.priority = value.clamp(PRIORITIES.0, PRIORITIES.1);
                Ok(())
            }
            _ => Err(HipError::InvalidValue),
        }
    }
}

/// Only the priority could differ.
pub unsafe extern "C" fn stream_copy(to: StreamHandle, from: StreamHandle) -> i32 {
    let mut priority = 0;
    // SAFETY: a local.
    match unsafe { stream_get(from, PRIORITY, &raw mut priority) } {
        // SAFETY: as above.
        crate::abi::error::SUCCESS => unsafe { stream_set(to, PRIORITY, &raw const priority) },
        failed => failed,
    }
}

api! {
    /// All compute units.
    fn stream_mask(of: StreamHandle, words: u32, mask: *mut u32) {
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        let known = runtime.lock().streams.get(id).is_ok();
        let needed = COMPUTE_UNITS.unsigned_abs().div_ceil(32);
        if !known || mask.is_null() || words < needed {
            return Err(HipError::InvalidValue);
        }
        for word in 0..words {
            let units = COMPUTE_UNITS
                .unsigned_abs()
                .saturating_sub(word * 32)
                .min(32);
            let bits = (1u64 << units) - 1;
            mask.add(word as usize).write(bits as u32);
        }
        Ok(())
    }
}

/// Stores one `hipPointer_attribute` of an allocation, or what stands for none.
///
/// The types are those of the real runtime (ROCm/clr, hip_memory.cpp, ihipPointerGetAttributes): RCCL passes a `bool` for
/// the three that are one, so more bytes would be written over its stack.
///
/// # Safety
/// `at` is null or valid for the attribute's type.
///
/// # Errors
/// `InvalidValue` for an attribute that is unknown here or that the memory does not have; the result is cleared for the
/// latter.
unsafe fn tell(
    at: *mut c_void,
    attribute: c_int,
    address: usize,
    of: Option<&Allocation>,
) -> Result {
    let on_host = of.is_some_and(|of| of.kind != Kind::Device);
    let has_it = if attribute == 4 {
        on_host
    } else {
        of.is_some()
    };
    let start = of.map_or(0, |of| of.start.0);
    let address = if has_it { address } else { 0 };
    // SAFETY: the caller's promise.
    unsafe {
        match attribute {
            2 => put(at.cast::<c_int>(), of.map_or(0, |of| type_code(of.kind))),
            3 | 4 => put(at.cast::<usize>(), address),
            6 => put(at.cast::<bool>(), false),
            7 => put(at.cast::<u64>(), start as u64),
            8 => put(
                at.cast::<bool>(),
                of.is_some_and(|of| of.kind == Kind::Managed),
            ),
            9 => put(
                at.cast::<c_int>(),
                of.map_or(NO_DEVICE, |of| of.device.number() as c_int),
            ),
            11 => put(at.cast::<usize>(), start),
            12 => put(at.cast::<usize>(), of.map_or(0, |of| of.size)),
            13 => put(at.cast::<bool>(), of.is_some()),
            _ => Err(HipError::InvalidValue),
        }?;
    }
    if has_it {
        Ok(())
    } else {
        Err(HipError::InvalidValue)
    }
}

api! {
    fn pointer_get(at: *mut c_void, attribute: c_int, of: *const c_void) {
        runtime::get()?;
        let found = memory::containing(Address::from(of));
        tell(at, attribute, of as usize, found.as_ref())
    }

    /// What cannot be told is no error.
    fn pointer_get_many(
        count: c_uint, attributes: *const c_int, results: *const *mut c_void, of: *const c_void
    ) {
        runtime::get()?;
        if count == 0 || attributes.is_null() || results.is_null() || of.is_null() {
            return Err(HipError::InvalidValue);
        }
        let found = memory::containing(Address::from(of));
        for i in 0..count as usize {
            // SAFETY: the program's arrays of `count` elements, and its pointers for the results.
            unsafe {
                let (attribute, at) = (attributes.add(i).read(), results.add(i).read());
                let _ = tell(at, attribute, of as usize, found.as_ref());
            }
        }
        Ok(())
    }

    /// `HIP_POINTER_ATTRIBUTE_SYNC_MEMOPS`, the only one that can be set, changes nothing here.
    fn pointer_set(value: *const c_void, attribute: c_int, of: *const c_void) {
        runtime::get()?;
        match memory::containing(Address::from(of)) {
            Some(_) if attribute == 6 && !value.is_null() => Ok(()),
            _ => Err(HipError::InvalidValue),
        }
    }
}

fn pair(one: c_int, other: c_int) -> Result {
    let (one, other) = (DeviceIndex::new(one)?, DeviceIndex::new(other)?);
    runtime::on(one)?;
    runtime::on(other)?;
    if one.number() == other.number() {
        return Err(HipError::InvalidDevice);
    }
    Ok(())
}

api! {
    /// Rank 0; access and atomics, no arrays.
    fn peer(at: *mut c_int, attribute: c_int, from: c_int, to: c_int) {
        pair(from, to)?;
        let value = match attribute {
            0 | 3 => 0,
            1 | 2 => 1,
            _ => return Err(HipError::InvalidValue),
        };
        put(at, value)
    }

    /// `HSA_AMD_LINK_INFO_TYPE_XGMI`, one hop.
    fn link(one: c_int, other: c_int, kind: *mut u32, hops: *mut u32) {
        pair(one, other)?;
        put(kind, 4).and_then(|()| put(hops, 1))
    }
}

pub unsafe extern "C" fn enable_context_peer(context: *mut c_void, flags: c_uint) -> i32 {
    match super::context::device_of(context) {
        // SAFETY: no pointers.
        Some(device) => unsafe { enable_peer(device.number() as c_int, flags) },
        None => run(|| Err(HipError::InvalidContext)),
    }
}

pub unsafe extern "C" fn disable_context_peer(context: *mut c_void) -> i32 {
    match super::context::device_of(context) {
        // SAFETY: no pointers.
        Some(device) => unsafe { disable_peer(device.number() as c_int) },
        None => run(|| Err(HipError::InvalidContext)),
    }
}
