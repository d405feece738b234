//! Adding nodes to graphs, and changing what they do, in the graph or in an executable one.

use std::ffi::{c_int, c_void};

use super::copy::linear_work;
use super::copy_driver::driver_box_work;
use super::copy_shaped::box_work;
use super::copy_symbol::symbol_part;
use super::fill;
use super::launch::{Arguments, Launch, NO_EVENTS, by_stub};
use super::support::{DefaultStream, api, put, run};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{
    EventHandle, GraphExecHandle, GraphHandle, HostNodeParams, KernelNodeParams, Memcpy3d,
    Memcpy3dParams, MemsetParams,
};
use crate::runtime;
use crate::runtime::command::{Address, Command, External};
use crate::runtime::devices::DeviceIndex;
use crate::runtime::events::{self, EventId};
use crate::runtime::graph::{Node, NodeType, StepWork, Work};

/// A node's handle as programs hold it.
pub type NodeHandle = *mut c_void;

/// What a new node does, or an old one shall do.
pub struct Content {
    node_type: NodeType,
    work: Work,
    kernel: Option<KernelNodeParams>,
}

impl Content {
    fn of(node_type: NodeType, work: Work) -> Self {
        Self {
            node_type,
            work,
            kernel: None,
        }
    }

    fn external(node_type: NodeType, work: External) -> Self {
        Self::of(node_type, Work::Command(Command::External(work)))
    }
}

/// The handles of a list of nodes.
///
/// # Safety
/// `nodes` is null or has `count` handles.
///
/// # Errors
/// A count without a list.
pub unsafe fn handles(nodes: *const NodeHandle, count: usize) -> Result<Vec<u64>> {
    match (nodes.is_null(), count) {
        (_, 0) => Ok(Vec::new()),
        (true, _) => Err(HipError::InvalidValue),
        // SAFETY: the caller's promise.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(nodes, count) }
            .iter()
            .map(|node| *node as u64)
            .collect()),
    }
}

unsafe fn add(
    at: *mut NodeHandle,
    graph: GraphHandle,
    after: *const NodeHandle,
    count: usize,
    content: impl FnOnce() -> Result<Content>,
) -> i32 {
    run(|| {
        if at.is_null() {
            return Err(HipError::InvalidValue);
        }
        // SAFETY: the program's list.
        let after = unsafe { handles(after, count) }?;
        let content = content()?;
        let mut core = runtime::get()?.lock();
        let handle = core.captures.fresh();
        core.captures.graph_mut(graph as u64)?.add(Node {
            handle,
            node_type: content.node_type,
            work: content.work,
            after,
            kernel: content.kernel,
            original: None,
        })?;
        // SAFETY: the program's pointer for the result.
        unsafe { put(at, handle as NodeHandle) }
    })
}

fn change(node: NodeHandle, content: impl FnOnce() -> Result<Content>) -> i32 {
    run(|| {
        let content = content()?;
        let mut core = runtime::get()?.lock();
        let node = core.captures.node(node as u64)?;
        if node.node_type != content.node_type {
            return Err(HipError::InvalidValue);
        }
        node.work = content.work;
        node.kernel = content.kernel;
        Ok(())
    })
}

fn change_executable(
    executable: GraphExecHandle,
    node: NodeHandle,
    content: impl FnOnce() -> Result<Content>,
) -> i32 {
    run(|| {
        let content = content()?;
        let mut core = runtime::get()?.lock();
        let executable = core.captures.executable(executable as u64)?;
        let mut steps = executable.steps.iter_mut();
        let step = steps.find(|step| step.node == node as u64);
        let step = step.filter(|step| step.node_type == content.node_type);
        let step = step.ok_or(HipError::InvalidValue)?;
        step.work = match content.work {
            Work::Command(command) => StepWork::Command(command),
            Work::WaitEvent(event) => StepWork::WaitEvent(event),
            Work::Empty => StepWork::Nothing,
            Work::Graph(graph) => StepWork::Inner(graph.instantiate()?),
        };
        Ok(())
    })
}

fn kernel(params: *const KernelNodeParams) -> Result<Content> {
    // SAFETY: the program's structure, null or valid.
    let params = unsafe { params.as_ref() }.ok_or(HipError::InvalidValue)?;
    let launch = Launch {
        kernel: by_stub(params.function)?,
        grid: params.grid,
        block: params.block,
        arguments: Arguments::Parameters {
            values: params.parameters,
            extra: params.extra,
        },
        stream: std::ptr::null_mut(),
        default: DefaultStream::Legacy,
        events: NO_EVENTS,
    };
    // SAFETY: the program passes the arguments of this kernel.
    let command = unsafe { launch.command(HipError::InvalidConfiguration) }?;
    Ok(Content {
        node_type: NodeType::Kernel,
        work: Work::Command(command),
        kernel: Some(*params),
    })
}

fn memcpy(params: *const Memcpy3dParams) -> Result<Content> {
    // SAFETY: the program's structure, null or valid.
    Ok(Content::external(NodeType::Memcpy, unsafe {
        box_work(params)
    }?))
}

fn driver_memcpy(params: *const Memcpy3d) -> Result<Content> {
    Ok(Content::external(
        NodeType::Memcpy,
        driver_box_work(params)?,
    ))
}

fn memcpy_linear(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: c_int,
) -> Result<Content> {
    Ok(Content::external(
        NodeType::Memcpy,
        linear_work(to, from, size, kind)?,
    ))
}

