//! The agent as a library: discover -> attach -> drain -> model ->
//! (diagnose | policy -> control), with export and the command line at the
//! ends. See docs/ARCHITECTURE.md.

pub mod clock;
pub mod config;
pub mod control;
mod descendants;
pub mod diagnose;
pub mod elf;
pub mod export;
mod foreign;
#[doc(hidden)]
pub mod fuzzing;
pub mod live;
pub mod model;
pub mod observe;
pub mod policy;
pub mod process;
mod readers;
pub mod record;
pub mod rules;
pub mod service;
pub mod terms;
pub mod text;
pub mod watcher;
