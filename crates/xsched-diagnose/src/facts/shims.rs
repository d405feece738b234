//! What is known of each shim.

use xsched_common::platform::names::ShimKind;

/// What becomes of launches on the default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultStream {
    /// They are gated like any other.
    Scheduled,
    /// They run past the scheduler.
    Unscheduled,
    /// Nothing is known about this shim.
    Unknown,
}

impl DefaultStream {
    /// Under this shim. XSched's makes its queues from streams that programs
    /// create, and passes the default stream's launches through; of others
    /// nothing is known.
    pub const fn under(shim: ShimKind) -> DefaultStream {
        match shim {
            ShimKind::Ours => DefaultStream::Scheduled,
            ShimKind::XSched => DefaultStream::Unscheduled,
            ShimKind::Named => DefaultStream::Unknown,
        }
    }
}
