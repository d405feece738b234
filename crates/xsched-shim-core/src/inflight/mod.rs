//! What the process has handed to each device and not seen complete.
//!
//! Per stream two sequence numbers: commands launched, and commands known to
//! be complete. A command's number is taken just before the runtime is
//! called; a synchronisation completes what was launched before it began.
//! The two are therefore only approximate when one thread launches on a
//! stream while another waits for it (a command whose number was taken but
//! which was not yet enqueued counts as complete): the gate's cap may be
//! overshot by the number of such threads, nothing else depends on it.

mod device;
mod events;
mod paced;
mod past;
#[cfg(test)]
mod properties;
mod seqlock;
mod stream;
mod streams;

pub use device::{Activation, DeviceWork};
pub use events::EventTable;
pub use past::Past;
pub use stream::{Fence, Implied, Ordering as StreamOrdering, StreamInfo, StreamKey, StreamSlot};
pub use streams::{STREAMS, StreamTable};
