//! Blame: from what is known of a service's bursts to an account of the time
//! that the slow ones lost.
//!
//! A pure function ([`account`]) of facts ([`Facts`]); whoever collects them
//! is elsewhere. It owns no clock and makes no system call: the agent feeds it
//! what pages and the kernel tell, tests what a simulation does.
//!
//! The loss of a slow burst is what it took beyond its time alone
//! ([`OwnTimes`]), or beyond its target where that is shorter. It is divided
//! in two steps. What was *measured* (waits at the gate, delays on the run
//! queue, commands in flight times their kernel time) is counted first, scaled
//! down if it exceeds the loss. Then causes of which only is known that they
//! were at work, and how much they can have cost at most, share the
//! *remainder* by how much of the time they were at work, each up to its
//! bound. What is left is not explained. So the parts never exceed the loss,
//! and no part exceeds what its cause can have cost.

mod account;
mod facts;
mod own;
mod words;

pub use account::{Account, Part, account};
pub use facts::{Escaping, Facts, HeldUp, InFlight, PeerWork};
pub use own::{Own, OwnTimes};
