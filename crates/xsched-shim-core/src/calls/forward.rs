//! Exports that only lead to the runtime.

use xsched_common::platform::ArgumentAt;

use super::frame::Frame;
use super::streams::Stream;
use super::{Runtime, commands, of_trampoline, services};
use crate::callers::{self, Treatment};
use crate::process::{process, session};

/// Where to go on.
///
/// # Safety
/// Called by the trampoline only, with the frame it built.
pub unsafe extern "C-unwind" fn target<R: Runtime>(frame: *const Frame) -> usize {
    // SAFETY: the trampoline's frame.
    let index = unsafe { (*frame).export } as usize;
    let real = services::real_or_error::<R>(index);
    if let Some(session) = session()
        && let Some(export) = of_trampoline::<R>(index)
        && export.stream_at != ArgumentAt::Nowhere
    {
        // SAFETY: as above; the export's own place of its stream.
        let (caller, handle) = unsafe {
            let caller = callers::of((*frame).return_address, R::is_runtime, Some(session));
            (caller, Frame::stream(frame, export.stream_at))
        };
        if caller.treatment() != Treatment::Inside {
            let stream = Stream::new(handle.unwrap_or(0), export.default_stream);
            commands::watched_pass_by::<R>(process(), session, stream);
        }
    }
    real
}
