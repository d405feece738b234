//! What CUDA's files and functions are called.

use super::names::{Copies, Interposer, Names, Server};

pub(super) static NAMES: Names = Names {
    title: "CUDA",
    runtime: "libcuda",
    kernel_lookups: &["cuModuleGetFunction", "cuLibraryGetKernel"],
    // The driver's own, mounted into containers; libcudart is a user of it.
    copies: Copies::Never,
    shim: "libxsched_shim_cuda.so",
    xsched_shims: &["libshimcuda.so", "libhalcuda.so"],
    collectives_title: "NCCL",
    collectives: "libnccl.so",
    launch: "cuLaunchKernel",
    copy: "cuMemcpyAsync",
    wait: "cuStreamSynchronize",
    look_up: "cuGetProcAddress",
    independent: "cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking)",
    per_thread: "--default-stream per-thread",
    strict: None,
    // Of other libraries `cublasSgemm` and `cudaMalloc` have a small letter
    // behind.
    functions: &["cu"],
    others: &["cuFile", "cuObj"],
    nodes: "",
    // Opened for compute; graphics alone uses /dev/nvidiactl, too.
    devices: &["/dev/nvidia-uvm"],
    // Project-HAMi/HAMi-core and grgalex/nvshare, by their sources.
    interposers: &[
        Interposer {
            file: "libvgpu.so",
            owner: "HAMi",
            does: "limits the memory and the share of time that a container gets",
        },
        Interposer {
            file: "libnvshare.so",
            owner: "nvshare",
            does: "lets one process at a time use the device",
        },
    ],
    // Multi-Process Service: its manual's chapter on environment variables.
    server: Some(Server {
        title: "MPS",
        variable: "CUDA_MPS_PIPE_DIRECTORY",
        directory: "/tmp/nvidia-mps",
        socket: "control",
        share: "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
    }),
};
