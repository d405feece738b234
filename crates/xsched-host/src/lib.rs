//! What the kernel and files say of other processes, read within limits.
//!
//! Everything here was written by somebody else: sizes are bounded, what
//! cannot be believed says so, and whatever a stranger can hold up is read by
//! a thread that may be held up ([`readers`]).

pub mod cgroup;
pub mod clock;
pub mod descendants;
pub mod elf;
pub mod foreign;
pub mod pages;
pub mod platform;
pub mod process;
pub mod readers;
pub mod run_delay;
pub mod text;
pub mod unix_sockets;
pub mod users;
