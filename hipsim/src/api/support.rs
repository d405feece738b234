//! What the bodies share: results to codes, stream arguments, submission.

use std::cell::Cell;

use crate::abi::error::{HipError, Result, code};
use crate::abi::types::StreamHandle;
use crate::runtime::command::Command;
use crate::runtime::devices::{self, MAX_DEVICES};
use crate::runtime::streams::{LEGACY, Named, StreamId, StreamKind, named};
use crate::runtime::wait::Attendance;
use crate::runtime::{self, Runtime};

/// Body of every function that is not simulated.
pub unsafe extern "C" fn not_supported() -> i32 {
    code(Err(HipError::NotSupported))
}

/// Body of functions that have nothing to do here.
pub unsafe extern "C" fn nothing_to_do() -> i32 {
    code(runtime::get().map(|_| ()))
}

/// Runs a body and gives its code, see [`simdevice::api::run`].
pub fn run(body: impl FnOnce() -> Result) -> i32 {
    simdevice::api::run(body)
}

/// [`simdevice::api!`] for this interface.
macro_rules! api {
    ($($functions:tt)+) => {
        simdevice::api! { $crate::abi::error::HipError; $($functions)+ }
    };
}

pub(in crate::api) use api;

/// Stores a result where the program asked for it.
///
/// # Safety
/// `at` is null or valid for writing a `T`.
///
/// # Errors
/// `InvalidValue` for a null pointer.
pub unsafe fn put<T>(at: *mut T, value: T) -> Result {
    if at.is_null() {
        return Err(HipError::InvalidValue);
    }
    // SAFETY: not null, so valid by the caller's promise.
    unsafe { at.write(value) };
    Ok(())
}

/// Which stream a null handle names: the `_spt` functions use the thread's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultStream {
    Legacy,
    PerThread,
}

/// The thread's own stream on each device.
struct OwnStreams([Cell<Option<StreamId>>; MAX_DEVICES]);

impl Drop for OwnStreams {
    fn drop(&mut self) {
        for (device, own) in devices::all().zip(&self.0) {
            if let Some(stream) = own.get()
                && let Ok(runtime) = runtime::on(device)
            {
                // Its queued work goes on: items keep the order of their ring without the stream.
                runtime.lock().streams.destroy(stream);
            }
        }
    }
}

thread_local! {
    static OWN_STREAMS: OwnStreams = const { OwnStreams([const { Cell::new(None) }; MAX_DEVICES]) };
}

/// The runtime and the stream that an argument names.
///
/// # Errors
/// No device, or no such stream.
pub fn stream(
    handle: StreamHandle,
    default: DefaultStream,
) -> Result<(&'static Runtime, StreamId)> {
    let own = handle.is_null() && default == DefaultStream::PerThread;
    match named(handle)? {
        Named::Legacy if !own => Ok((runtime::get()?, LEGACY)),
        Named::Legacy | Named::PerThread => {
            let runtime = runtime::get()?;
            Ok((runtime, own_stream(runtime)?))
        }
        Named::Created(device, id) => Ok((runtime::on(device)?, id)),
    }
}

fn own_stream(runtime: &Runtime) -> Result<StreamId> {
    let create = |own: &OwnStreams| {
        let own = &own.0[runtime.device.number() % MAX_DEVICES];
        if own.get().is_none() {
            own.set(runtime.lock().streams.create(StreamKind::Blocking, 0));
        }
        own.get().ok_or(HipError::OutOfMemory)
    };
    // While the thread ends its stream is gone already; the default stream is ordered at least as strongly.
    OWN_STREAMS.try_with(create).unwrap_or(Ok(LEGACY))
}

/// Queues a command and returns.
///
/// # Errors
/// No such stream.
pub fn submit(handle: StreamHandle, default: DefaultStream, command: &Command) -> Result {
    let (runtime, id) = stream(handle, default)?;
    runtime.submit(id, command, Attendance::Unattended)?;
    Ok(())
}

/// Queues a command and waits until it is done.
///
/// # Errors
/// No such stream, or it is capturing.
pub fn submit_and_wait(handle: StreamHandle, default: DefaultStream, command: &Command) -> Result {
    let (runtime, id) = stream(handle, default)?;
    refuse_capture(runtime, id)?;
    if let Some(point) = runtime.submit(id, command, Attendance::Awaited)? {
        runtime.wait(&point);
    }
    Ok(())
}

/// Refuses a call that a capturing stream does not allow, and invalidates the capture, as the real runtime does.
///
/// # Errors
/// No such stream, or it is capturing.
pub fn refuse_capture(runtime: &Runtime, id: StreamId) -> Result {
    let mut core = runtime.lock();
    let capture = core.streams.get(id)?.capture;
    match capture {
        None if id == LEGACY && core.captures.any() && blocking_capture(&core.streams) => {
            Err(HipError::StreamCaptureImplicit)
        }
        None if id == LEGACY => Ok(()),
        None => core.captures.disturb(),
        Some(capture) => {
            core.captures.invalidate(capture);
            Err(HipError::StreamCaptureUnsupported)
        }
    }
}

fn blocking_capture(streams: &runtime::streams::Streams) -> bool {
    streams
        .iter()
        .any(|(_, stream)| stream.capture.is_some() && stream.kind == StreamKind::Blocking)
}
