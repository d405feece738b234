//! Graphs: what differs from HIP's, which is the layout of structures and the later versions of functions.

use std::ffi::{c_int, c_uint, c_void};

use crate::code::{Code, Result};
use crate::hip::{self, GraphKernel, GraphMemset};
use crate::support::{api, offer, put};

type Handle = *mut c_void;

/// `CUDA_KERNEL_NODE_PARAMS_v1`, with which the later one begins.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Kernel {
    function: Handle,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    values: *mut Handle,
    extra: *mut Handle,
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
pub struct KernelV2 {
    first: Kernel,
    kernel: Handle,
    context: Handle,
}

/// `CUDA_MEMSET_NODE_PARAMS`.
#[repr(C)]
pub struct Memset {
    target: Handle,
    pitch: usize,
    value: c_uint,
    element_size: c_uint,
    width: usize,
    height: usize,
}

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[repr(C)]
pub struct InstantiateParams {
    flags: u64,
    upload: Handle,
    error_node: Handle,
    result: c_int,
}

/// `CUgraphExecUpdateResultInfo`.
#[repr(C)]
pub struct UpdateInfo {
    result: c_int,
    error_node: Handle,
    error_from: Handle,
}

const _: () = assert!(size_of::<GraphKernel>() == 64 && size_of::<Kernel>() == 56);
const _: () = assert!(size_of::<GraphMemset>() == 48 && size_of::<Memset>() == 40);

/// Upload behind the instantiation.
const UPLOAD: u64 = 2;

unsafe fn kernel(params: *const Kernel) -> Result<GraphKernel> {
    // SAFETY: the program's structure, null or valid.
    let params = unsafe { params.as_ref() }.ok_or(Code::INVALID_VALUE)?;
    Ok(GraphKernel {
        block: params.block,
        extra: params.extra,
        function: params.function,
        grid: params.grid,
        values: params.values,
        shared: params.shared,
    })
}

fn back(params: &GraphKernel) -> Kernel {
    Kernel {
        function: params.function,
        grid: params.grid,
        block: params.block,
        shared: params.shared,
        values: params.values,
        extra: params.extra,
    }
}

unsafe fn memset(params: *const Memset) -> Result<GraphMemset> {
    // SAFETY: the program's structure, null or valid.
    let params = unsafe { params.as_ref() }.ok_or(Code::INVALID_VALUE)?;
    Ok(GraphMemset {
        target: params.target,
        element_size: params.element_size,
        height: params.height,
        pitch: params.pitch,
        value: params.value,
        width: params.width,
    })
}

unsafe fn params_of(node: Handle) -> Result<GraphKernel> {
    let mut found = std::mem::MaybeUninit::<GraphKernel>::zeroed();
    // SAFETY: room for the result, all of whose bit patterns are valid.
    unsafe {
        hip::hipGraphKernelNodeGetParams(node, found.as_mut_ptr())?;
        Ok(found.assume_init())
    }
}

api! {
    fn instantiate_with_params(at: *mut Handle, graph: Handle, params: *mut InstantiateParams) {
        let params = params.as_mut().ok_or(Code::INVALID_VALUE)?;
        hip::hipGraphInstantiateWithFlags(at, graph, params.flags)?;
        params.error_node = std::ptr::null_mut();
        params.result = 0;
        if params.flags & UPLOAD != 0 {
            hip::hipGraphUpload(*at, params.upload)?;
        }
        Ok(())
    }

    fn add_kernel(
        at: *mut Handle, graph: Handle, after: *const Handle, count: usize, params: *const Kernel,
    ) {
        let params = kernel(params)?;
        hip::hipGraphAddKernelNode(at, graph, after, count, &raw const params)
    }

    fn set_kernel(node: Handle, params: *const Kernel) {
        let params = kernel(params)?;
        hip::hipGraphKernelNodeSetParams(node, &raw const params)
    }

    fn set_exec_kernel(executable: Handle, node: Handle, params: *const Kernel) {
        let params = kernel(params)?;
        hip::hipGraphExecKernelNodeSetParams(executable, node, &raw const params)
    }

    fn get_kernel(node: Handle, at: *mut Kernel) { put(at, back(&params_of(node)?)) }

    fn get_kernel_v2(node: Handle, at: *mut KernelV2) {
        let first = back(&params_of(node)?);
        let (kernel, context) = (std::ptr::null_mut(), std::ptr::null_mut());
        put(at, KernelV2 { first, kernel, context })
    }

    fn add_memset(
        at: *mut Handle, graph: Handle, after: *const Handle, count: usize, params: *const Memset,
        _context: Handle,
    ) {
        let params = memset(params)?;
        hip::hipGraphAddMemsetNode(at, graph, after, count, &raw const params)
    }

    fn set_exec_memset(
        executable: Handle, node: Handle, params: *const Memset, _context: Handle,
    ) {
        let params = memset(params)?;
        hip::hipGraphExecMemsetNodeSetParams(executable, node, &raw const params)
    }

    fn update(executable: Handle, graph: Handle, info: *mut UpdateInfo) {
        let (mut node, mut result) = (std::ptr::null_mut(), 0);
        let updated =
            hip::hipGraphExecUpdate(executable, graph, &raw mut node, &raw mut result);
        offer(info, UpdateInfo { result, error_node: node, error_from: std::ptr::null_mut() });
        updated
    }

    fn add_dependencies(
        graph: Handle, from: *const Handle, to: *const Handle, _edges: *const c_void, count: usize,
    ) {
        hip::hipGraphAddDependencies(graph, from, to, count)
    }

    fn remove_dependencies(
        graph: Handle, from: *const Handle, to: *const Handle, _edges: *const c_void, count: usize,
    ) {
        hip::hipGraphRemoveDependencies(graph, from, to, count)
    }

    fn edges(
        graph: Handle, from: *mut Handle, to: *mut Handle, _edges: *mut c_void, count: *mut usize,
    ) {
        hip::hipGraphGetEdges(graph, from, to, count)
    }

    fn dependencies(node: Handle, nodes: *mut Handle, _edges: *mut c_void, count: *mut usize) {
        hip::hipGraphNodeGetDependencies(node, nodes, count)
    }

    fn dependents(node: Handle, nodes: *mut Handle, _edges: *mut c_void, count: *mut usize) {
        hip::hipGraphNodeGetDependentNodes(node, nodes, count)
    }
}
