//! The few calls of CUDA's driver, declared here and resolved by the import library of build.rs.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt;

use hipsim_samples::service::{Gpu, LaunchChoice, Stream};

unsafe extern "C" {
    fn cuGetErrorName(error: c_int, name: *mut *const c_char) -> c_int;
    fn cuInit(flags: c_uint) -> c_int;
    fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, device: c_int) -> c_int;
    fn cuCtxSetCurrent(context: *mut c_void) -> c_int;
    fn cuStreamCreate(stream: *mut *mut c_void, flags: c_uint) -> c_int;
    fn cuStreamSynchronize(stream: *mut c_void) -> c_int;
    fn cuModuleLoadData(module: *mut *mut c_void, image: *const c_void) -> c_int;
    fn cuModuleGetFunction(
        function: *mut *mut c_void,
        module: *mut c_void,
        name: *const c_char,
    ) -> c_int;
    fn cuLaunchKernel(
        function: *mut c_void,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared: c_uint,
        stream: *mut c_void,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> c_int;
    fn cuLaunchKernelEx(
        config: *const LaunchConfig,
        function: *mut c_void,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> c_int;
}

/// `CUlaunchConfig`.
#[repr(C)]
struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    stream: *mut c_void,
    attributes: *const c_void,
    attribute_count: c_uint,
}

/// The samples' kernels, which a real driver compiles and the simulated one knows by name.
const KERNELS: &str = concat!(include_str!("../../../c/kernels.ptx"), "\0");

/// A call that failed.
#[derive(Debug)]
pub struct Error {
    call: &'static str,
    code: c_int,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = std::ptr::null();
        // SAFETY: a local for the result, which is a static C string or null.
        let name = unsafe {
            cuGetErrorName(self.code, &raw mut name);
            (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy())
        };
        let name = name.unwrap_or("unknown".into());
        write!(f, "{}: {name} ({})", self.call, self.code)
    }
}

impl std::error::Error for Error {}

fn check(call: &'static str, code: c_int) -> Result<(), Error> {
    match code {
        0 => Ok(()),
        code => Err(Error { call, code }),
    }
}

/// The initialised driver, with the first device's primary context current.
pub struct Cuda(());

/// A kernel and the way it is launched.
pub struct Kernel {
    function: *mut c_void,
    launch: LaunchChoice,
}

impl Gpu for Cuda {
    type Kernel = Kernel;
    type Error = Error;

    fn start() -> Result<Cuda, Error> {
        let mut context = std::ptr::null_mut();
        // SAFETY: a local for the result, and what it holds then.
        unsafe {
            check("cuInit", cuInit(0))?;
            check(
                "cuDevicePrimaryCtxRetain",
                cuDevicePrimaryCtxRetain(&raw mut context, 0),
            )?;
            check("cuCtxSetCurrent", cuCtxSetCurrent(context))?;
        }
        Ok(Cuda(()))
    }

    fn stream(&self) -> Result<Stream, Error> {
        let mut stream = std::ptr::null_mut();
        // SAFETY: a local for the result.
        check("cuStreamCreate", unsafe {
            cuStreamCreate(&raw mut stream, 0)
        })?;
        Ok(stream)
    }

    fn kernel(&self, launch: LaunchChoice, name: &'static CStr) -> Result<Kernel, Error> {
        let (mut module, mut function) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: C strings and locals for the results.
        unsafe {
            check(
                "cuModuleLoadData",
                cuModuleLoadData(&raw mut module, KERNELS.as_ptr().cast()),
            )?;
            check(
                "cuModuleGetFunction",
                cuModuleGetFunction(&raw mut function, module, name.as_ptr()),
            )?;
        }
        Ok(Kernel { function, launch })
    }

    fn launch(
        &self,
        kernel: &Kernel,
        stream: Stream,
        parameters: &mut [*mut c_void],
    ) -> Result<(), Error> {
        let (function, parameters) = (kernel.function, parameters.as_mut_ptr());
        let extra = std::ptr::null_mut();
        let config = LaunchConfig {
            grid: [1, 1, 1],
            block: [64, 1, 1],
            shared: 0,
            stream,
            attributes: std::ptr::null(),
            attribute_count: 0,
        };
        // SAFETY: a kernel and a stream of the driver; it reads the arguments before it returns.
        unsafe {
            match kernel.launch {
                LaunchChoice::Module => check(
                    "cuLaunchKernel",
                    cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, stream, parameters, extra),
                ),
                LaunchChoice::Runtime => check(
                    "cuLaunchKernelEx",
                    cuLaunchKernelEx(&raw const config, function, parameters, extra),
                ),
            }
        }
    }

    fn synchronize(&self, stream: Stream) -> Result<(), Error> {
        // SAFETY: a stream of the driver.
        check("cuStreamSynchronize", unsafe {
            cuStreamSynchronize(stream)
        })
    }
}
