//! hipsim's library: where it is, and its functions with their prototypes.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::OnceLock;

use crate::code::{Code, Result};

/// Its file name, beside this library's.
pub const FILE: &str = "libhipsim.so";

static LIBRARY: OnceLock<usize> = OnceLock::new();

/// Opens it, once.
///
/// # Errors
/// `NO_DEVICE` when it is not there.
pub fn open() -> Result {
    let handle = *LIBRARY.get_or_init(|| {
        let found = own_path().and_then(|own| {
            let path = Path::new(own.to_str().ok()?).with_file_name(FILE);
            CString::new(path.as_os_str().as_bytes()).ok()
        });
        let Some(path) = found else { return 0 };
        // SAFETY: a C string. Its names are not for others: a HIP program beside us has its own runtime.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            eprintln!(
                "cudasim: cannot open {}: install both with `cudasim::install`",
                path.to_string_lossy()
            );
        }
        handle as usize
    });
    if handle == 0 {
        Err(Code::NO_DEVICE)
    } else {
        Ok(())
    }
}

fn own_path() -> Option<&'static CStr> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: an address of this library, and room for the answer.
    let found = unsafe { libc::dladdr(own_path as *const c_void, info.as_mut_ptr()) };
    // SAFETY: zeroed or filled in.
    let info = unsafe { info.assume_init() };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the linker's string of a library that stays.
    Some(unsafe { CStr::from_ptr(info.dli_fname) })
}

/// The address of a function of hipsim's; `None` before [`open`].
pub fn address(name: &CStr) -> Option<usize> {
    let handle = *LIBRARY.get()?;
    if handle == 0 {
        return None;
    }
    // SAFETY: the library stays open.
    let found = unsafe { libc::dlsym(handle as *mut c_void, name.as_ptr()) };
    (!found.is_null()).then_some(found as usize)
}

/// Declares functions of hipsim's; each is looked up on first use and gives a code.
macro_rules! hip {
    ($(fn $name:ident($($argument:ident: $type:ty),*);)+) => {$(
        /// See hipsim.
        ///
        /// # Safety
        /// As the HIP API demands.
        #[allow(non_snake_case, clippy::too_many_arguments, reason = "HIP's")]
        pub unsafe fn $name($($argument: $type),*) -> Result {
            static ADDRESS: OnceLock<Option<usize>> = OnceLock::new();
            let name = concat!(stringify!($name), "\0");
            let address = ADDRESS.get_or_init(|| {
                address(CStr::from_bytes_with_nul(name.as_bytes()).ok()?)
            });
            let address = address.ok_or(Code::NOT_INITIALIZED)?;
            // SAFETY: hipsim's function of this name has this prototype; the arguments are the caller's.
            let code = unsafe {
                let function: unsafe extern "C" fn($($type),*) -> c_int =
                    std::mem::transmute(address);
                function($($argument),*)
            };
            crate::code::of(code)
        }
    )+};
}

type Pointer = *mut c_void;

/// `hipKernelNodeParams`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct GraphKernel {
    /// Threads of a block.
    pub block: [c_uint; 3],
    /// Parameters in one piece.
    pub extra: *mut Pointer,
    /// What runs.
    pub function: Pointer,
    /// Blocks.
    pub grid: [c_uint; 3],
    /// Parameters.
    pub values: *mut Pointer,
    /// Bytes of shared memory.
    pub shared: c_uint,
}

/// `hipMemsetParams`.
#[repr(C)]
pub struct GraphMemset {
    /// Where.
    pub target: Pointer,
    /// Bytes of one.
    pub element_size: c_uint,
    /// Rows.
    pub height: usize,
    /// Bytes from row to row.
    pub pitch: usize,
    /// What.
    pub value: c_uint,
    /// How many in a row.
    pub width: usize,
}

