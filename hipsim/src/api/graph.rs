//! Making, updating and launching executable graphs.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use super::graph_nodes::NodeHandle;
use super::support::{DefaultStream, api, put, stream};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{GraphExecHandle, GraphHandle, StreamHandle};
use crate::runtime;
use crate::runtime::command::Command;
use crate::runtime::events::Recorded;
use crate::runtime::graph::{Graph, StepWork};
use crate::runtime::wait::Attendance;

fn executable_of(graph: GraphHandle) -> Result<u64> {
    let mut core = runtime::get()?.lock();
    let executable = core.captures.graph(graph as u64)?.instantiate()?;
    Ok(core.captures.add_executable(executable))
}

api! {
    fn create(at: *mut GraphHandle, _flags: c_uint) {
        let graph = runtime::get()?.lock().captures.add(Graph::default());
        put(at, graph as GraphHandle)
    }

    fn instantiate(
        at: *mut GraphExecHandle, graph: GraphHandle, error_node: *mut *mut c_void, _log: *mut c_char,
        _log_size: usize
    ) {
        let _ = put(error_node, std::ptr::null_mut());
        put(at, executable_of(graph)? as GraphExecHandle)
    }

    fn instantiate_with_flags(at: *mut GraphExecHandle, graph: GraphHandle, _flags: c_ulonglong) {
        put(at, executable_of(graph)? as GraphExecHandle)
    }
}

/// `hipGraphInstantiateParams`: flags, the node of an error, the result, the stream of an upload.
#[repr(C)]
pub struct InstantiateParams {
    error_node: *mut c_void,
    flags: c_ulonglong,
    result: c_int,
    upload: StreamHandle,
}

api! {
    fn instantiate_with_params(at: *mut GraphExecHandle, graph: GraphHandle, params: *mut InstantiateParams) {
        let params = params.as_mut().ok_or(HipError::InvalidValue)?;
        let executable = executable_of(graph)?;
        params.error_node = std::ptr::null_mut();
        params.result = 0;
        put(at, executable as GraphExecHandle)
    }

    fn clone(at: *mut GraphHandle, graph: GraphHandle) {
        let clone = {
            let mut core = runtime::get()?.lock();
            let copy = core.captures.clone_of(graph as u64)?;
            core.captures.add(copy)
        };
        put(at, clone as GraphHandle)
    }
}

fn existed(removed: bool) -> Result {
    if removed {
        Ok(())
    } else {
        Err(HipError::InvalidValue)
    }
}

api! {
    fn destroy(graph: GraphHandle) { existed(runtime::get()?.lock().captures.remove(graph as u64)) }

    fn destroy_executable(graph: GraphExecHandle) {
        let mut core = runtime::get()?.lock();
        existed(core.captures.remove_executable(graph as u64))
    }
}

/// `hipGraphExecUpdateResult`.
const UPDATED: c_int = 0;
const TOPOLOGY_CHANGED: c_int = 2;

api! {
    fn update(
        executable: GraphExecHandle, graph: GraphHandle, error_node: *mut NodeHandle, result: *mut c_int
    ) {
        let updated = {
            let mut core = runtime::get()?.lock();
            let fresh = core.captures.graph(graph as u64)?.instantiate()?;
            core.captures.executable(executable as u64)?.update(fresh)
        };
        let _ = put(error_node, std::ptr::null_mut());
        let _ = put(result, if updated { UPDATED } else { TOPOLOGY_CHANGED });
        if updated {
            Ok(())
        } else {
            Err(HipError::GraphExecUpdateFailure)
        }
    }

    fn executable_flags(executable: GraphExecHandle, at: *mut c_ulonglong) {
        let mut core = runtime::get()?.lock();
        core.captures.executable(executable as u64)?;
        put(at, 0)
    }
}

fn launch_on(graph: GraphExecHandle, of: StreamHandle, default: DefaultStream) -> Result {
    let (runtime, id) = stream(of, default)?;
    let work = runtime.lock().captures.executable(graph as u64)?.work();
    for work in work {
        let command = match work {
            StepWork::Command(command) => command,
            StepWork::WaitEvent(event) => {
                let recorded = runtime.lock().events.get(event).map(|event| event.recorded);
                match recorded {
                    Ok(Recorded::At { point, at: None }) => Command::WaitFor(vec![point]),
                    _ => continue,
                }
            }
            StepWork::Nothing | StepWork::Inner(_) => continue,
        };
        runtime.submit(id, &command, Attendance::Unattended)?;
    }
    Ok(())
}

api! {
    fn launch(graph: GraphExecHandle, of: StreamHandle) { launch_on(graph, of, DefaultStream::Legacy) }
    fn launch_spt(graph: GraphExecHandle, of: StreamHandle) { launch_on(graph, of, DefaultStream::PerThread) }

    fn upload(graph: GraphExecHandle, of: StreamHandle) {
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        let mut core = runtime.lock();
        core.streams.get(id)?;
        core.captures.executable(graph as u64).map(|_| ())
    }
}
