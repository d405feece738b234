//! What HIP's files, nodes and functions are called.

use super::names::{Copies, Names};

pub(super) static NAMES: Names = Names {
    title: "HIP",
    runtime: "libamdhip64",
    kernel_lookups: &["hipModuleGetFunction", "hipLibraryGetKernel"],
    copies: Copies::Renamed,
    shim: "libxsched_shim.so",
    // The library that is preloaded, and the one behind it that calls the
    // runtime.
    xsched_shims: &["libshimhip.so", "libhalhip.so"],
    collectives_title: "RCCL",
    collectives: "librccl.so",
    launch: "hipLaunchKernel",
    copy: "hipMemcpyAsync",
    wait: "hipStreamSynchronize",
    look_up: "hipGetProcAddress",
    independent: "hipStreamCreateWithFlags(&s, hipStreamNonBlocking)",
    per_thread: "-fgpu-default-stream=per-thread",
    strict: Some("HIP 6.1 and later"),
    // Names of other libraries (`hipblasSgemm`, `hipsparseCreate`) have a small
    // letter behind, and what the compiler makes for device code
    // (`__hip_fatbin_...`) is data.
    functions: &["hip", "__hip"],
    others: &[],
    nodes: "hip_",
    // AMD's driver for compute; one file for all devices.
    devices: &["/dev/kfd"],
    interposers: &[],
    server: None,
};
