//! The agent as a library: discover -> attach -> drain -> model ->
//! (diagnose | policy -> control), with export and the command line at the
//! ends. See docs/ARCHITECTURE.md.

pub mod config;
pub mod control;
pub mod diagnosis;
pub mod events;
pub mod export;
#[doc(hidden)]
pub mod fuzzing;
pub mod live;
pub mod model;
pub mod record;
pub mod rules;
pub mod service;
pub mod terms;
pub mod watcher;
