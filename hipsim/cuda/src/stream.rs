//! Streams: what differs from HIP's.

use std::ffi::{c_int, c_uint, c_void};

use crate::code::Result;
use crate::support::{api, offer, put};
use crate::{context, hip};

type Handle = *mut c_void;

/// The stream's attributes have no effect here, and their values are zero.
const ATTRIBUTE_SIZE: usize = 64;
const GLOBAL: c_int = 0;

unsafe fn checked(stream: Handle) -> Result {
    let mut flags = 0;
    // SAFETY: a local for the result.
    unsafe { hip::hipStreamGetFlags(stream, &raw mut flags) }
}

api! {
    fn context(stream: Handle, at: *mut Handle) {
        if (stream as usize) <= 2 {
            return put(at, context::required()?);
        }
        let mut device: c_int = 0;
        hip::hipStreamGetDevice(stream, &raw mut device)?;
        put(at, context::primary(device)?)
    }

    fn wait_32(stream: Handle, at: Handle, value: u32, flags: c_uint) {
        hip::hipStreamWaitValue32(stream, at, value, flags, u32::MAX)
    }

    fn wait_64(stream: Handle, at: Handle, value: u64, flags: c_uint) {
        hip::hipStreamWaitValue64(stream, at, value, flags, u64::MAX)
    }

    /// As of CUDA 10.0: always the global mode.
    fn begin_capture(stream: Handle) { hip::hipStreamBeginCapture(stream, GLOBAL) }

    fn capture_info_v3(
        stream: Handle, status: *mut c_int, id: *mut u64, graph: *mut Handle,
        dependencies: *mut *const Handle, edges: *mut *const c_void, count: *mut usize,
    ) {
        offer(edges, std::ptr::null());
        hip::hipStreamGetCaptureInfo_v2(stream, status, id, graph, dependencies, count)
    }

    fn update_dependencies_v2(
        stream: Handle, nodes: *const Handle, _edges: *const c_void, count: usize, flags: c_uint,
    ) {
        hip::hipStreamUpdateCaptureDependencies(stream, nodes, count, flags)
    }

    fn get_attribute(stream: Handle, _attribute: c_int, at: *mut [u8; ATTRIBUTE_SIZE]) {
        checked(stream)?;
        put(at, [0; ATTRIBUTE_SIZE])
    }

    fn set_attribute(stream: Handle, _attribute: c_int, _value: *const c_void) { checked(stream) }

    fn copy_attributes(to: Handle, from: Handle) {
        checked(to)?;
        checked(from)
    }
}
