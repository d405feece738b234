//! The policy and the gate on a simulated device, in virtual time.
//!
//! What decides is the real thing: the agent's policy
//! ([`xsched_policy`]), the shim's gate and estimators
//! ([`xsched_common::gate`]) and hipsim's device arithmetic
//! ([`simdevice::model`]). What surrounds them is a model: threads that launch
//! and wait ([`program`]), the shim's bookkeeping of one process with one
//! stream ([`shim`]), an agent that hears doorbells and timers with the
//! delays measured on a real machine ([`timing`]). Equal seeds give equal
//! runs; a minute takes well under a second.
//!
//! So a figure from here is what the rules bring, without the noise of the
//! machine that happens to run them. `cargo xtask bench sched` prints it
//! beside the same scenario in real time.

pub mod device;
pub mod program;
pub mod replay;
pub mod scenario;
pub mod shim;
pub mod stats;
pub mod threads;
pub mod timing;
mod ways;
pub mod world;
