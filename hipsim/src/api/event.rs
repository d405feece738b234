//! Events: create, record, wait, query, elapsed time.

use std::ffi::c_uint;

use super::support::{DefaultStream, put, run, stream};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{EVENT_DISABLE_TIMING, EventHandle, StreamHandle};
use crate::runtime;
use crate::runtime::capture::Status;
use crate::runtime::command::{Command, Executor};
use crate::runtime::core::Core;
use crate::runtime::events::{self, EventId, Recorded, Timing};
use crate::runtime::streams::LEGACY;
use crate::runtime::wait::Attendance;

/// All flags of the API: blocking sync, no timing, interprocess, and AMD's three for system-scope release.
const KNOWN_FLAGS: c_uint = 0x7 | 0x2000_0000 | 0x4000_0000 | 0x8000_0000;

unsafe fn create_event(at: *mut EventHandle, flags: c_uint) -> Result {
    if at.is_null() || flags & !KNOWN_FLAGS != 0 {
        return Err(HipError::InvalidValue);
    }
    let timing = if flags & EVENT_DISABLE_TIMING != 0 {
        Timing::Disabled
    } else {
        Timing::Kept
    };
    let runtime = runtime::get()?;
    let created = runtime
        .lock()
        .events
        .create(timing)
        .ok_or(HipError::OutOfMemory)?;
    // SAFETY: the program's pointer for the result.
    unsafe { put(at, events::handle(runtime.device, created)) }
}

pub unsafe extern "C" fn create(at: *mut EventHandle) -> i32 {
    // SAFETY: the program's pointer for the result.
    run(|| unsafe { create_event(at, 0) })
}

pub unsafe extern "C" fn create_with_flags(at: *mut EventHandle, flags: c_uint) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { create_event(at, flags) })
}

pub unsafe extern "C" fn destroy(event: EventHandle) -> i32 {
    run(|| {
        let (device, id) = events::named(event)?;
        let mut core = runtime::on(device)?.lock();
        core.events.get(id).ok_or(HipError::InvalidHandle)?;
        core.events.destroy(id);
        Ok(())
    })
}

/// Records an event in a stream.
///
/// # Errors
/// No such event or stream.
pub fn record_event(event: EventHandle, of: StreamHandle, default: DefaultStream) -> Result {
    let (device, id) = events::named(event)?;
    let (runtime, of) = stream(of, default)?;
    if device != runtime.device {
        return Err(HipError::InvalidHandle);
    }
    let mut core = runtime.lock();
    let capture = core
        .streams
        .get(of)
        .ok_or(HipError::ContextIsDestroyed)?
        .capture;
    let event = core.events.get_mut(id).ok_or(HipError::InvalidHandle)?;
    if let Some(capture) = capture {
        event.recorded = Recorded::Captured {
            capture,
            stream: of,
        };
        core.captures.record_event(capture, of, id);
        return Ok(());
    }
    drop(core);
    runtime.submit(of, &Command::Record(id), Attendance::Unattended)?;
    Ok(())
}

pub unsafe extern "C" fn record(event: EventHandle, of: StreamHandle) -> i32 {
    run(|| record_event(event, of, DefaultStream::Legacy))
}

pub unsafe extern "C" fn record_spt(event: EventHandle, of: StreamHandle) -> i32 {
    run(|| record_event(event, of, DefaultStream::PerThread))
}

pub unsafe extern "C" fn record_with_flags(
    event: EventHandle,
    of: StreamHandle,
    flags: c_uint,
) -> i32 {
    run(|| match flags {
        0 => record_event(event, of, DefaultStream::Legacy),
        // `hipEventRecordExternal`: in a capture it becomes a node that records it at each launch of the graph.
        1 => {
            let (device, id) = events::named(event)?;
            let (runtime, of) = stream(of, DefaultStream::Legacy)?;
            if device != runtime.device {
                return Err(HipError::InvalidHandle);
            }
            runtime
                .lock()
                .events
                .get(id)
                .ok_or(HipError::InvalidHandle)?;
            runtime.submit(of, &Command::Record(id), Attendance::Unattended)?;
            Ok(())
        }
        _ => Err(HipError::InvalidValue),
    })
}

/// What a question about an event finds, and what it does to captures: an event whose stream is captured cannot be asked
/// about, and in other threads' global captures no event can. Asking invalidates the capture. (ROCm/clr `hip_event.cpp`
/// ihipEventQuery.)
fn ask(core: &mut Core, id: EventId) -> Result<Recorded> {
    let recorded = core.events.get(id).ok_or(HipError::InvalidHandle)?.recorded;
    let stream = match recorded {
        Recorded::Never => return Ok(recorded),
        Recorded::At { point, .. } => point.stream,
        Recorded::Captured { stream, .. } => stream,
    };
    let capturing = core.streams.get(stream).and_then(|stream| stream.capture);
    match capturing.map(|capture| (capture, core.captures.status(capture))) {
        Some((capture, Status::Active)) => {
            core.captures.invalidate(capture);
            Err(HipError::CapturedEvent)
        }
        Some((_, Status::Invalidated)) => Err(HipError::StreamCaptureUnsupported),
        Some((_, Status::None)) | None if stream != LEGACY => {
            core.captures.disturb().map(|()| recorded)
        }
        Some((_, Status::None)) | None => Ok(recorded),
    }
}

pub unsafe extern "C" fn synchronize(event: EventHandle) -> i32 {
    run(|| {
        let (device, id) = events::named(event)?;
        let runtime = runtime::on(device)?;
        let recorded = ask(&mut runtime.lock(), id)?;
        if let Recorded::At { point, at: None } = recorded {
            runtime.wait(&point);
        }
        Ok(())
    })
}

pub unsafe extern "C" fn query(event: EventHandle) -> i32 {
    run(|| {
        let (device, id) = events::named(event)?;
        let runtime = runtime::on(device)?;
        let (mut core, _) = runtime.drive(runtime.lock(), Executor::Waiter);
        match ask(&mut core, id)? {
            Recorded::At { at: None, .. } => Err(HipError::NotReady),
            _ => Ok(()),
        }
    })
}

pub unsafe extern "C" fn elapsed(at: *mut f32, from: EventHandle, to: EventHandle) -> i32 {
    run(|| {
        if at.is_null() {
            return Err(HipError::InvalidValue);
        }
        let ((device, from), (other, to)) = (events::named(from)?, events::named(to)?);
        if device != other {
            return Err(HipError::InvalidHandle);
        }
        let runtime = runtime::on(device)?;
        let (core, _) = runtime.drive(runtime.lock(), Executor::Waiter);
        let time = |id| {
            if core.events.get(id).ok_or(HipError::InvalidHandle)?.timing == Timing::Disabled {
                return Err(HipError::InvalidHandle);
            }
            match core.events.get(id).ok_or(HipError::InvalidHandle)?.recorded {
                Recorded::At { at, .. } => at.ok_or(HipError::NotReady),
                _ => Err(HipError::InvalidHandle),
            }
        };
        let (from, to) = (time(from)?, time(to)?);
        // SAFETY: the program's pointer for the result.
        unsafe { put(at, (to as i64 - from as i64) as f32 / 1e6) }
    })
}
