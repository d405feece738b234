//! The other ways to launch: with events, cooperative, several at once, by configuration, and the old `<<<>>>` protocol.

use std::cell::RefCell;
use std::ffi::{c_int, c_uint, c_void};
use std::mem::ManuallyDrop;

use super::launch::{
    Arguments, Launch, MAX_BLOCK, NO_EVENTS, by_handle, by_stub, launch_kernel, module_launch,
};
use super::support::{DefaultStream, api, put, run};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{
    Dim3, EventHandle, FunctionHandle, FunctionLaunchParams, LaunchConfig, LaunchParams,
    StreamHandle,
};

api! {
    fn ext_launch_kernel(
        stub: *const c_void, grid: Dim3, block: Dim3, values: *mut *mut c_void, _shared: usize,
        stream: StreamHandle, start: EventHandle, stop: EventHandle, _flags: c_int
    ) {
        let launch = Launch {
            kernel: by_stub(stub)?,
            grid,
            block,
            arguments: Arguments::values(values),
            stream,
            default: DefaultStream::Legacy,
            events: [start, stop],
        };
        launch.queue(HipError::InvalidConfiguration)
    }

    /// Takes its sizes in work items, not blocks. The older `hipHccModuleLaunchKernel` lacks the last argument and is served
    /// by the same body, which does not look at it.
    fn ext_module_launch(
        function: FunctionHandle, global_x: u32, global_y: u32, global_z: u32, local_x: u32, local_y: u32,
        local_z: u32, _shared: usize, stream: StreamHandle, values: *mut *mut c_void,
        extra: *mut *mut c_void, start: EventHandle, stop: EventHandle
    ) {
        let blocks = |global: u32, local: u32| {
            if local == 0 {
                0
            } else {
                global.div_ceil(local)
            }
        };
        let launch = Launch {
            kernel: by_handle(function)?,
            grid: Dim3 {
                x: blocks(global_x, local_x),
                y: blocks(global_y, local_y),
                z: blocks(global_z, local_z),
            },
            block: Dim3 {
                x: local_x,
                y: local_y,
                z: local_z,
            },
            arguments: Arguments::Parameters { values, extra },
            stream,
            default: DefaultStream::Legacy,
            events: [start, stop],
        };
        launch.queue(HipError::InvalidValue)
    }
}

/// More blocks than this cannot be on the device at once, which a cooperative launch demands.
const MAX_COOPERATIVE_BLOCKS: u64 = super::device::COMPUTE_UNITS as u64 * 2048 / MAX_BLOCK as u64;

fn check_cooperative(grid: Dim3, block: Dim3) -> Result {
    let blocks = u64::from(grid.x)
        .saturating_mul(u64::from(grid.y))
        .saturating_mul(u64::from(grid.z));
    let threads = u64::from(block.x)
        .saturating_mul(u64::from(block.y))
        .saturating_mul(u64::from(block.z))
        .max(1);
    let resident =
        MAX_COOPERATIVE_BLOCKS * u64::from(MAX_BLOCK) / threads.min(u64::from(MAX_BLOCK));
    if blocks > resident {
        Err(HipError::CooperativeLaunchTooLarge)
    } else {
        Ok(())
    }
}

/// A cooperative launch with the arguments of a plain one.
macro_rules! cooperative {
    ($name:ident, $plain:path) => {
        pub unsafe extern "C" fn $name(
            stub: *const c_void,
            grid: Dim3,
            block: Dim3,
            values: *mut *mut c_void,
            shared: c_uint,
            stream: StreamHandle,
        ) -> i32 {
            let checked = run(|| check_cooperative(grid, block));
            if checked != crate::abi::error::SUCCESS {
                return checked;
            }
            // SAFETY: the same arguments.
            unsafe { $plain(stub, grid, block, values, shared as usize, stream) }
        }
    };
}

cooperative!(cooperative_launch, launch_kernel);
cooperative!(cooperative_launch_spt, super::launch::launch_kernel_spt);

pub unsafe extern "C" fn module_cooperative_launch(
    function: FunctionHandle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    stream: StreamHandle,
    values: *mut *mut c_void,
) -> i32 {
    let extra = std::ptr::null_mut();
    // SAFETY: the same arguments.
    unsafe {
        module_launch(
            function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, values,
            extra,
        )
    }
}

api! {
    /// Both multi-device forms: one launch per entry.
    fn multi_device(launches: *const LaunchParams, count: c_int, _flags: c_uint) {
        if launches.is_null() || count <= 0 {
            return Err(HipError::InvalidValue);
        }
        for entry in std::slice::from_raw_parts(launches, count as usize) {
            let launch = Launch {
                kernel: by_stub(entry.function)?,
                grid: entry.grid,
                block: entry.block,
                arguments: Arguments::values(entry.arguments),
                stream: entry.stream,
                default: DefaultStream::Legacy,
                events: NO_EVENTS,
            };
            launch.queue(HipError::InvalidConfiguration)?;
        }
        Ok(())
    }

    fn module_multi_device(launches: *const FunctionLaunchParams, count: c_uint, _flags: c_uint) {
        if launches.is_null() || count == 0 {
            return Err(HipError::InvalidValue);
        }
        for entry in std::slice::from_raw_parts(launches, count as usize) {
            let launch = Launch {
                kernel: by_handle(entry.function)?,
                grid: entry.grid,
                block: entry.block,
                arguments: Arguments::values(entry.parameters),
                stream: entry.stream,
                default: DefaultStream::Legacy,
                events: NO_EVENTS,
            };
            launch.queue(HipError::InvalidValue)?;
        }
        Ok(())
    }
}

