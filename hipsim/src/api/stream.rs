//! Streams: create, destroy, wait, query, attributes.

use std::ffi::{c_int, c_uint, c_void};

use super::event::last_mark;
use super::support::{DefaultStream, api, put, refuse_capture, stream};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{EventHandle, STREAM_NON_BLOCKING, StreamHandle};
use crate::runtime;
use crate::runtime::Runtime;
use crate::runtime::capture::Status;
use crate::runtime::command::{Command, Executor, External};
use crate::runtime::devices::DeviceIndex;
use crate::runtime::events::{self, EventId, Recorded};
use crate::runtime::streams::{LEGACY, StreamId, StreamKind, handle};
use crate::runtime::wait::Attendance;

/// Greatest and least stream priority; smaller is more urgent.
pub const PRIORITIES: (c_int, c_int) = (-1, 1);

unsafe fn create_stream(at: *mut StreamHandle, kind: StreamKind, priority: c_int) -> Result {
    if at.is_null() {
        return Err(HipError::InvalidValue);
    }
    let priority = priority.clamp(PRIORITIES.0, PRIORITIES.1);
    let runtime = runtime::get()?;
    let created = runtime.lock().streams.create(kind, priority);
    // SAFETY: the program's pointer for the result.
    unsafe {
        put(
            at,
            handle(runtime.device, created.ok_or(HipError::OutOfMemory)?),
        )
    }
}

fn kind(flags: c_uint) -> Result<StreamKind> {
    match flags {
        0 => Ok(StreamKind::Blocking),
        STREAM_NON_BLOCKING => Ok(StreamKind::NonBlocking),
        _ => Err(HipError::InvalidValue),
    }
}

api! {
    fn create(at: *mut StreamHandle) { create_stream(at, StreamKind::Blocking, 0) }
    fn create_with_flags(at: *mut StreamHandle, flags: c_uint) { create_stream(at, kind(flags)?, 0) }

    fn create_with_priority(at: *mut StreamHandle, flags: c_uint, priority: c_int) {
        create_stream(at, kind(flags)?, priority)
    }

    fn create_with_mask(at: *mut StreamHandle, words: u32, mask: *const u32) {
        if words == 0 || mask.is_null() {
            return Err(HipError::InvalidValue);
        }
        create_stream(at, StreamKind::Blocking, 0)
    }

    fn destroy(of: StreamHandle) {
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        if of as usize <= 2 {
            return Err(HipError::InvalidHandle);
        }
        // The real runtime lets the stream finish first.
        let pending = {
            let mut core = runtime.lock();
            let stream = core.streams.get_mut(id)?;
            if let Some(capture) = stream.capture.take() {
                core.captures.invalidate(capture);
            }
            core.streams.pending(id)
        };
        if let Some(point) = pending {
            runtime.wait(&point);
        }
        runtime.lock().streams.destroy(id);
        Ok(())
    }
}

fn synchronize_stream(of: StreamHandle, default: DefaultStream) -> Result {
    let (runtime, id) = stream(of, default)?;
    refuse_capture(runtime, id)?;
    if id == LEGACY {
        // The default stream's last work waits for the blocking streams, and the program expects theirs done too.
        let points = blocking_points(&runtime.lock());
        for point in &points {
            runtime.wait(point);
        }
        return Ok(());
    }
    let pending = runtime.lock().streams.pending(id);
    if let Some(point) = pending {
        runtime.wait(&point);
    }
    Ok(())
}

fn blocking_points(core: &runtime::core::Core) -> Vec<runtime::streams::Point> {
    let streams = &core.streams;
    let ordered = streams
        .iter()
        .filter(|(_, stream)| stream.kind != StreamKind::NonBlocking);
    ordered.filter_map(|(id, _)| streams.pending(id)).collect()
}

api! {
    fn synchronize(of: StreamHandle) { synchronize_stream(of, DefaultStream::Legacy) }
    fn synchronize_spt(of: StreamHandle) { synchronize_stream(of, DefaultStream::PerThread) }
}

fn query_stream(of: StreamHandle, default: DefaultStream) -> Result {
    let (runtime, id) = stream(of, default)?;
    refuse_capture(runtime, id)?;
    let (core, _) = runtime.drive(runtime.lock(), Executor::Waiter);
    let pending = match id {
        LEGACY => !blocking_points(&core).is_empty(),
        _ => core.streams.pending(id).is_some(),
    };
    if pending {
        Err(HipError::NotReady)
    } else {
        Ok(())
    }
}

api! {
    fn query(of: StreamHandle) { query_stream(of, DefaultStream::Legacy) }
    fn query_spt(of: StreamHandle) { query_stream(of, DefaultStream::PerThread) }
}

