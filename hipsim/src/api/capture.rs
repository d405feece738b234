//! Stream capture.

use std::cell::RefCell;
use std::ffi::{c_int, c_uint, c_ulonglong, c_void};

use super::graph_nodes::{NodeHandle, handles};
use super::support::{DefaultStream, api, put, run, stream};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{GraphHandle, StreamHandle};
use crate::runtime::capture::{Mode, Status, exchange_heeded};
use crate::runtime::streams::LEGACY;

fn begin_on(
    of: StreamHandle,
    mode: c_int,
    default: DefaultStream,
    into: Option<(u64, Vec<u64>)>,
) -> Result {
    let (runtime, id) = stream(of, default)?;
    if id == LEGACY {
        return Err(HipError::StreamCaptureUnsupported);
    }
    let mode = Mode::new(mode)?;
    let mut core = runtime.lock();
    if core.streams.get(id)?.capture.is_some() {
        return Err(HipError::IllegalState);
    }
    let capture = core.captures.begin(id, mode, into)?;
    core.streams.get_mut(id)?.capture = Some(capture);
    Ok(())
}

fn end_on(of: StreamHandle, default: DefaultStream) -> Result<u64> {
    let (runtime, id) = stream(of, default)?;
    let mut core = runtime.lock();
    let capture = core.streams.get(id)?.capture;
    let capture = capture.ok_or(HipError::IllegalState)?;
    let ended = core.captures.end(capture, id);
    let goes_on = [
        HipError::StreamCaptureUnmatched,
        HipError::StreamCaptureWrongThread,
    ];
    if !ended.is_err_and(|error| goes_on.contains(&error)) {
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

unsafe fn end_into(at: *mut GraphHandle, of: StreamHandle, default: DefaultStream) -> Result {
    if at.is_null() {
        return Err(HipError::InvalidValue);
    }
    let ended = end_on(of, default);
    let graph = *ended.as_ref().unwrap_or(&0);
    // SAFETY: the program's pointer for the result; a failed capture gives a null graph.
    unsafe { put(at, graph as GraphHandle)? };
    ended.map(|_| ())
}

api! {
    fn begin(of: StreamHandle, mode: c_int) { begin_on(of, mode, DefaultStream::Legacy, None) }
    fn begin_spt(of: StreamHandle, mode: c_int) { begin_on(of, mode, DefaultStream::PerThread, None) }

    fn begin_to_graph(
        of: StreamHandle, graph: GraphHandle, after: *const NodeHandle, _edge_data: *const c_void,
        count: usize, mode: c_int
    ) {
        let after = handles(after, count)?;
        begin_on(of, mode, DefaultStream::Legacy, Some((graph as u64, after)))
    }

    fn end(of: StreamHandle, at: *mut GraphHandle) { end_into(at, of, DefaultStream::Legacy) }
    fn end_spt(of: StreamHandle, at: *mut GraphHandle) { end_into(at, of, DefaultStream::PerThread) }
}

fn status_of(of: StreamHandle, default: DefaultStream) -> Result<(Status, u64)> {
    let (runtime, id) = stream(of, default)?;
    let core = runtime.lock();
    let capture = core.streams.get(id)?.capture;
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

api! {
    fn is_capturing(of: StreamHandle, status: *mut c_int) {
        tell(of, DefaultStream::Legacy, status, std::ptr::null_mut())
    }

    fn is_capturing_spt(of: StreamHandle, status: *mut c_int) {
        tell(of, DefaultStream::PerThread, status, std::ptr::null_mut())
    }

    fn capture_info(of: StreamHandle, status: *mut c_int, id: *mut c_ulonglong) {
        tell(of, DefaultStream::Legacy, status, id)
    }

    fn capture_info_spt(of: StreamHandle, status: *mut c_int, id: *mut c_ulonglong) {
        tell(of, DefaultStream::PerThread, status, id)
    }
}

unsafe fn tell_v2(
    of: StreamHandle,
    default: DefaultStream,
    (status, id): (*mut c_int, *mut c_ulonglong),
    dependencies: *mut *const NodeHandle,
    count: *mut usize,
) -> Result {
    thread_local! {
        /// The list given last: the API lends it until the next call.
        static LENT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    let (found, capture) = status_of(of, default)?;
    let after = match found {
        Status::Active => {
            let (runtime, stream) = stream(of, default)?;
            runtime.lock().captures.dependencies(capture, stream)
        }
        _ => Vec::new(),
    };
    LENT.with_borrow_mut(|lent| {
        *lent = after;
        // SAFETY: the program's pointers for the results; these may be null.
        unsafe {
            let _ = put(dependencies, lent.as_ptr().cast());
            let _ = put(count, lent.len());
        }
    });
    // SAFETY: as above.
    unsafe { tell(of, default, status, id) }
}

pub unsafe extern "C" fn capture_info_v2(
    of: StreamHandle,
    status: *mut c_int,
    id: *mut c_ulonglong,
    graph: *mut GraphHandle,
    dependencies: *mut *const NodeHandle,
    count: *mut usize,
) -> i32 {
    // The graph gets its handle when the capture ends.
    // SAFETY: as above.
    run(|| unsafe {
        let _ = put(graph, std::ptr::null_mut());
        tell_v2(of, DefaultStream::Legacy, (status, id), dependencies, count)
    })
}

api! {
    fn capture_info_v2_spt(
        of: StreamHandle, status: *mut c_int, id: *mut c_ulonglong, graph: *mut GraphHandle,
        dependencies: *mut *const NodeHandle, count: *mut usize
    ) {
        let _ = put(graph, std::ptr::null_mut());
        tell_v2(
            of,
            DefaultStream::PerThread,
            (status, id),
            dependencies,
            count,
        )
    }
}

/// `hipStreamAddCaptureDependencies` and `hipStreamSetCaptureDependencies`.
const ADD_DEPENDENCIES: c_uint = 0;
const SET_DEPENDENCIES: c_uint = 1;

api! {
    fn update_dependencies(of: StreamHandle, nodes: *const NodeHandle, count: usize, flags: c_uint) {
        let mut after = handles(nodes, count)?;
        let (found, capture) = status_of(of, DefaultStream::Legacy)?;
        if found != Status::Active {
            return Err(HipError::IllegalState);
        }
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        let mut core = runtime.lock();
        match flags {
            ADD_DEPENDENCIES => after.extend(core.captures.dependencies(capture, id)),
            SET_DEPENDENCIES => {}
            _ => return Err(HipError::InvalidValue),
        }
        core.captures.set_dependencies(capture, id, after)
    }

    fn exchange_mode(mode: *mut c_int) {
        if mode.is_null() {
            return Err(HipError::InvalidValue);
        }
        // SAFETY: the program's pointer, not null.
        unsafe {
            let before = exchange_heeded(Mode::new(*mode)?);
            *mode = before as c_int;
        }
        Ok(())
    }
}
