//! The device shared by processes: a small file of atomics that everyone maps.
//!
//! There is no lock in it. A process may be killed at any instruction: what it leaves behind is a valid snapshot of the
//! service clock and a slot whose byte-range lock the kernel has released, which the next reader reaps.

pub mod clock;
pub mod file;
mod history;
pub mod ipc;
pub mod layout;
mod time;
pub mod watch;

#[cfg(test)]
mod tests;
