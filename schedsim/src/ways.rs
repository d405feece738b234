//! Under what a program runs, and what tells of its kernels' ends.

/// What tells a program and its shim that kernels have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    /// A synchronisation.
    Sync,
    /// A host function.
    Function,
    /// A query, every so often.
    Query,
    /// A host function on a stream that waited for an event.
    Chain,
    /// Nothing that the shim sees: the program polls memory.
    Nothing,
}

/// Whether a process runs under the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// The program straight on the runtime.
    Native,
    /// The shim; its main thread launches.
    Shim,
    /// The shim; a worker thread launches.
    ShimWorker,
}
