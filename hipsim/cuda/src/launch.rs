//! Launches of kernels.

use std::ffi::{c_int, c_uint, c_void};

use crate::code::{Code, Result};
use crate::hip;
use crate::support::api;

type Handle = *mut c_void;

/// `CU_STREAM_PER_THREAD`.
const PER_THREAD: Handle = 2 as Handle;
/// The end of a list of `extra` words, which is zero here.
const HIP_END: usize = 3;

/// One launch.
#[derive(Clone, Copy)]
pub struct Launch {
    pub function: Handle,
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared: c_uint,
    pub stream: Handle,
    pub values: *mut Handle,
    pub extra: *mut Handle,
}

impl Launch {
    /// Hands it to the device.
    ///
    /// # Safety
    /// The arguments are what the kernel's signature demands.
    ///
    /// # Errors
    /// As `cuLaunchKernel`.
    pub unsafe fn queue(self) -> Result {
        let [x, y, z] = self.grid;
        let [bx, by, bz] = self.block;
        // SAFETY: the caller's promise.
        unsafe {
            let mut list = converted(self.extra)?;
            let extra = list
                .as_mut()
                .map_or(std::ptr::null_mut(), |list| list.as_mut_ptr());
            hip::hipModuleLaunchKernel(
                self.function,
                x,
                y,
                z,
                bx,
                by,
                bz,
                self.shared,
                self.stream,
                self.values,
                extra,
            )
        }
    }
}

/// A list of tags and values as hipsim takes it.
unsafe fn converted(extra: *mut Handle) -> Result<Option<[Handle; 5]>> {
    if extra.is_null() {
        return Ok(None);
    }
    let mut list = [HIP_END as Handle; 5];
    for pair in 0..3 {
        // SAFETY: the list goes on until its end tag.
        let tag = unsafe { *extra.add(2 * pair) };
        if tag.is_null() {
            return Ok(Some(list));
        }
        if pair == 2 {
            break;
        }
        list[2 * pair] = tag;
        // SAFETY: a tag is followed by a value.
        list[2 * pair + 1] = unsafe { *extra.add(2 * pair + 1) };
    }
    Err(Code::INVALID_VALUE)
}

/// `CUlaunchConfig`.
#[repr(C)]
pub struct Config {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    stream: Handle,
    attributes: *mut c_void,
    attribute_count: c_uint,
}

/// `CUDA_LAUNCH_PARAMS`.
#[repr(C)]
pub struct Params {
    function: Handle,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    stream: Handle,
    values: *mut Handle,
}

const _: () = assert!(std::mem::offset_of!(Config, stream) == 32);
const _: () = assert!(std::mem::offset_of!(Params, stream) == 40 && size_of::<Params>() == 56);

unsafe fn with_config(
    config: *const Config,
    function: Handle,
    values: *mut Handle,
    extra: *mut Handle,
    null_stream: Handle,
) -> Result {
    // SAFETY: the program's structure, null or valid.
    let config = unsafe { config.as_ref() }.ok_or(Code::INVALID_VALUE)?;
    let launch = Launch {
        function,
        grid: config.grid,
        block: config.block,
        shared: config.shared,
        stream: if config.stream.is_null() {
            null_stream
        } else {
            config.stream
        },
        values,
        extra,
    };
    // SAFETY: the program's arguments.
    unsafe { launch.queue() }
}

api! {
    fn kernel(
        function: Handle, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint,
        block_y: c_uint, block_z: c_uint, shared: c_uint, stream: Handle, values: *mut Handle,
        extra: *mut Handle,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        Launch { function, grid, block, shared, stream, values, extra }.queue()
    }

    fn configured(
        config: *const Config, function: Handle, values: *mut Handle, extra: *mut Handle,
    ) {
        with_config(config, function, values, extra, std::ptr::null_mut())
    }

    fn configured_per_thread(
        config: *const Config, function: Handle, values: *mut Handle, extra: *mut Handle,
    ) {
        with_config(config, function, values, extra, PER_THREAD)
    }

    fn cooperative(
        function: Handle, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint,
        block_y: c_uint, block_z: c_uint, shared: c_uint, stream: Handle, values: *mut Handle,
    ) {
        hip::hipModuleLaunchCooperativeKernel(
            function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, values,
        )
    }

    fn multi_device(list: *const Params, count: c_uint, _flags: c_uint) {
        if list.is_null() || count == 0 {
            return Err(Code::INVALID_VALUE);
        }
        for params in std::slice::from_raw_parts(list, count as usize) {
            let mut device: c_int = 0;
            hip::hipStreamGetDevice(params.stream, &raw mut device)?;
            let [x, y, z] = params.grid;
            let [bx, by, bz] = params.block;
            hip::hipModuleLaunchCooperativeKernel(
                params.function, x, y, z, bx, by, bz, params.shared, params.stream, params.values,
            )?;
        }
        Ok(())
    }
}
