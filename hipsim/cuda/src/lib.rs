//! A simulated `libcuda.so.1`: programs of the CUDA driver API, NVIDIA's own libcudart and what stands on that run on it
//! unmodified.
//!
//! It is thin: the device is hipsim's, whose library lies beside this one and is opened by `cuInit`. So HIP and CUDA programs that
//! name the same device share it, with its clock, its crash safety and its kernels. Where the two interfaces agree (HIP's is made
//! after this one) an export leads straight to hipsim's function; here is what differs: contexts, modules and libraries of kernels,
//! look-ups, and the tables that libcudart asks the driver for.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod code;
mod context;
mod device;
mod error;
mod exports;
mod graph;
mod green;
mod hip;
mod image;
pub mod install;
mod launch;
mod legacy;
mod lookup;
mod memory;
mod module;
mod stream;
mod support;
mod tables;
