//! Exports that only lead to the runtime.

use super::frame::Frame;
use super::runtime;

/// Where to go on.
///
/// # Safety
/// Called by the trampoline only, with the frame it built.
pub unsafe extern "C" fn target(frame: *const Frame) -> usize {
    // SAFETY: the trampoline's frame.
    runtime::real_or_error(unsafe { (*frame).export } as usize)
}
