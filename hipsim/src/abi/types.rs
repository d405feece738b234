//! Structures and constants of the HIP headers that cross the ABI. Layouts are those of the C declarations.

use std::ffi::{c_int, c_uint, c_void};

/// `dim3`, passed by value in two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Dim3 {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}

/// Opaque handles as programs hold them.
pub type StreamHandle = *mut c_void;
pub type EventHandle = *mut c_void;
pub type FunctionHandle = *mut c_void;
pub type ModuleHandle = *mut c_void;
pub type GraphHandle = *mut c_void;
pub type GraphExecHandle = *mut c_void;

/// `hipStreamCallback_t`.
pub type StreamCallback = unsafe extern "C" fn(StreamHandle, c_int, *mut c_void);
/// `hipHostFn_t`.
pub type HostFunction = unsafe extern "C" fn(*mut c_void);

/// `hipStreamNonBlocking`.
pub const STREAM_NON_BLOCKING: c_uint = 1;
/// `hipEventDisableTiming`.
pub const EVENT_DISABLE_TIMING: c_uint = 2;

/// `hipLaunchParams`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LaunchParams {
    pub function: *const c_void,
    pub grid: Dim3,
    pub block: Dim3,
    pub arguments: *mut *mut c_void,
    pub shared_memory: usize,
    pub stream: StreamHandle,
}

/// `hipFunctionLaunchParams`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct FunctionLaunchParams {
    pub function: FunctionHandle,
    pub grid: Dim3,
    pub block: Dim3,
    pub shared_memory: c_uint,
    pub stream: StreamHandle,
    pub parameters: *mut *mut c_void,
}

/// `hipLaunchConfig_t`; `HIP_LAUNCH_CONFIG` has the same layout.
#[repr(C)]
pub struct LaunchConfig {
    pub grid: Dim3,
    pub block: Dim3,
    pub shared_memory: u64,
    pub stream: StreamHandle,
    pub attributes: *mut c_void,
    pub attribute_count: c_uint,
}

/// `hipKernelNodeParams`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KernelNodeParams {
    pub block: Dim3,
    pub extra: *mut *mut c_void,
    pub function: *mut c_void,
    pub grid: Dim3,
    pub parameters: *mut *mut c_void,
    pub shared_memory: c_uint,
}

// SAFETY: the pointers are the program's; the simulator keeps them only to give them back.
unsafe impl Send for KernelNodeParams {}

/// `hipHostNodeParams`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct HostNodeParams {
    pub function: Option<HostFunction>,
    pub data: *mut c_void,
}

/// `hipMemsetParams`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct MemsetParams {
    pub target: *mut c_void,
    pub element_size: c_uint,
    pub height: usize,
    pub pitch: usize,
    pub value: c_uint,
    pub width: usize,
}

const _: () = assert!(size_of::<KernelNodeParams>() == 64);
const _: () = assert!(size_of::<MemsetParams>() == 48);
const _: () = assert!(std::mem::offset_of!(LaunchParams, stream) == 48);
const _: () = assert!(std::mem::offset_of!(FunctionLaunchParams, stream) == 40);
const _: () = assert!(std::mem::offset_of!(LaunchConfig, stream) == 32);

/// `hipPitchedPtr`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PitchedPtr {
    pub pointer: *mut c_void,
    pub pitch: usize,
    pub x_size: usize,
    pub y_size: usize,
}

/// `hipExtent`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Extent {
    pub width: usize,
    pub height: usize,
    pub depth: usize,
}

/// `hipPos`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Position {
    pub x: usize,
    pub y: usize,
    pub z: usize,
}

/// `hipMemcpy3DParms`.
#[repr(C)]
pub struct Memcpy3dParams {
    pub source_array: *mut c_void,
    pub source_position: Position,
    pub source: PitchedPtr,
    pub target_array: *mut c_void,
    pub target_position: Position,
    pub target: PitchedPtr,
    pub extent: Extent,
    pub kind: c_int,
}