unsafe fn configured(
    config: *const LaunchConfig,
    kernel: impl FnOnce() -> Result<&'static crate::runtime::kernels::Kernel>,
    values: *mut *mut c_void,
    extra: *mut *mut c_void,
    bad_shape: HipError,
) -> Result {
    // SAFETY: the program's structure, null or valid.
    let config = unsafe { config.as_ref() }.ok_or(HipError::InvalidConfiguration)?;
    let launch = Launch {
        kernel: kernel()?,
        grid: config.grid,
        block: config.block,
        arguments: Arguments::Parameters { values, extra },
        stream: config.stream,
        default: DefaultStream::Legacy,
        events: NO_EVENTS,
    };
    // SAFETY: the program passes the arguments of this kernel.
    unsafe { launch.queue(bad_shape) }
}

pub unsafe extern "C" fn launch_configured(
    config: *const LaunchConfig,
    stub: *const c_void,
    values: *mut *mut c_void,
) -> i32 {
    let extra = std::ptr::null_mut();
    // SAFETY: the program's arguments.
    run(|| unsafe {
        configured(
            config,
            || by_stub(stub),
            values,
            extra,
            HipError::InvalidConfiguration,
        )
    })
}

api! {
    fn driver_launch_configured(
        config: *const LaunchConfig, function: FunctionHandle, values: *mut *mut c_void,
        extra: *mut *mut c_void
    ) {
        configured(
            config,
            || by_handle(function),
            values,
            extra,
            HipError::InvalidValue,
        )
    }

    /// `hip_impl::hipLaunchKernelGGLImpl`, of programs compiled by early compilers; dimensions by reference.
    fn launch_ggl(
        stub: *const c_void, grid: *const Dim3, block: *const Dim3, _shared: u32, stream: StreamHandle,
        extra: *mut *mut c_void
    ) {
        let (grid, block) = (grid.as_ref(), block.as_ref());
        let arguments = Arguments::Parameters {
            values: std::ptr::null_mut(),
            extra,
        };
        let launch = Launch {
            kernel: by_stub(stub)?,
            grid: *grid.ok_or(HipError::InvalidConfiguration)?,
            block: *block.ok_or(HipError::InvalidConfiguration)?,
            arguments,
            stream,
            default: DefaultStream::Legacy,
            events: NO_EVENTS,
        };
        launch.queue(HipError::InvalidConfiguration)
    }
}

/// A configuration pushed by `<<<>>>` and not used yet.
struct Pushed {
    grid: Dim3,
    block: Dim3,
    shared: usize,
    stream: StreamHandle,
    arguments: Vec<u8>,
}

thread_local! {
    /// Never dropped: destructors of static and thread-local objects may launch after any other has run.
    static PUSHED: RefCell<ManuallyDrop<Vec<Pushed>>> =
        const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// More nested configurations than this are an error of the program, not a need.
const MAX_PUSHED: usize = 64;
/// Most bytes of arguments of one kernel.
const MAX_ARGUMENTS: usize = 4096;

api! {
    fn push_configuration(grid: Dim3, block: Dim3, shared: usize, stream: StreamHandle) {
        PUSHED.with_borrow_mut(|pushed| {
            if pushed.len() >= MAX_PUSHED {
                return Err(HipError::InvalidConfiguration);
            }
            pushed.push(Pushed {
                grid,
                block,
                shared,
                stream,
                arguments: Vec::new(),
            });
            Ok(())
        })
    }

    fn pop_configuration(grid: *mut Dim3, block: *mut Dim3, shared: *mut usize, stream: *mut StreamHandle) {
        let pushed = PUSHED
            .with_borrow_mut(|pushed| pushed.pop())
            .ok_or(HipError::MissingConfiguration)?;
        put(grid, pushed.grid)?;
        put(block, pushed.block)?;
        put(shared, pushed.shared)?;
        put(stream, pushed.stream)
    }

    fn setup_argument(value: *const c_void, size: usize, offset: usize) {
        let end = offset
            .checked_add(size)
            .filter(|end| *end <= MAX_ARGUMENTS && !value.is_null());
        let end = end.ok_or(HipError::InvalidValue)?;
        PUSHED.with_borrow_mut(|pushed| {
            let arguments = &mut pushed
                .last_mut()
                .ok_or(HipError::MissingConfiguration)?
                .arguments;
            arguments.resize(arguments.len().max(end), 0);
            // SAFETY: the program passes `size` readable bytes; the buffer has room for them.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    value.cast(),
                    arguments.as_mut_ptr().add(offset),
                    size,
                )
            };
            Ok(())
        })
    }

    fn launch_by_pointer(stub: *const c_void) {
        let pushed = PUSHED
            .with_borrow_mut(|pushed| pushed.pop())
            .ok_or(HipError::MissingConfiguration)?;
        let launch = Launch {
            kernel: by_stub(stub)?,
            grid: pushed.grid,
            block: pushed.block,
            arguments: Arguments::Packed(pushed.arguments.as_ptr(), pushed.arguments.len()),
            stream: pushed.stream,
            default: DefaultStream::Legacy,
            events: NO_EVENTS,
        };
        launch.queue(HipError::InvalidConfiguration)
    }
}
