//! A simulated HIP device behind the ABI of AMD's `libamdhip64`.
//!
//! Programs compiled by hipcc and AMD's own libraries run on it unmodified. Memory, streams, events and their ordering are
//! real; the time a kernel takes is simulated; a handful of kernels known by name also compute ([`runtime::known`]).
//! All processes that name the same device file share one device ([`device`]).
//!
//! Data flows one way: `api` (what programs call) -> `runtime` (this process's streams and queues) -> `device` (the file
//! shared with other processes), with the pure, clock-free arithmetic of both in `model`.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod abi;
mod api;
mod device;
pub mod install;
pub mod model;
pub mod options;
mod runtime;
pub mod target;