fn wait_for_event(of: StreamHandle, event: EventHandle, default: DefaultStream) -> Result {
    let (runtime, id) = stream(of, default)?;
    let (device, event) = events::named(event)?;
    if device != runtime.device {
        return wait_for_device(runtime, id, device, event);
    }
    let mut core = runtime.lock();
    let recorded = core.events.get(event)?.recorded;
    let capture = core.streams.get(id)?.capture;
    if let Some(mark) = last_mark(&core, event)
        && capture.is_none()
        && !matches!(recorded, Recorded::Captured { .. })
    {
        drop(core);
        let wait = Command::External(External::WaitForProcess(mark));
        runtime.submit(id, &wait, Attendance::Unattended)?;
        return Ok(());
    }
    match recorded {
        // A graph cannot wait for work outside of it.
        Recorded::At { .. } if capture.is_some() => {
            core.captures.invalidate(capture.unwrap_or_default());
            Err(HipError::StreamCaptureIsolation)
        }
        Recorded::Never | Recorded::At { at: Some(_), .. } => Ok(()),
        // That capture has ended, and nothing was recorded outside of it.
        Recorded::Captured { capture, .. } if core.captures.status(capture) == Status::None => {
            Ok(())
        }
        Recorded::Captured { capture, .. } => {
            // The stream joins the capture the event was recorded in.
            let stream = core.streams.get_mut(id)?;
            if id == LEGACY {
                core.captures.invalidate(capture);
                return Err(HipError::StreamCaptureImplicit);
            }
            if let Some(other) = stream.capture.filter(|own| *own != capture) {
                core.captures.invalidate(capture);
                core.captures.invalidate(other);
                return Err(HipError::StreamCaptureMerge);
            }
            stream.capture = Some(capture);
            core.captures.wait_event(capture, id, event);
            Ok(())
        }
        Recorded::At { point, at: None } => {
            drop(core);
            runtime.submit(id, &Command::WaitFor(vec![point]), Attendance::Unattended)?;
            Ok(())
        }
    }
}

/// A wait for an event of another device.
fn wait_for_device(runtime: &Runtime, id: StreamId, device: DeviceIndex, event: EventId) -> Result {
    let recorded = {
        let core = runtime::on(device)?.lock();
        core.events.get(event)?.recorded
    };
    match recorded {
        Recorded::Never | Recorded::At { at: Some(_), .. } => Ok(()),
        Recorded::Captured { .. } => Err(HipError::StreamCaptureUnsupported),
        Recorded::At { point, at: None } => {
            let wait = Command::External(External::WaitForDevice { device, point });
            runtime.submit(id, &wait, Attendance::Unattended)?;
            Ok(())
        }
    }
}

api! {
    fn wait_event(of: StreamHandle, event: EventHandle, _flags: c_uint) {
        wait_for_event(of, event, DefaultStream::Legacy)
    }

    fn wait_event_spt(of: StreamHandle, event: EventHandle, _flags: c_uint) {
        wait_for_event(of, event, DefaultStream::PerThread)
    }
}

unsafe fn attribute<T>(
    of: StreamHandle,
    default: DefaultStream,
    at: *mut T,
    value: impl FnOnce(&runtime::streams::Stream) -> T,
) -> Result {
    let (runtime, id) = stream(of, default)?;
    let value = value(runtime.lock().streams.get(id)?);
    // SAFETY: the program's pointer for the result.
    unsafe { put(at, value) }
}

fn flags_of(stream: &runtime::streams::Stream) -> c_uint {
    c_uint::from(stream.kind == StreamKind::NonBlocking)
}

api! {
    fn get_flags(of: StreamHandle, flags: *mut c_uint) { attribute(of, DefaultStream::Legacy, flags, flags_of) }

    fn get_flags_spt(of: StreamHandle, flags: *mut c_uint) {
        attribute(of, DefaultStream::PerThread, flags, flags_of)
    }

    fn get_priority(of: StreamHandle, priority: *mut c_int) {
        attribute(of, DefaultStream::Legacy, priority, |stream| {
            stream.priority
        })
    }

    fn get_priority_spt(of: StreamHandle, priority: *mut c_int) {
        attribute(of, DefaultStream::PerThread, priority, |stream| {
            stream.priority
        })
    }

    fn get_device(of: StreamHandle, device: *mut c_int) {
        let (runtime, _) = stream(of, DefaultStream::Legacy)?;
        attribute(of, DefaultStream::Legacy, device, |_| {
            runtime.device.number() as c_int
        })
    }
}

/// Returns the ordinal itself, not a code.
pub unsafe extern "C" fn device_id(of: StreamHandle) -> c_int {
    stream(of, DefaultStream::Legacy).map_or(-1, |(runtime, _)| runtime.device.number() as c_int)
}

api! {
    fn get_id(of: StreamHandle, at: *mut u64) {
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        runtime.lock().streams.get(id)?;
        put(at, stream_number(runtime.device, id))
    }
}

fn stream_number(device: DeviceIndex, id: StreamId) -> u64 {
    if id == LEGACY {
        0
    } else {
        handle(device, id) as u64
    }
}

api! {
    /// Managed memory needs no attaching here; the call must still name a stream.
    fn attach_memory(of: StreamHandle, memory: *mut c_void, _size: usize, _flags: c_uint) {
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        runtime.lock().streams.get(id)?;
        if memory.is_null() {
            Err(HipError::InvalidValue)
        } else {
            Ok(())
        }
    }
}
