//! The functions of the library, each as hsa.h and hsa_ext_amd.h say. `data/functions.tsv` leads to them.

pub mod agents;
pub mod copies;
pub mod executables;
pub mod gpu_info;
pub mod host_memory;
pub mod ipc;
mod loader;
mod metadata;
pub mod pools;
pub mod profiling;
pub mod queues;
pub mod refused;
pub mod signals;
pub mod svm;
pub mod system;
pub mod vmem;
