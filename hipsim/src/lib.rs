//! A simulated HIP device behind the ABI of AMD's `libamdhip64`.
//!
//! Programs compiled by hipcc and AMD's own libraries run on it unmodified. Memory, streams, events and their ordering are
//! real; the time a kernel takes is simulated; a handful of kernels known by name also compute.
//! All processes that name the same device file share one device, which is the crate `simdevice`.
//!
//! Data flows one way: `api` (what programs call) -> `runtime` (this process's streams and queues) -> `device` (the file
//! shared with other processes), with the pure, clock-free arithmetic of both in `model`; the last two are `simdevice`'s.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod abi;
mod api;
pub mod install;
mod major;
mod options;
mod runtime;

use simdevice::{device, model, target};
