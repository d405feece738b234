//! Stream capture and launching what it made.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use super::support::{DefaultStream, put, run, stream};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{GraphExecHandle, GraphHandle, StreamHandle};
use crate::runtime;
use crate::runtime::capture::Status;
use crate::runtime::streams::LEGACY;
use crate::runtime::wait::Attendance;

fn begin_on(of: StreamHandle, mode: c_int, default: DefaultStream) -> Result {
    let (runtime, id) = stream(of, default)?;
    if id == LEGACY {
        return Err(HipError::StreamCaptureUnsupported);
    }
    if !(0..=2).contains(&mode) {
        return Err(HipError::InvalidValue);
    }
    let mut core = runtime.lock();
    if core
        .streams
        .get(id)
        .ok_or(HipError::ContextIsDestroyed)?
        .capture
        .is_some()
    {
        return Err(HipError::IllegalState);
    }
    let capture = core.captures.begin(id);
    if let Some(stream) = core.streams.get_mut(id) {
        stream.capture = Some(capture);
    }
    Ok(())
}

fn end_on(of: StreamHandle, default: DefaultStream) -> Result<u64> {
    let (runtime, id) = stream(of, default)?;
    let mut core = runtime.lock();
    let capture = core
        .streams
        .get(id)
        .ok_or(HipError::ContextIsDestroyed)?
        .capture;
    let capture = capture.ok_or(HipError::IllegalState)?;
    let ended = core.captures.end(capture, id);
    if ended != Err(HipError::StreamCaptureUnmatched) {
        // The streams that joined the capture leave it with its origin.
        for stream in core
            .streams
            .iter_mut()
            .filter(|stream| stream.capture == Some(capture))
        {
            stream.capture = None;
        }
    }
    ended
}

unsafe fn end_into(at: *mut GraphHandle, of: StreamHandle, default: DefaultStream) -> i32 {
    run(|| {
        if at.is_null() {
            return Err(HipError::InvalidValue);
        }
        let ended = end_on(of, default);
        let graph = *ended.as_ref().unwrap_or(&0);
        // SAFETY: the program's pointer for the result; a failed capture gives a null graph.
        unsafe { put(at, graph as GraphHandle)? };
        ended.map(|_| ())
    })
}

pub unsafe extern "C" fn begin(of: StreamHandle, mode: c_int) -> i32 {
    run(|| begin_on(of, mode, DefaultStream::Legacy))
}

pub unsafe extern "C" fn begin_spt(of: StreamHandle, mode: c_int) -> i32 {
    run(|| begin_on(of, mode, DefaultStream::PerThread))
}

pub unsafe extern "C" fn end(of: StreamHandle, at: *mut GraphHandle) -> i32 {
    // SAFETY: the program's pointer for the result.
    unsafe { end_into(at, of, DefaultStream::Legacy) }
}

pub unsafe extern "C" fn end_spt(of: StreamHandle, at: *mut GraphHandle) -> i32 {
    // SAFETY: as above.
    unsafe { end_into(at, of, DefaultStream::PerThread) }
}

fn status_of(of: StreamHandle, default: DefaultStream) -> Result<(Status, u64)> {
    let (runtime, id) = stream(of, default)?;
    let core = runtime.lock();
    let capture = core
        .streams
        .get(id)
        .ok_or(HipError::ContextIsDestroyed)?
        .capture;
    Ok(capture.map_or((Status::None, 0), |capture| {
        (core.captures.status(capture), capture)
    }))
}

unsafe fn tell(
    of: StreamHandle,
    default: DefaultStream,
    status: *mut c_int,
    id: *mut c_ulonglong,
) -> Result {
    let (found, capture) = status_of(of, default)?;
    // SAFETY: the program's pointers for the results; the id may be null.
    unsafe {
        if found == Status::Active {
            let _ = put(id, capture);
        }
        put(status, found as c_int)
    }
}

pub unsafe extern "C" fn is_capturing(of: StreamHandle, status: *mut c_int) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { tell(of, DefaultStream::Legacy, status, std::ptr::null_mut()) })
}

pub unsafe extern "C" fn is_capturing_spt(of: StreamHandle, status: *mut c_int) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { tell(of, DefaultStream::PerThread, status, std::ptr::null_mut()) })
}

pub unsafe extern "C" fn capture_info(
    of: StreamHandle,
    status: *mut c_int,
    id: *mut c_ulonglong,
) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { tell(of, DefaultStream::Legacy, status, id) })
}

pub unsafe extern "C" fn capture_info_spt(
    of: StreamHandle,
    status: *mut c_int,
    id: *mut c_ulonglong,
) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { tell(of, DefaultStream::PerThread, status, id) })
}

