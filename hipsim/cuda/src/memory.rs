//! Copies and fills whose HIP forms differ, and questions about pointers.

use std::ffi::{c_int, c_uint, c_void};

use crate::code::{Code, Result};
use crate::support::{api, offer, put};
use crate::{context, hip};

type Handle = *mut c_void;

/// The direction is seen from the pointers.
const ANY: c_int = 4;
/// The calling thread's stream.
const PER_THREAD: Handle = 2 as Handle;

/// `hipPointerAttribute_t` since HIP 6.
#[repr(C)]
pub struct Attributes {
    memory_type: c_int,
    device: c_int,
    device_pointer: Handle,
    host_pointer: Handle,
    is_managed: c_int,
    flags: c_uint,
}

/// hipsim's memory types.
const HOST: c_int = 1;
const DEVICE: c_int = 2;
const MANAGED: c_int = 3;

fn attributes(pointer: Handle) -> Result<Attributes> {
    let mut found = std::mem::MaybeUninit::<Attributes>::zeroed();
    // SAFETY: room for the result, all of whose bit patterns are valid.
    let found = unsafe {
        hip::hipPointerGetAttributes(found.as_mut_ptr(), pointer)?;
        found.assume_init()
    };
    match found.memory_type {
        HOST..=MANAGED => Ok(found),
        _ => Err(Code::INVALID_VALUE),
    }
}

/// `CU_MEMORYTYPE_HOST`, `CU_MEMORYTYPE_DEVICE`: managed memory says that it is the device's.
fn memory_type(found: &Attributes) -> c_uint {
    if found.memory_type == HOST { 1 } else { 2 }
}

/// Writes the value of a `CUpointer_attribute`, of the size that it has.
unsafe fn tell(at: *mut c_void, attribute: c_int, pointer: Handle) -> Result {
    let found = attributes(pointer)?;
    // SAFETY: the program's room for a value of this attribute's type, for every arm.
    unsafe {
        match attribute {
            1 => put(at.cast(), context::primary(found.device)?),
            2 => put(at.cast(), memory_type(&found)),
            3 => put(at.cast(), found.device_pointer),
            4 if found.memory_type == DEVICE => Err(Code::INVALID_VALUE),
            4 => put(at.cast(), found.host_pointer),
            6 | 10 | 15 => put(at.cast(), 0u32),
            7 => put(at.cast(), found.device_pointer as u64),
            8 => put(at.cast(), u32::from(found.is_managed != 0)),
            9 => put(at.cast(), found.device),
            13 => put(at.cast(), 1u32),
            _ => Err(Code::NOT_SUPPORTED),
        }
    }
}

/// Bytes of an attribute's value.
fn width(attribute: c_int) -> usize {
    match attribute {
        1 | 3 | 4 | 7 | 11 | 12 | 14 | 17 => 8,
        _ => 4,
    }
}

fn device(of: Handle) -> Result<c_int> {
    context::device_number(of)
}

api! {
    fn copy(to: Handle, from: Handle, size: usize) { hip::hipMemcpy(to, from, size, ANY) }

    fn copy_async(to: Handle, from: Handle, size: usize, stream: Handle) {
        hip::hipMemcpyAsync(to, from, size, ANY, stream)
    }

    fn copy_peer(to: Handle, to_context: Handle, from: Handle, from_context: Handle, size: usize) {
        hip::hipMemcpyPeer(to, device(to_context)?, from, device(from_context)?, size)
    }

    fn copy_peer_async(
        to: Handle, to_context: Handle, from: Handle, from_context: Handle, size: usize,
        stream: Handle,
    ) {
        hip::hipMemcpyPeerAsync(to, device(to_context)?, from, device(from_context)?, size, stream)
    }

    fn copy_per_thread(to: Handle, from: Handle, size: usize) {
        hip::hipMemcpyWithStream(to, from, size, ANY, PER_THREAD)
    }

    fn copy_peer_per_thread(
        to: Handle, to_context: Handle, from: Handle, from_context: Handle, size: usize,
    ) {
        let (to_device, from_device) = (device(to_context)?, device(from_context)?);
        hip::hipMemcpyPeerAsync(to, to_device, from, from_device, size, PER_THREAD)?;
        hip::hipStreamSynchronize(PER_THREAD)
    }

    fn copy_2d_per_thread(params: *const c_void) {
        hip::hipMemcpyParam2DAsync(params, PER_THREAD)?;
        hip::hipStreamSynchronize(PER_THREAD)
    }

    fn copy_3d_per_thread(params: *const c_void) {
        hip::hipDrvMemcpy3DAsync(params, PER_THREAD)?;
        hip::hipStreamSynchronize(PER_THREAD)
    }

    fn set_8_per_thread(to: Handle, value: u8, count: usize) {
        hip::hipMemsetD8Async(to, value, count, PER_THREAD)
    }

    fn set_16_per_thread(to: Handle, value: u16, count: usize) {
        hip::hipMemsetD16Async(to, value, count, PER_THREAD)
    }

    fn set_32_per_thread(to: Handle, value: u32, count: usize) {
        hip::hipMemsetD32Async(to, value, count, PER_THREAD)
    }

    fn set_2d_8_per_thread(to: Handle, pitch: usize, value: u8, width: usize, rows: usize) {
        hip::hipMemsetD2D8Async(to, pitch, value, width, rows, PER_THREAD)
    }

    fn set_2d_16_per_thread(to: Handle, pitch: usize, value: u16, width: usize, rows: usize) {
        hip::hipMemsetD2D16Async(to, pitch, value, width, rows, PER_THREAD)
    }

    fn set_2d_32_per_thread(to: Handle, pitch: usize, value: u32, width: usize, rows: usize) {
        hip::hipMemsetD2D32Async(to, pitch, value, width, rows, PER_THREAD)
    }

    fn pointer_attribute(at: *mut c_void, attribute: c_int, pointer: Handle) {
        if at.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        tell(at, attribute, pointer)
    }

    /// What a pointer does not have is zero, also for memory that the driver does not know.
    fn pointer_attributes(
        count: c_uint, wanted: *const c_int, at: *const *mut c_void, pointer: Handle,
    ) {
        if wanted.is_null() || at.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        for index in 0..count as usize {
            let (attribute, at) = (*wanted.add(index), *at.add(index));
            if tell(at, attribute, pointer).is_err() {
                match (attribute, width(attribute)) {
                    // An ordinal that is no device's.
                    (9, _) => offer(at.cast(), -2),
                    (_, 8) => offer(at.cast(), 0u64),
                    _ => offer(at.cast(), 0u32),
                }
            }
        }
        Ok(())
    }
}
