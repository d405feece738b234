//! What CUDA's files and functions are called.

use super::names::{Copies, Names};

pub(super) static NAMES: Names = Names {
    title: "CUDA",
    runtime: "libcuda",
    // The driver's own, mounted into containers; libcudart is a user of it.
    copies: Copies::Never,
    shim: "libxsched_shim_cuda.so",
    xsched_shims: &["libshimcuda.so", "libhalcuda.so"],
    collectives: "libnccl.so",
    launch: "cuLaunchKernel",
    copy: "cuMemcpyAsync",
    wait: "cuStreamSynchronize",
    look_up: "cuGetProcAddress",
    independent: "cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking)",
    strict: None,
    // Of other libraries `cublasSgemm` and `cudaMalloc` have a small letter
    // behind.
    functions: &["cu"],
    others: &["cuFile", "cuObj"],
    nodes: "",
    // Opened for compute; graphics alone uses /dev/nvidiactl, too.
    devices: &["/dev/nvidia-uvm"],
};