/// Graphs are lists here: there are no nodes to report as dependencies.
pub unsafe extern "C" fn capture_info_v2(
    of: StreamHandle,
    status: *mut c_int,
    id: *mut c_ulonglong,
    graph: *mut GraphHandle,
    dependencies: *mut *const c_void,
    count: *mut usize,
) -> i32 {
    run(|| {
        // SAFETY: as above; the last three may be null.
        unsafe {
            let _ = put(graph, std::ptr::null_mut());
            let _ = put(dependencies, std::ptr::null());
            let _ = put(count, 0);
            tell(of, DefaultStream::Legacy, status, id)
        }
    })
}

pub unsafe extern "C" fn exchange_mode(mode: *mut c_int) -> i32 {
    // Modes only say what other threads may do during a capture, which is not restricted here.
    run(|| {
        if mode.is_null() {
            Err(HipError::InvalidValue)
        } else {
            Ok(())
        }
    })
}

fn copy_of(graph: GraphHandle) -> Result<u64> {
    let mut core = runtime::get()?.lock();
    let commands = core
        .captures
        .graph(graph as u64)
        .ok_or(HipError::InvalidValue)?
        .clone();
    Ok(core.captures.add(commands))
}

pub unsafe extern "C" fn create(at: *mut GraphHandle, _flags: c_uint) -> i32 {
    run(|| {
        let graph = runtime::get()?.lock().captures.add(Vec::new());
        // SAFETY: the program's pointer for the result.
        unsafe { put(at, graph as GraphHandle) }
    })
}

pub unsafe extern "C" fn instantiate(
    at: *mut GraphExecHandle,
    graph: GraphHandle,
    error_node: *mut *mut c_void,
    _log: *mut c_char,
    _log_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as above; the error node may be null.
        unsafe {
            let _ = put(error_node, std::ptr::null_mut());
            put(at, copy_of(graph)? as GraphExecHandle)
        }
    })
}

pub unsafe extern "C" fn instantiate_with_flags(
    at: *mut GraphExecHandle,
    graph: GraphHandle,
    _flags: c_ulonglong,
) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { put(at, copy_of(graph)? as GraphExecHandle) })
}

pub unsafe extern "C" fn clone(at: *mut GraphHandle, graph: GraphHandle) -> i32 {
    // SAFETY: as above.
    run(|| unsafe { put(at, copy_of(graph)? as GraphHandle) })
}

/// For graphs and executable graphs.
pub unsafe extern "C" fn destroy(graph: GraphHandle) -> i32 {
    run(|| {
        let removed = runtime::get()?.lock().captures.remove(graph as u64);
        if removed {
            Ok(())
        } else {
            Err(HipError::InvalidValue)
        }
    })
}

/// The number of nodes; the nodes themselves have no handles.
pub unsafe extern "C" fn nodes(
    graph: GraphHandle,
    nodes: *mut *mut c_void,
    count: *mut usize,
) -> i32 {
    run(|| {
        let length = {
            let core = runtime::get()?.lock();
            core.captures
                .graph(graph as u64)
                .ok_or(HipError::InvalidValue)?
                .len()
        };
        if !nodes.is_null() {
            return Err(HipError::NotSupported);
        }
        // SAFETY: as above.
        unsafe { put(count, length) }
    })
}

fn launch_on(graph: GraphExecHandle, of: StreamHandle, default: DefaultStream) -> Result {
    let (runtime, id) = stream(of, default)?;
    let commands = {
        let core = runtime.lock();
        core.captures
            .graph(graph as u64)
            .ok_or(HipError::InvalidValue)?
            .clone()
    };
    for command in &commands {
        runtime.submit(id, command, Attendance::Unattended)?;
    }
    Ok(())
}

pub unsafe extern "C" fn launch(graph: GraphExecHandle, of: StreamHandle) -> i32 {
    run(|| launch_on(graph, of, DefaultStream::Legacy))
}

pub unsafe extern "C" fn launch_spt(graph: GraphExecHandle, of: StreamHandle) -> i32 {
    run(|| launch_on(graph, of, DefaultStream::PerThread))
}

pub unsafe extern "C" fn upload(graph: GraphExecHandle, of: StreamHandle) -> i32 {
    run(|| {
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        let core = runtime.lock();
        core.streams.get(id).ok_or(HipError::ContextIsDestroyed)?;
        core.captures
            .graph(graph as u64)
            .map(|_| ())
            .ok_or(HipError::InvalidValue)
    })
}
