//! The agent as a library: discover -> attach -> drain -> model ->
//! (diagnose | policy -> control), with export and the command line at the
//! ends. See docs/ARCHITECTURE.md.

pub mod diagnose;
pub mod observe;
pub mod process;