hip! {
    fn hipInit(flags: c_uint);
    fn hipGetDeviceCount(count: *mut c_int);
    fn hipSetDevice(device: c_int);
    fn hipDeviceSynchronize();
    fn hipDeviceGetAttribute(at: *mut c_int, attribute: c_int, device: c_int);
    fn hipStreamCreateWithPriority(at: *mut Pointer, flags: c_uint, priority: c_int);
    fn hipDeviceGetUuid(at: *mut [u8; 16], device: c_int);
    fn hipDeviceEnablePeerAccess(device: c_int, flags: c_uint);
    fn hipDeviceDisablePeerAccess(device: c_int);
    fn hipDeviceGetLimit(at: *mut usize, limit: c_int);
    fn hipDeviceGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int);
    fn hipStreamGetDevice(stream: Pointer, device: *mut c_int);
    fn hipStreamWaitValue32(stream: Pointer, at: Pointer, value: u32, flags: c_uint, mask: u32);
    fn hipStreamWaitValue64(stream: Pointer, at: Pointer, value: u64, flags: c_uint, mask: u64);
    fn hipStreamBeginCapture(stream: Pointer, mode: c_int);
    fn hipStreamGetCaptureInfo_v2(
        stream: Pointer, status: *mut c_int, id: *mut u64, graph: *mut Pointer,
        dependencies: *mut *const Pointer, count: *mut usize
    );
    fn hipStreamUpdateCaptureDependencies(
        stream: Pointer, nodes: *const Pointer, count: usize, flags: c_uint
    );
    fn hipStreamGetFlags(stream: Pointer, flags: *mut c_uint);
    fn hipMemcpy(to: Pointer, from: Pointer, size: usize, kind: c_int);
    fn hipMemcpyAsync(to: Pointer, from: Pointer, size: usize, kind: c_int, stream: Pointer);
    fn hipMemcpyWithStream(to: Pointer, from: Pointer, size: usize, kind: c_int, stream: Pointer);
    fn hipMemcpyPeer(to: Pointer, to_device: c_int, from: Pointer, from_device: c_int, size: usize);
    fn hipMemcpyPeerAsync(
        to: Pointer, to_device: c_int, from: Pointer, from_device: c_int, size: usize, stream: Pointer
    );
    fn hipMemcpyParam2DAsync(params: *const c_void, stream: Pointer);
    fn hipDrvMemcpy3DAsync(params: *const c_void, stream: Pointer);
    fn hipMemsetD8Async(to: Pointer, value: u8, count: usize, stream: Pointer);
    fn hipMemsetD16Async(to: Pointer, value: u16, count: usize, stream: Pointer);
    fn hipMemsetD32Async(to: Pointer, value: u32, count: usize, stream: Pointer);
    fn hipMemsetD2D8Async(to: Pointer, pitch: usize, value: u8, width: usize, rows: usize, stream: Pointer);
    fn hipMemsetD2D16Async(to: Pointer, pitch: usize, value: u16, width: usize, rows: usize, stream: Pointer);
    fn hipMemsetD2D32Async(to: Pointer, pitch: usize, value: u32, width: usize, rows: usize, stream: Pointer);
    fn hipStreamSynchronize(stream: Pointer);
    fn hipPointerGetAttributes(at: *mut crate::memory::Attributes, pointer: Pointer);
    fn hipModuleLoadData(at: *mut Pointer, image: *const u8);
    fn hipModuleUnload(module: Pointer);
    fn hipModuleGetFunction(at: *mut Pointer, module: Pointer, name: *const c_char);
    fn hipModuleLaunchKernel(
        function: Pointer, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint,
        block_y: c_uint, block_z: c_uint, shared: c_uint, stream: Pointer, values: *mut Pointer,
        extra: *mut Pointer
    );
    fn hipModuleLaunchCooperativeKernel(
        function: Pointer, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint,
        block_y: c_uint, block_z: c_uint, shared: c_uint, stream: Pointer, values: *mut Pointer
    );
    fn hipGraphInstantiateWithFlags(at: *mut Pointer, graph: Pointer, flags: u64);
    fn hipGraphUpload(executable: Pointer, stream: Pointer);
    fn hipGraphExecUpdate(executable: Pointer, graph: Pointer, node: *mut Pointer, result: *mut c_int);
    fn hipGraphAddKernelNode(
        at: *mut Pointer, graph: Pointer, after: *const Pointer, count: usize,
        params: *const GraphKernel
    );
    fn hipGraphKernelNodeSetParams(node: Pointer, params: *const GraphKernel);
    fn hipGraphKernelNodeGetParams(node: Pointer, params: *mut GraphKernel);
    fn hipGraphExecKernelNodeSetParams(
        executable: Pointer, node: Pointer, params: *const GraphKernel
    );
    fn hipGraphAddMemsetNode(
        at: *mut Pointer, graph: Pointer, after: *const Pointer, count: usize,
        params: *const GraphMemset
    );
    fn hipGraphExecMemsetNodeSetParams(
        executable: Pointer, node: Pointer, params: *const GraphMemset
    );
    fn hipGraphAddDependencies(graph: Pointer, from: *const Pointer, to: *const Pointer, count: usize);
    fn hipGraphRemoveDependencies(graph: Pointer, from: *const Pointer, to: *const Pointer, count: usize);
    fn hipGraphGetEdges(graph: Pointer, from: *mut Pointer, to: *mut Pointer, count: *mut usize);
    fn hipGraphNodeGetDependencies(node: Pointer, nodes: *mut Pointer, count: *mut usize);
    fn hipGraphNodeGetDependentNodes(node: Pointer, nodes: *mut Pointer, count: *mut usize);
}
