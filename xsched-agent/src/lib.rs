//! The agent as a library: discover -> attach -> drain -> model ->
//! (diagnose | policy -> control), with export and the command line at the
//! ends. See docs/ARCHITECTURE.md.

pub mod attr;
pub mod config;
pub mod control;
pub mod diagnosis;
pub mod events;
pub mod export;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod model;
pub mod record;
pub mod reloader;
pub mod rules;
pub mod sampler;
pub mod service;
pub mod slices;
pub mod workloads;
