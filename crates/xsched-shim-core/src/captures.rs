//! Which streams record a graph, and the rule that no fence is made or asked
//! about meanwhile.
//!
//! Asking about any event while a stream is captured in the global mode
//! invalidates that capture, whoever asks and whatever the event is; an event
//! recorded on a capturing stream gets into it (as in the sources of the
//! runtimes, StreamCaptureOngoing). So a capture is marked *before* the runtime begins
//! it, and then waits for the threads that are amid a fence: one of the two
//! sees the other (Dekker's pair, hence the sequential consistency).
//!
//! `tests/protocols.rs` compiles this very file against loom's atomics.

use crate::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release, SeqCst},
};

/// The streams that are recording a graph. In this order, so that the count
/// shares a cache line with what stands before it in the process's state.
#[repr(C)]
pub struct Captures<const ROOM: usize = 60> {
    /// How many; the hot path's only test.
    count: AtomicU32,
    /// Threads that make or ask about fences.
    fencing: AtomicU32,
    streams: [AtomicU64; ROOM],
}

/// A stretch of a thread in which no capture begins.
pub struct NoCapture<'a>(&'a AtomicU32);

impl Drop for NoCapture<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Release);
    }
}

impl<const ROOM: usize> Captures<ROOM> {
    /// No captures.
    pub const fn of(count: AtomicU32, fencing: AtomicU32, streams: [AtomicU64; ROOM]) -> Self {
        Captures {
            count,
            fencing,
            streams,
        }
    }

    /// Whether any capture is active in the process.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.count.load(SeqCst) != 0
    }

    /// Keeps captures from beginning while the result lives; `None` while one
    /// is active.
    pub fn forbid(&self) -> Option<NoCapture<'_>> {
        self.fencing.fetch_add(1, SeqCst);
        let guard = NoCapture(&self.fencing);
        (!self.any()).then_some(guard)
    }

    /// A capture is about to begin on this stream. It may once
    /// [`Captures::is_quiet`].
    pub fn begin(&self, stream: u64) {
        let stream = named(stream);
        self.count.fetch_add(1, SeqCst);
        // A capture without room never ends here: there are no fences any
        // more, and the gate's stall guard does what it can.
        let free = |slot: &&AtomicU64| slot.compare_exchange(0, stream, SeqCst, Relaxed).is_ok();
        let _ = self.streams.iter().find(free);
    }

    /// Whether no thread is amid a fence; none will be while a capture is
    /// marked.
    pub fn is_quiet(&self) -> bool {
        self.fencing.load(SeqCst) == 0
    }

    /// The capture on this stream ended, did not begin, or the stream is gone.
    pub fn end(&self, stream: u64) {
        let stream = named(stream);
        let held = |slot: &&AtomicU64| slot.compare_exchange(stream, 0, SeqCst, Relaxed).is_ok();
        if self.streams.iter().find(held).is_some() {
            self.count.fetch_sub(1, SeqCst);
        }
    }

    /// Whether a capture began on this very stream.
    pub fn holds(&self, stream: u64) -> bool {
        stream != 0 && self.streams.iter().any(|slot| slot.load(SeqCst) == stream)
    }
}

/// The default stream is called 0 or 1 (its name), and zero is the
/// mark of a free slot. No runtime captures it; an attempt must end all the
/// same, or there would be no fences any more.
const fn named(stream: u64) -> u64 {
    if stream == 0 { 1 } else { stream }
}
