//! The built library under programs.

mod abi;
mod ipc;
mod neighbours;
mod other_shims;
mod real_software;
mod semantics;
mod sharing;
mod support;
mod versions;
