//! What a platform's library has to say of its runtime.

use crate::loader::Object;
use crate::page::Session;
use xsched_common::page::QueuePriority;

/// A platform. Nothing is ever made of it: its functions are chosen at compile
/// time.
pub trait Platform: 'static {
    /// Whether an object is the platform's runtime.
    fn is_runtime(object: &Object<'_>) -> bool;

    /// Whether the library exports a function of this name.
    fn exports(name: &[u8]) -> bool;

    /// The library's function in the place of the runtime's at `found`, which
    /// was looked up as `name`.
    fn replacement(name: &[u8], found: usize) -> Option<usize>;

    /// Where the exports' code lies: what probes may be set on.
    fn code() -> std::ops::Range<usize>;

    /// Fills the process's devices into a new session's status page.
    fn introduce(session: &Session);

    /// The exported look-ups, as [`crate::interpose_lookups!`] makes them.
    fn interposed() -> Interposed;

    /// Whether anything is to be done as soon as a library is mapped.
    fn watches_arrivals() -> bool;

    /// A good moment to begin with whatever reaches further than the dynamic
    /// linker.
    fn prepare(moment: Moment);

    /// Something was unmapped: it may have been the runtime.
    fn unmapped();

    /// Gives the runtime's hardware queues a priority. Called where the process
    /// joins, leaves or gets another class, in a thread of the program's that is
    /// about to launch; does nothing where the runtime has no such thing.
    fn set_queue_priority(_: QueuePriority) {}
}

/// The exported functions that look-ups are bound to, with their names.
pub type Interposed = [(&'static [u8], usize); 3];

/// At what moment a platform may look at its runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The program uses the runtime, or is about to: the runtime may be made
    /// to prepare itself, as the program's next call would.
    Use,
    /// Something has been mapped: the runtime itself may not be initialised,
    /// and the loader's lock is held.
    Arrival,
}
