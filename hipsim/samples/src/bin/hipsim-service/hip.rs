//! The few HIP calls of the sample programs, declared here and resolved by the import library of build.rs.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::sync::OnceLock;

use hipsim_samples::service::{Gpu, LaunchChoice, Stream};

#[derive(Clone, Copy)]
#[repr(C)]
struct Dim3 {
    x: u32,
    y: u32,
    z: u32,
}

#[repr(C)]
struct FatBinaryWrapper {
    magic: u32,
    version: u32,
    binary: *const c_void,
    unused: *const c_void,
}

unsafe extern "C" {
    safe fn hipGetErrorName(error: c_int) -> *const c_char;
    fn hipInit(flags: c_uint) -> c_int;
    fn hipStreamCreate(stream: *mut *mut c_void) -> c_int;
    fn hipStreamSynchronize(stream: *mut c_void) -> c_int;
    fn hipModuleLoadData(module: *mut *mut c_void, image: *const c_void) -> c_int;
    fn hipModuleGetFunction(
        function: *mut *mut c_void,
        module: *mut c_void,
        name: *const c_char,
    ) -> c_int;
    fn hipModuleLaunchKernel(
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
    fn hipLaunchKernel(
        stub: *const c_void,
        grid: Dim3,
        block: Dim3,
        parameters: *mut *mut c_void,
        shared: usize,
        stream: *mut c_void,
    ) -> c_int;
    fn __hipRegisterFatBinary(wrapper: *const c_void) -> *mut c_void;
    fn __hipRegisterFunction(
        module: *mut c_void,
        stub: *const c_void,
        host_name: *const c_char,
        name: *const c_char,
        thread_limit: c_int,
        thread_id: *mut c_void,
        block_id: *mut c_void,
        block: *mut c_void,
        grid: *mut c_void,
        warp_size: *mut c_int,
    );
}

/// A HIP call that failed.
#[derive(Debug)]
pub struct Error {
    call: &'static str,
    code: c_int,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = hipGetErrorName(self.code);
        // SAFETY: the runtime returns a static C string for every code.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        write!(f, "{}: {name} ({})", self.call, self.code)
    }
}

impl std::error::Error for Error {}

fn check(call: &'static str, code: c_int) -> Result<(), Error> {
    if code == 0 {
        Ok(())
    } else {
        Err(Error { call, code })
    }
}

/// The initialised runtime.
pub struct Hip(());

/// A kernel and the way it is launched.
pub enum Kernel {
    /// By function handle.
    Module(*mut c_void),
    /// By the address of its host stub.
    Registered(*const c_void),
}

/// Image whose functions the simulator finds by any name.
const MODULE: &CStr = c"hipsim module";
/// The image of the kernels: the file that HIPSIM_CODE names, which a real runtime needs, or [`MODULE`].
fn image() -> *const c_void {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    let read = || {
        let file = std::env::var_os("HIPSIM_CODE")?;
        let image = std::fs::read(&file).unwrap_or_else(|error| {
            // Other kernels than those asked for would run.
            eprintln!("hipsim-service: HIPSIM_CODE: {}: {error}", file.display());
            std::process::exit(1)
        });
        Some(image)
    };
    let image = IMAGE.get_or_init(|| read().unwrap_or_else(|| MODULE.to_bytes_with_nul().to_vec()));
    image.as_ptr().cast()
}

/// Its address names the registered kernel.
static STUB: u8 = 0;

impl Hip {
    /// A kernel of a loaded module.
    ///
    /// # Errors
    /// The runtime's: a real one refuses the module unless HIPSIM_CODE names one with this kernel.
    fn module_kernel(&self, name: &CStr) -> Result<Kernel, Error> {
        let (mut module, mut function) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: C strings and locals for the results.
        unsafe {
            check(
                "hipModuleLoadData",
                hipModuleLoadData(&raw mut module, image()),
            )?;
            check(
                "hipModuleGetFunction",
                hipModuleGetFunction(&raw mut function, module, name.as_ptr()),
            )?;
        }
        Ok(Kernel::Module(function))
    }

    /// A kernel registered as hipcc's host code does it. Call it once: there is one host stub.
    fn registered_kernel(&self, name: &'static CStr) -> Kernel {
        let stub = (&raw const STUB).cast();
        let none = std::ptr::null_mut();
        // A fat binary stays until the process ends.
        let wrapper: &'static FatBinaryWrapper = Box::leak(Box::new(FatBinaryWrapper {
            magic: 0x4849_5046,
            version: 1,
            binary: image(),
            unused: std::ptr::null(),
        }));
        // SAFETY: static wrapper, name and stub; the other arguments may be null.
        unsafe {
            let module = __hipRegisterFatBinary(std::ptr::from_ref(wrapper).cast());
            let text = name.as_ptr();
            __hipRegisterFunction(
                module,
                stub,
                text,
                text,
                -1,
                none,
                none,
                none,
                none,
                std::ptr::null_mut(),
            );
        }
        Kernel::Registered(stub)
    }
}

impl Gpu for Hip {
    type Kernel = Kernel;
    type Error = Error;

    fn start() -> Result<Hip, Error> {
        // SAFETY: no pointers.
        check("hipInit", unsafe { hipInit(0) })?;
        Ok(Hip(()))
    }

    fn stream(&self) -> Result<Stream, Error> {
        let mut stream = std::ptr::null_mut();
        // SAFETY: a local for the result.
        check("hipStreamCreate", unsafe {
            hipStreamCreate(&raw mut stream)
        })?;
        Ok(stream)
    }

    fn kernel(&self, launch: LaunchChoice, name: &'static CStr) -> Result<Kernel, Error> {
        match launch {
            LaunchChoice::Module => self.module_kernel(name),
            LaunchChoice::Runtime => Ok(self.registered_kernel(name)),
        }
    }

    fn launch(
        &self,
        kernel: &Kernel,
        stream: Stream,
        parameters: &mut [*mut c_void],
    ) -> Result<(), Error> {
        let parameters = parameters.as_mut_ptr();
        let (grid, block) = (Dim3 { x: 1, y: 1, z: 1 }, Dim3 { x: 64, y: 1, z: 1 });
        // SAFETY: a kernel and a stream of the runtime; it reads the arguments before it returns.
        unsafe {
            match *kernel {
                Kernel::Module(function) => check(
                    "hipModuleLaunchKernel",
                    hipModuleLaunchKernel(
                        function,
                        1,
                        1,
                        1,
                        64,
                        1,
                        1,
                        0,
                        stream,
                        parameters,
                        std::ptr::null_mut(),
                    ),
                ),
                Kernel::Registered(stub) => check(
                    "hipLaunchKernel",
                    hipLaunchKernel(stub, grid, block, parameters, 0, stream),
                ),
            }
        }
    }

    fn synchronize(&self, stream: Stream) -> Result<(), Error> {
        // SAFETY: a stream of the runtime.
        check("hipStreamSynchronize", unsafe {
            hipStreamSynchronize(stream)
        })
    }
}