fn memset(params: *const MemsetParams) -> Result<Content> {
    // SAFETY: the program's structure, null or valid.
    let params = unsafe { params.as_ref() }.ok_or(HipError::InvalidValue)?;
    Ok(Content::external(
        NodeType::Memset,
        fill::node_work(params)?,
    ))
}

fn host(params: *const HostNodeParams) -> Result<Content> {
    // SAFETY: the program's structure, null or valid.
    let params = unsafe { params.as_ref() }.ok_or(HipError::InvalidValue)?;
    let function = params.function.ok_or(HipError::InvalidValue)?;
    let data = Address::from(params.data);
    Ok(Content::external(
        NodeType::Host,
        External::Host { function, data },
    ))
}

/// An event of the current device: graphs of several devices are not simulated.
fn own_event(event: EventHandle) -> Result<EventId> {
    let (device, id) = events::named(event)?;
    if device == DeviceIndex::current() {
        Ok(id)
    } else {
        Err(HipError::NotSupported)
    }
}

fn record(event: EventHandle) -> Result<Content> {
    let work = Work::Command(Command::Record(own_event(event)?));
    Ok(Content::of(NodeType::EventRecord, work))
}

fn wait(event: EventHandle) -> Result<Content> {
    let work = Work::WaitEvent(own_event(event)?);
    Ok(Content::of(NodeType::WaitEvent, work))
}

fn child(graph: GraphHandle) -> Result<Content> {
    let graph = runtime::get()?.lock().captures.clone_of(graph as u64)?;
    Ok(Content::of(NodeType::Graph, Work::Graph(graph)))
}

fn empty() -> Result<Content> {
    Ok(Content::of(NodeType::Empty, Work::Empty))
}

fn free(pointer: *mut c_void) -> Result<Content> {
    Ok(Content::external(
        NodeType::MemFree,
        External::Free(Address::from(pointer)),
    ))
}

/// One kind of node: what its content is made of, the call that adds it, and those that change it.
macro_rules! node {
    (($($argument:ident : $type:ty),*) => $content:expr; $add:ident) => {
        pub unsafe extern "C" fn $add(
            at: *mut NodeHandle,
            graph: GraphHandle,
            after: *const NodeHandle,
            count: usize,
            $($argument: $type),*
        ) -> i32 {
            // SAFETY: the program's arguments.
            unsafe { add(at, graph, after, count, || $content) }
        }
    };
    (($($argument:ident : $type:ty),*) => $content:expr; $add:ident, $set:ident, $set_executable:ident) => {
        node!(($($argument: $type),*) => $content; $add, in executables $set_executable);

        pub unsafe extern "C" fn $set(node: NodeHandle, $($argument: $type),*) -> i32 {
            change(node, || $content)
        }
    };
    (($($argument:ident : $type:ty),*) => $content:expr; $add:ident, in executables $set_executable:ident) => {
        node!(($($argument: $type),*) => $content; $add);

        pub unsafe extern "C" fn $set_executable(
            executable: GraphExecHandle,
            node: NodeHandle,
            $($argument: $type),*
        ) -> i32 {
            change_executable(executable, node, || $content)
        }
    };
}

node!((params: *const KernelNodeParams) => kernel(params); add_kernel, set_kernel, set_exec_kernel);
node!((params: *const Memcpy3dParams) => memcpy(params); add_memcpy, set_memcpy, set_exec_memcpy);
node!(
    (to: *mut c_void, from: *const c_void, size: usize, kind: c_int) => memcpy_linear(to, from, size, kind);
    add_memcpy_1d, set_memcpy_1d, set_exec_memcpy_1d
);
node!(
    (symbol: *const c_void, from: *const c_void, size: usize, offset: usize, kind: c_int)
        => memcpy_linear(symbol_part(symbol, size, offset)?, from, size, kind);
    add_memcpy_to_symbol
);
node!(
    (to: *mut c_void, symbol: *const c_void, size: usize, offset: usize, kind: c_int)
        => memcpy_linear(to, symbol_part(symbol, size, offset)?, size, kind);
    add_memcpy_from_symbol
);
node!((params: *const MemsetParams) => memset(params); add_memset, set_memset, set_exec_memset);
node!((params: *const HostNodeParams) => host(params); add_host, set_host, set_exec_host);
node!((event: EventHandle) => record(event); add_record, set_record, set_exec_record);
node!((event: EventHandle) => wait(event); add_wait, set_wait, set_exec_wait);
node!((graph: GraphHandle) => child(graph); add_child, in executables set_exec_child);
node!(() => empty(); add_empty);
node!((pointer: *mut c_void) => free(pointer); add_free);

node!(
    (params: *const Memcpy3d, _context: *mut c_void) => driver_memcpy(params);
    add_driver_memcpy, in executables set_exec_driver_memcpy
);
node!(
    (params: *const MemsetParams, _context: *mut c_void) => memset(params);
    add_driver_memset, in executables set_exec_driver_memset
);

api! {
    /// The parameters a kernel node was made with. Nodes that a capture made have none to give.
    fn kernel_params(node: NodeHandle, at: *mut KernelNodeParams) {
        let mut core = runtime::get()?.lock();
        let node = core.captures.node(node as u64)?;
        if node.node_type != NodeType::Kernel {
            return Err(HipError::InvalidValue);
        }
        put(at, node.kernel.ok_or(HipError::NotSupported)?)
    }
}
