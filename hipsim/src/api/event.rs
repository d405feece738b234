//! Events: create, record, wait, query, elapsed time.

use std::ffi::c_uint;
use std::sync::Arc;
use std::time::Duration;

use super::support::{DefaultStream, api, put, stream};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{EVENT_DISABLE_TIMING, EventHandle, StreamHandle};
use crate::runtime::capture::Status;
use crate::runtime::command::{Command, Executor};
use crate::runtime::core::Core;
use crate::runtime::events::{self, EventId, Recorded, Timing};
use crate::runtime::shared_event::{Mark, SharedEvent};
use crate::runtime::streams::LEGACY;
use crate::runtime::wait::Attendance;
use crate::runtime::{self, Runtime};

/// `hipEventInterprocess`.
const INTERPROCESS: c_uint = 4;
/// AMD's three for the scope of the release, of which a program chooses one.
const RELEASE_FLAGS: c_uint = 0x2000_0000 | 0x4000_0000 | 0x8000_0000;
/// All flags of the API: those, blocking sync, no timing, interprocess.
const KNOWN_FLAGS: c_uint = 0x7 | RELEASE_FLAGS;

/// What ROCm/clr refuses (`hip_event.cpp`, ihipEventCreateWithFlags): two releases, times between processes.
fn check_flags(flags: c_uint) -> Result {
    let releases = (flags & RELEASE_FLAGS).count_ones();
    let timed = flags & EVENT_DISABLE_TIMING == 0;
    if flags & !KNOWN_FLAGS != 0 || releases > 1 || (flags & INTERPROCESS != 0 && timed) {
        return Err(HipError::InvalidValue);
    }
    Ok(())
}

unsafe fn create_event(at: *mut EventHandle, flags: c_uint) -> Result {
    if at.is_null() {
        return Err(HipError::InvalidValue);
    }
    check_flags(flags)?;
    let timing = if flags & EVENT_DISABLE_TIMING != 0 {
        Timing::Disabled
    } else {
        Timing::Kept
    };
    let runtime = runtime::get()?;
    let shared = if flags & INTERPROCESS != 0 {
        runtime.lock().clock.note_export();
        Some(SharedEvent::create(runtime.device)?)
    } else {
        None
    };
    // SAFETY: the program's pointer for the result.
    unsafe { put(at, add(runtime, timing, shared)?) }
}

/// A new event.
///
/// # Errors
/// There are too many.
pub fn add(
    runtime: &Runtime,
    timing: Timing,
    shared: Option<Arc<SharedEvent>>,
) -> Result<EventHandle> {
    let mut core = runtime.lock();
    let id = core.events.create(timing).ok_or(HipError::OutOfMemory)?;
    core.events.get_mut(id)?.shared = shared;
    Ok(events::handle(runtime.device, id))
}

api! {
    fn create(at: *mut EventHandle) { create_event(at, 0) }
    fn create_with_flags(at: *mut EventHandle, flags: c_uint) { create_event(at, flags) }

    fn destroy(event: EventHandle) {
        let (device, id) = events::named(event)?;
        let mut core = runtime::on(device)?.lock();
        core.events.get(id)?;
        core.events.destroy(id);
        Ok(())
    }
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
    let capture = core.streams.get(of)?.capture;
    let event = core.events.get_mut(id)?;
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

api! {
    fn record(event: EventHandle, of: StreamHandle) { record_event(event, of, DefaultStream::Legacy) }
    fn record_spt(event: EventHandle, of: StreamHandle) { record_event(event, of, DefaultStream::PerThread) }

    fn record_with_flags(event: EventHandle, of: StreamHandle, flags: c_uint) {
        match flags {
            0 => record_event(event, of, DefaultStream::Legacy),
            // `hipEventRecordExternal`: in a capture it becomes a node that records it at each launch of the graph.
            1 => {
                let (device, id) = events::named(event)?;
                let (runtime, of) = stream(of, DefaultStream::Legacy)?;
                if device != runtime.device {
                    return Err(HipError::InvalidHandle);
                }
                runtime.lock().events.get(id)?;
                runtime.submit(of, &Command::Record(id), Attendance::Unattended)?;
                Ok(())
            }
            _ => Err(HipError::InvalidValue),
        }
    }
}

/// What a question about an event finds, and what it does to captures: an event whose stream is captured cannot be asked
/// about, and in other threads' global captures no event can. Asking invalidates the capture. (ROCm/clr `hip_event.cpp`
/// ihipEventQuery.)
fn ask(core: &mut Core, id: EventId) -> Result<Recorded> {
    let recorded = core.events.get(id)?.recorded;
    let stream = match recorded {
        Recorded::Never => return Ok(recorded),
        Recorded::At { point, .. } => point.stream,
        Recorded::Captured { stream, .. } => stream,
    };
    let capturing = core.streams.get(stream).ok().and_then(|it| it.capture);
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

/// How soon a thread looks again for what another process does.
const LOOK_AGAIN: Duration = Duration::from_micros(50);

/// The last record that any process made of an event they share.
pub fn last_mark(core: &Core, id: EventId) -> Option<Mark> {
    core.events.get(id).ok()?.shared.as_ref()?.last()
}

api! {
    fn synchronize(event: EventHandle) {
        let (device, id) = events::named(event)?;
        let runtime = runtime::on(device)?;
        let (recorded, mark) = {
            let mut core = runtime.lock();
            (ask(&mut core, id)?, last_mark(&core, id))
        };
        if let Recorded::At { point, at: None } = recorded {
            runtime.wait(&point);
        }
        if let Some(mark) = mark {
            while !mark.is_reached() {
                std::thread::sleep(LOOK_AGAIN);
            }
        }
        Ok(())
    }

    fn query(event: EventHandle) {
        let (device, id) = events::named(event)?;
        let runtime = runtime::on(device)?;
        let (mut core, _) = runtime.drive(runtime.lock(), Executor::Waiter);
        let recorded = ask(&mut core, id)?;
        let mark = last_mark(&core, id);
        drop(core);
        match (recorded, mark) {
            (Recorded::At { at: None, .. }, _) => Err(HipError::NotReady),
            (_, Some(mark)) if !mark.is_reached() => Err(HipError::NotReady),
            _ => Ok(()),
        }
    }

    fn elapsed(at: *mut f32, from: EventHandle, to: EventHandle) {
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
            if core.events.get(id)?.timing == Timing::Disabled {
                return Err(HipError::InvalidHandle);
            }
            match core.events.get(id)?.recorded {
                Recorded::At { at, .. } => at.ok_or(HipError::NotReady),
                _ => Err(HipError::InvalidHandle),
            }
        };
        let (from, to) = (time(from)?, time(to)?);
        put(at, (to as i64 - from as i64) as f32 / 1e6)
    }
}
