//! The HIP calls of a replay, and the libraries that make some of them.

use std::ffi::{CStr, OsString, c_char, c_int, c_uint, c_void};
use std::fs;
use std::path::Path;

use libloading::Library;
use tempfile::TempDir;

unsafe extern "C" {
    safe fn hipGetErrorName(error: c_int) -> *const c_char;
    fn hipInit(flags: c_uint) -> c_int;
    fn hipStreamCreateWithFlags(stream: *mut *mut c_void, flags: c_uint) -> c_int;
    fn hipStreamSynchronize(stream: *mut c_void) -> c_int;
    fn hipEventCreateWithFlags(event: *mut *mut c_void, flags: c_uint) -> c_int;
    fn hipEventRecord(event: *mut c_void, stream: *mut c_void) -> c_int;
    fn hipEventSynchronize(event: *mut c_void) -> c_int;
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
}

const STREAM_NON_BLOCKING: c_uint = 1;
const EVENT_DISABLE_TIMING: c_uint = 2;

/// Image whose functions the simulator finds by any name; a real runtime needs
/// one with this kernel (HIPSIM_CODE).
const MODULE: &CStr = c"hipsim module";
const KERNEL: &CStr = c"hipsim_spin";

/// A copy of it is opened under each caller's name.
const CALLER: &str = "libhipsim_caller.so";

type LaunchThere = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut *mut c_void) -> c_int;

fn check(call: &str, code: c_int) -> Result<(), String> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the runtime returns a static C string for every code.
    let name = unsafe { CStr::from_ptr(hipGetErrorName(code)) }.to_string_lossy();
    Err(format!("{call}: {name} ({code})"))
}

/// A stream; the default one is null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(*mut c_void);

// SAFETY: handles of the runtime, which any thread may use.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    pub const DEFAULT: Stream = Stream(std::ptr::null_mut());

    pub fn created() -> Result<Stream, String> {
        let mut stream = std::ptr::null_mut();
        // SAFETY: a local for the result.
        let code = unsafe { hipStreamCreateWithFlags(&raw mut stream, STREAM_NON_BLOCKING) };
        check("hipStreamCreateWithFlags", code)?;
        Ok(Stream(stream))
    }

    pub fn synchronize(self) -> Result<(), String> {
        // SAFETY: a stream of the runtime.
        check("hipStreamSynchronize", unsafe {
            hipStreamSynchronize(self.0)
        })
    }
}

/// An event without a time.
#[derive(Debug)]
pub struct Event(*mut c_void);

impl Event {
    pub fn created() -> Result<Event, String> {
        let mut event = std::ptr::null_mut();
        // SAFETY: a local for the result.
        let code = unsafe { hipEventCreateWithFlags(&raw mut event, EVENT_DISABLE_TIMING) };
        check("hipEventCreateWithFlags", code)?;
        Ok(Event(event))
    }

    pub fn record(&self, stream: Stream) -> Result<(), String> {
        // SAFETY: an event and a stream of the runtime.
        check("hipEventRecord", unsafe {
            hipEventRecord(self.0, stream.0)
        })
    }

    pub fn synchronize(&self) -> Result<(), String> {
        // SAFETY: an event of the runtime.
        check("hipEventSynchronize", unsafe {
            hipEventSynchronize(self.0)
        })
    }
}

/// A kernel that takes as long as its argument says, and who launches it.
pub struct Kernel {
    function: *mut c_void,
    callers: Vec<(LaunchThere, Library)>,
    /// A folder that nobody else can write to, removed at the end.
    copies: TempDir,
}

// SAFETY: a handle and functions of libraries that stay; any thread may call.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Kernel {
    /// Loads it, and opens a library for each caller.
    pub fn load(callers: &[String]) -> Result<Kernel, String> {
        let image = match std::env::var_os("HIPSIM_CODE") {
            Some(file) => fs::read(&file)
                .map_err(|error| format!("HIPSIM_CODE: {}: {error}", file.display()))?,
            None => MODULE.to_bytes_with_nul().to_vec(),
        };
        // The runtime may read it as long as the module is loaded: for ever.
        let image: &'static [u8] = image.leak();
        let (mut module, mut function) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: C strings, a static image, and locals for the results.
        unsafe {
            check("hipInit", hipInit(0))?;
            check(
                "hipModuleLoadData",
                hipModuleLoadData(&raw mut module, image.as_ptr().cast()),
            )?;
            check(
                "hipModuleGetFunction",
                hipModuleGetFunction(&raw mut function, module, KERNEL.as_ptr()),
            )?;
        }
        // Code is loaded from it.
        let copies = tempfile::Builder::new().prefix("hipsim-replay-").tempdir();
        let copies = copies.map_err(|error| format!("no folder for libraries: {error}"))?;
        let mut kernel = Kernel {
            function,
            callers: Vec::new(),
            copies,
        };
        for name in callers {
            let caller = kernel.open(name);
            let caller = caller.map_err(|error| format!("cannot open a {name}: {error}"))?;
            kernel.callers.push(caller);
        }
        Ok(kernel)
    }

    fn open(&self, name: &str) -> Result<(LaunchThere, Library), String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let original = program.parent().unwrap_or(Path::new(".")).join(CALLER);
        let say = |error: std::io::Error| format!("{}: {error}", original.display());
        let copy = self.copies.path().join(name);
        fs::copy(&original, &copy).map_err(say)?;
        // SAFETY: a library of our own, which does nothing when it is opened.
        let library = unsafe { Library::new(OsString::from(copy)) };
        let library = library.map_err(|error| error.to_string())?;
        // SAFETY: the function has this type (c/caller.c).
        let launch = unsafe { library.get::<LaunchThere>(b"hipsim_caller_launch\0") };
        let launch = *launch.map_err(|error| error.to_string())?;
        Ok((launch, library))
    }

    /// Launches it for so long, from the program or from a caller.
    pub fn launch(&self, mut ns: u64, stream: Stream, caller: Option<u32>) -> Result<(), String> {
        let parameters = &mut [(&raw mut ns).cast::<c_void>()];
        let parameters = parameters.as_mut_ptr();
        let caller = caller.and_then(|at| self.callers.get(at as usize));
        // SAFETY: a kernel and a stream of the runtime; it reads the arguments
        // before it returns.
        let code = unsafe {
            match caller {
                Some((launch, _)) => launch(self.function, stream.0, parameters),
                None => hipModuleLaunchKernel(
                    self.function,
                    1,
                    1,
                    1,
                    64,
                    1,
                    1,
                    0,
                    stream.0,
                    parameters,
                    std::ptr::null_mut(),
                ),
            }
        };
        check("hipModuleLaunchKernel", code)
    }
}
