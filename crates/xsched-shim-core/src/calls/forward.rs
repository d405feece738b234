//! Exports that only lead to the runtime.

use xsched_common::platform::ArgumentAt;
use xsched_shim_core::callers::{self, Treatment};
use xsched_shim_core::process::{process, session};

use super::commands;
use super::exports::of_trampoline;
use super::frame::Frame;
use super::runtime;
use super::streams::Stream;

/// Where to go on.
///
/// # Safety
/// Called by the trampoline only, with the frame it built.
pub unsafe extern "C-unwind" fn target(frame: *const Frame) -> usize {
    // SAFETY: the trampoline's frame.
    let index = unsafe { (*frame).export } as usize;
    let real = runtime::real_or_error(index);
    if let Some(session) = session()
        && let Some(export) = of_trampoline(index)
        && export.stream_at != ArgumentAt::Nowhere
    {
        // SAFETY: as above; the export's own place of its stream.
        let (caller, handle) = unsafe {
            let caller = callers::of((*frame).return_address, runtime::is_runtime, Some(session));
            (caller, Frame::stream(frame, export.stream_at))
        };
        if caller.treatment() != Treatment::Inside {
            let stream = Stream::new(handle.unwrap_or(0), export.default_stream);
            commands::watched_pass_by(process(), session, stream);
        }
    }
    real
}
