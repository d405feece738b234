//! The shape of graphs: nodes, edges, clones, and what is switched on.

use std::ffi::{c_int, c_uint, c_void};

use super::graph_nodes::{NodeHandle, handles};
use super::support::{api, put};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{GraphExecHandle, GraphHandle};
use crate::runtime;
use crate::runtime::capture::Captures;
use crate::runtime::graph::{Graph, Step};

/// Gives a list the way the API does: the number when there is no room for it, else as much as fits and the number given.
unsafe fn give(found: &[u64], at: *mut NodeHandle, count: *mut usize) -> Result {
    if count.is_null() {
        return Err(HipError::InvalidValue);
    }
    if at.is_null() {
        // SAFETY: the program's pointer for the result.
        return unsafe { put(count, found.len()) };
    }
    // SAFETY: the program's array has as many places as `count` says.
    unsafe {
        let room = *count;
        for place in 0..room {
            // What is left over is null.
            let node = found.get(place).copied().unwrap_or(0);
            at.add(place).write(node as NodeHandle);
        }
        put(count, room.min(found.len()))
    }
}

unsafe fn tell(
    at: *mut NodeHandle,
    count: *mut usize,
    find: impl FnOnce(&mut Captures) -> Result<Vec<u64>>,
) -> Result {
    let found = find(&mut runtime::get()?.lock().captures)?;
    // SAFETY: the program's places for the results.
    unsafe { give(&found, at, count) }
}

api! {
    fn nodes(graph: GraphHandle, at: *mut NodeHandle, count: *mut usize) {
        tell(at, count, |captures| {
            let nodes = &captures.graph(graph as u64)?.nodes;
            Ok(nodes.iter().map(|node| node.handle).collect())
        })
    }

    fn roots(graph: GraphHandle, at: *mut NodeHandle, count: *mut usize) {
        tell(at, count, |captures| {
            let nodes = captures.graph(graph as u64)?.nodes.iter();
            let roots = nodes.filter(|node| node.after.is_empty());
            Ok(roots.map(|node| node.handle).collect())
        })
    }

    fn dependencies(node: NodeHandle, at: *mut NodeHandle, count: *mut usize) {
        tell(at, count, |captures| {
            Ok(captures.node(node as u64)?.after.clone())
        })
    }

    fn dependents(node: NodeHandle, at: *mut NodeHandle, count: *mut usize) {
        let node = node as u64;
        tell(at, count, |captures| {
            let nodes = captures.graph_of(node)?.nodes.iter();
            let behind = nodes.filter(|other| other.after.contains(&node));
            Ok(behind.map(|other| other.handle).collect())
        })
    }

    fn edges(graph: GraphHandle, from: *mut NodeHandle, to: *mut NodeHandle, count: *mut usize) {
        let edges: Vec<(u64, u64)> = {
            let core = runtime::get()?.lock();
            let nodes = core.captures.graph(graph as u64)?.nodes.iter();
            nodes
                .flat_map(|node| node.after.iter().map(|before| (*before, node.handle)))
                .collect()
        };
        let (starts, ends): (Vec<u64>, Vec<u64>) = edges.into_iter().unzip();
        if from.is_null() != to.is_null() || count.is_null() {
            return Err(HipError::InvalidValue);
        }
        let mut room = *count;
        give(&starts, from, &raw mut room)?;
        give(&ends, to, count)
    }
}

unsafe fn change_edges(
    graph: GraphHandle,
    from: *const NodeHandle,
    to: *const NodeHandle,
    count: usize,
    change: impl Fn(&mut Graph, u64, u64) -> Result,
) -> Result {
    // SAFETY: the program's lists.
    let (from, to) = unsafe { (handles(from, count)?, handles(to, count)?) };
    let mut core = runtime::get()?.lock();
    let graph = core.captures.graph_mut(graph as u64)?;
    for (from, to) in from.into_iter().zip(to) {
        if from == to || graph.node(from).is_none() || graph.node(to).is_none() {
            return Err(HipError::InvalidValue);
        }
        change(graph, from, to)?;
    }
    Ok(())
}

fn after(graph: &mut Graph, node: u64) -> Option<&mut Vec<u64>> {
    let found = graph.nodes.iter_mut().find(|other| other.handle == node);
    found.map(|node| &mut node.after)
}

api! {
    fn add(graph: GraphHandle, from: *const NodeHandle, to: *const NodeHandle, count: usize) {
        change_edges(graph, from, to, count, |graph, from, to| {
            let after = after(graph, to).filter(|after| !after.contains(&from));
            after.ok_or(HipError::InvalidValue)?.push(from);
            Ok(())
        })
    }

    fn remove(graph: GraphHandle, from: *const NodeHandle, to: *const NodeHandle, count: usize) {
        change_edges(graph, from, to, count, |graph, from, to| {
            let after = after(graph, to).filter(|after| after.contains(&from));
            after
                .ok_or(HipError::InvalidValue)?
                .retain(|other| *other != from);
            Ok(())
        })
    }

    fn destroy_node(node: NodeHandle) {
        let node = node as u64;
        let mut core = runtime::get()?.lock();
        let graph = core.captures.graph_of(node)?;
        graph.nodes.retain(|other| other.handle != node);
        for other in &mut graph.nodes {
            other.after.retain(|before| *before != node);
        }
        Ok(())
    }

    fn node_type(node: NodeHandle, at: *mut c_int) {
        let node_type = runtime::get()?.lock().captures.node(node as u64)?.node_type;
        put(at, node_type as c_int)
    }

    fn find_in_clone(at: *mut NodeHandle, original: NodeHandle, clone: GraphHandle) {
        let found = {
            let core = runtime::get()?.lock();
            let mut nodes = core.captures.graph(clone as u64)?.nodes.iter();
            nodes
                .find(|node| node.original == Some(original as u64))
                .map(|node| node.handle)
        };
        put(at, found.ok_or(HipError::InvalidValue)? as NodeHandle)
    }
}

fn with_step<T>(
    executable: GraphExecHandle,
    node: *mut c_void,
    look: impl FnOnce(&mut Step) -> T,
) -> Result<T> {
    let mut core = runtime::get()?.lock();
    let mut steps = core
        .captures
        .executable(executable as u64)?
        .steps
        .iter_mut();
    let step = steps.find(|step| step.node == node as u64);
    Ok(look(step.ok_or(HipError::InvalidValue)?))
}

api! {
    fn enabled(executable: GraphExecHandle, node: NodeHandle, at: *mut c_uint) {
        put(
            at,
            with_step(executable, node, |step| c_uint::from(step.enabled))?,
        )
    }

    fn set_enabled(executable: GraphExecHandle, node: NodeHandle, enabled: c_uint) {
        with_step(executable, node, |step| step.enabled = enabled != 0)
    }
}