const _: () = assert!(size_of::<Memcpy3dParams>() == 160);

/// `hip_Memcpy2D`.
#[repr(C)]
pub struct Memcpy2d {
    pub source_x: usize,
    pub source_y: usize,
    pub source_type: c_int,
    pub source_host: *const c_void,
    pub source_device: *mut c_void,
    pub source_array: *mut c_void,
    pub source_pitch: usize,
    pub target_x: usize,
    pub target_y: usize,
    pub target_type: c_int,
    pub target_host: *mut c_void,
    pub target_device: *mut c_void,
    pub target_array: *mut c_void,
    pub target_pitch: usize,
    pub width: usize,
    pub height: usize,
}

const _: () = assert!(size_of::<Memcpy2d>() == 128);

/// `HIP_MEMCPY3D`.
#[repr(C)]
pub struct Memcpy3d {
    pub source_x: usize,
    pub source_y: usize,
    pub source_z: usize,
    pub source_lod: usize,
    pub source_type: c_int,
    pub source_host: *const c_void,
    pub source_device: *mut c_void,
    pub source_array: *mut c_void,
    pub source_pitch: usize,
    pub source_height: usize,
    pub target_x: usize,
    pub target_y: usize,
    pub target_z: usize,
    pub target_lod: usize,
    pub target_type: c_int,
    pub target_host: *mut c_void,
    pub target_device: *mut c_void,
    pub target_array: *mut c_void,
    pub target_pitch: usize,
    pub target_height: usize,
    pub width: usize,
    pub height: usize,
    pub depth: usize,
}

const _: () = assert!(size_of::<Memcpy3d>() == 184);

/// `hipMemcpy3DPeerParms`.
#[repr(C)]
pub struct Memcpy3dPeerParams {
    pub source_array: *mut c_void,
    pub source_position: Position,
    pub source: PitchedPtr,
    pub source_device: c_int,
    pub target_array: *mut c_void,
    pub target_position: Position,
    pub target: PitchedPtr,
    pub target_device: c_int,
    pub extent: Extent,
}

const _: () = assert!(size_of::<Memcpy3dPeerParams>() == 168);

/// `hipPointerAttribute_t`. All zeros but for the device is memory of the program (`hipMemoryTypeUnregistered`).
#[repr(C)]
pub struct PointerAttributes {
    pub memory_type: c_int,
    pub device: c_int,
    pub device_pointer: *mut c_void,
    pub host_pointer: *mut c_void,
    pub is_managed: c_int,
    pub allocation_flags: c_uint,
}

const _: () = assert!(size_of::<PointerAttributes>() == 32);

impl Default for PointerAttributes {
    fn default() -> Self {
        Self {
            memory_type: 0,
            device: 0,
            device_pointer: std::ptr::null_mut(),
            host_pointer: std::ptr::null_mut(),
            is_managed: 0,
            allocation_flags: 0,
        }
    }
}

/// `hipFuncAttributes`.
#[derive(Default)]
#[repr(C)]
pub struct FuncAttributes {
    pub binary_version: c_int,
    pub cache_mode_ca: c_int,
    pub const_size_bytes: usize,
    pub local_size_bytes: usize,
    pub max_dynamic_shared_size_bytes: c_int,
    pub max_threads_per_block: c_int,
    pub num_regs: c_int,
    pub preferred_shmem_carveout: c_int,
    pub ptx_version: c_int,
    pub shared_size_bytes: usize,
}

const _: () = assert!(size_of::<FuncAttributes>() == 56);

/// `__CudaFatBinaryWrapper` of hipcc's host code.
#[repr(C)]
pub struct FatBinaryWrapper {
    pub magic: u32,
    pub version: u32,
    pub binary: *const c_void,
    pub unused: *const c_void,
}

/// `FatBinaryWrapper::magic` ("HIPF").
pub const FAT_BINARY_MAGIC: u32 = 0x4849_5046;
