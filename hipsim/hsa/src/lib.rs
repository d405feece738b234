//! A simulated `libhsa-runtime64.so.1`: AMD's own, unmodified HIP runtime runs on it and sees GPUs.
//!
//! What the runtime asks of HSA is real here: AQL packets at the doorbell, signals, code objects, copies and their order. The
//! device behind it is simulated and is the one that hipsim's programs share (crate `simdevice`): a kernel takes the time its
//! name asks for, and the few known ones compute.
//!
//! Data flows one way: `api` (the C functions) -> `machine` (this process's queues and copies, and who drives them) and
//! `memory` (what is allocated) -> `simdevice` (the file shared with other processes).

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod abi;
mod api;
mod counted;
pub mod install;
mod machine;
mod memory;
