//! The simulated device that processes share: one file per device, one clock, one arithmetic, whatever face a process sees it
//! through (hipsim's own HIP, or HSA below a real HIP runtime).
//!
//! Data flows one way: `device` (the file shared with other processes) over `model` (its pure, clock-free arithmetic). What all
//! faces know beside it: the [`options`], processors ([`target`]), kernels that compute ([`known`]), and how a function of a
//! C interface is made ([`api!`]).

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

pub mod api;
pub mod code;
pub mod device;
pub mod jitter;
pub mod known;
pub mod model;
pub mod names;
pub mod options;
pub mod places;
pub mod target;
pub mod threads;
