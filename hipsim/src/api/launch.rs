//! Launching a kernel: what all forms have in common, and the two that carry nearly all launches.

use std::ffi::{c_uint, c_void};

use simdevice::known::{Known, KnownCall};

use super::event::record_event;
use super::support::{DefaultStream, api, submit};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{Dim3, EventHandle, FunctionHandle, StreamHandle};
use crate::runtime;
use crate::runtime::command::Command;
use crate::runtime::kernels::{self, Code, Kernel};

/// Most threads of a block.
pub const MAX_BLOCK: u32 = 1024;

/// `extra` of `hipModuleLaunchKernel`: tags before the packed buffer and its size, and after the last pair.
const BUFFER_POINTER: usize = 1;
const BUFFER_SIZE: usize = 2;
const BUFFER_END: usize = 3;

/// How the arguments are passed.
#[derive(Clone, Copy)]
pub enum Arguments {
    /// An array of pointers to values, or a tagged list around a packed buffer; either may be null.
    Parameters {
        values: *mut *mut c_void,
        extra: *mut *mut c_void,
    },
    /// A packed buffer.
    Packed(*const u8, usize),
}

impl Arguments {
    /// Only an array of pointers.
    pub fn values(values: *mut *mut c_void) -> Self {
        Self::Parameters {
            values,
            extra: std::ptr::null_mut(),
        }
    }
}

/// One launch.
pub struct Launch {
    pub kernel: &'static Kernel,
    pub grid: Dim3,
    pub block: Dim3,
    pub arguments: Arguments,
    pub stream: StreamHandle,
    pub default: DefaultStream,
    /// Recorded before and after; null for none.
    pub events: [EventHandle; 2],
}

/// No events.
pub const NO_EVENTS: [EventHandle; 2] = [std::ptr::null_mut(); 2];

impl Launch {
    /// Checks and queues it; `bad_shape` is the answer to impossible dimensions, which differs between the forms.
    ///
    /// # Safety
    /// The arguments are what the kernel's signature demands.
    ///
    /// # Errors
    /// Impossible dimensions, no such stream or event.
    pub unsafe fn queue(self, bad_shape: HipError) -> Result {
        // SAFETY: the caller's promise.
        let command = unsafe { self.command(bad_shape) }?;
        let [start, stop] = self.events;
        if !start.is_null() {
            record_event(start, self.stream, self.default)?;
        }
        submit(self.stream, self.default, &command)?;
        if !stop.is_null() {
            record_event(stop, self.stream, self.default)?;
        }
        Ok(())
    }

    /// Checks it and copies its arguments.
    ///
    /// # Safety
    /// As [`Self::queue`].
    ///
    /// # Errors
    /// Impossible dimensions or missing arguments.
    pub unsafe fn command(&self, bad_shape: HipError) -> Result<Command> {
        let empty = |size: Dim3| size.x == 0 || size.y == 0 || size.z == 0;
        let threads = u64::from(self.block.x) * u64::from(self.block.y) * u64::from(self.block.z);
        if empty(self.grid) || empty(self.block) || threads > u64::from(MAX_BLOCK) {
            return Err(bad_shape);
        }
        let call = match self.kernel.known {
            // SAFETY: the caller's promise.
            Some(known) => Some(unsafe { read_arguments(known, self.arguments) }?),
            None => None,
        };
        let service = call
            .and_then(|call| call.requested_time())
            .unwrap_or(self.kernel.service);
        Ok(Command::Kernel {
            service,
            effect: call.filter(KnownCall::has_effect),
        })
    }
}

unsafe fn read_arguments(kernel: Known, arguments: Arguments) -> Result<KnownCall> {
    // SAFETY: the caller's promise, for every branch.
    let call = unsafe {
        match arguments {
            Arguments::Parameters { values, .. } if !values.is_null() => {
                kernel.call_with_parameters(values)
            }
            Arguments::Parameters { extra, .. } => {
                packed(extra).and_then(|buffer| kernel.call_with_buffer(buffer))
            }
            Arguments::Packed(start, size) => {
                kernel.call_with_buffer(std::slice::from_raw_parts(start, size))
            }
        }
    };
    call.ok_or(HipError::InvalidValue)
}

