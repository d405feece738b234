//! Threads that read what strangers can hold up.
//!
//! A read of a process's own memory, or of its files, waits for as long as the
//! process likes: for the lock of its memory map, for pages that its own file
//! system never delivers. So it is done by threads that may be held up, so
//! many for each tenant and in all. Whoever never waits has a thread for each
//! tenant ([`Readers`]): who holds it up waits alone, since nobody else's
//! processes are behind it. Whoever waits gives a thread up after a while
//! ([`apart`], and the observer); what is given up stays with its process until
//! that lets go ([`Held`]).

pub mod apart;
mod held;
mod queues;
mod tenant;

pub use held::{Held, Limits};
pub use queues::{Busy, Readers, Task};
pub use tenant::Tenant;