/// The packed buffer of a tagged list.
unsafe fn packed<'a>(extra: *mut *mut c_void) -> Option<&'a [u8]> {
    if extra.is_null() {
        return None;
    }
    let (mut start, mut size) = (std::ptr::null::<u8>(), None);
    // A list has two pairs; more is no list.
    for pair in 0..4 {
        // SAFETY: the list goes on until its end tag.
        let (tag, value) = unsafe { (*extra.add(2 * pair) as usize, extra.add(2 * pair + 1)) };
        match tag {
            // SAFETY: these tags are followed by a value.
            BUFFER_POINTER => start = unsafe { *value }.cast(),
            // SAFETY: as above; this one points to the size.
            BUFFER_SIZE => size = unsafe { (*value).cast::<usize>().as_ref() }.copied(),
            BUFFER_END => break,
            _ => return None,
        }
    }
    // SAFETY: the program's buffer of that size.
    size.filter(|_| !start.is_null())
        .map(|size| unsafe { std::slice::from_raw_parts(start, size) })
}

/// The kernel behind a host stub.
///
/// # Errors
/// No device, nothing was registered at that address, or nothing that the device runs.
pub fn by_stub(stub: *const c_void) -> Result<&'static Kernel> {
    runtime::get()?;
    let kernel = kernels::find(stub).ok_or(HipError::InvalidDeviceFunction)?;
    match kernel.code {
        Code::Runs => Ok(kernel),
        Code::Other => Err(HipError::NoBinaryForGpu),
    }
}

/// The kernel behind a function handle.
///
/// # Errors
/// No device, or no such function.
pub fn by_handle(function: FunctionHandle) -> Result<&'static Kernel> {
    runtime::get()?;
    kernels::find(function).ok_or(HipError::InvalidHandle)
}

unsafe fn launch_stub(
    stub: *const c_void,
    grid: Dim3,
    block: Dim3,
    values: *mut *mut c_void,
    stream: StreamHandle,
    default: DefaultStream,
) -> Result {
    let kernel = by_stub(stub)?;
    let arguments = Arguments::values(values);
    let launch = Launch {
        kernel,
        grid,
        block,
        arguments,
        stream,
        default,
        events: NO_EVENTS,
    };
    // SAFETY: the program passes the arguments of this kernel.
    unsafe { launch.queue(HipError::InvalidConfiguration) }
}

api! {
    fn launch_kernel(
        stub: *const c_void, grid: Dim3, block: Dim3, values: *mut *mut c_void, _shared: usize,
        stream: StreamHandle
    ) {
        launch_stub(stub, grid, block, values, stream, DefaultStream::Legacy)
    }

    fn launch_kernel_spt(
        stub: *const c_void, grid: Dim3, block: Dim3, values: *mut *mut c_void, _shared: usize,
        stream: StreamHandle
    ) {
        launch_stub(stub, grid, block, values, stream, DefaultStream::PerThread)
    }

    fn module_launch(
        function: FunctionHandle, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint,
        block_y: c_uint, block_z: c_uint, _shared: c_uint, stream: StreamHandle, values: *mut *mut c_void,
        extra: *mut *mut c_void
    ) {
        let launch = Launch {
            kernel: by_handle(function)?,
            grid: Dim3 {
                x: grid_x,
                y: grid_y,
                z: grid_z,
            },
            block: Dim3 {
                x: block_x,
                y: block_y,
                z: block_z,
            },
            arguments: Arguments::Parameters { values, extra },
            stream,
            default: DefaultStream::Legacy,
            events: NO_EVENTS,
        };
        launch.queue(HipError::InvalidValue)
    }
}
