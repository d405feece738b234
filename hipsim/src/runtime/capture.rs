//! Stream capture, and the table of all graphs.

use std::cell::Cell;
use std::collections::HashMap;
use std::thread::{self, ThreadId};

use super::command::{Command, External};
use super::events::EventId;
use super::graph::{Executable, Graph, Handle, Node, NodeType, Work};
use super::streams::StreamId;
use crate::abi::error::{HipError, Result};

/// What a capture forbids others (`hipStreamCaptureMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No thread may make unsafe calls.
    Global,
    /// The thread that began it may not.
    ThreadLocal,
    /// Anything goes.
    Relaxed,
}

impl Mode {
    /// The mode of this number.
    ///
    /// # Errors
    /// There is none.
    pub fn new(number: i32) -> Result<Mode> {
        match number {
            0 => Ok(Mode::Global),
            1 => Ok(Mode::ThreadLocal),
            2 => Ok(Mode::Relaxed),
            _ => Err(HipError::InvalidValue),
        }
    }
}

thread_local! {
    /// What this thread's own calls pay heed to (`hipThreadExchangeStreamCaptureMode`).
    static HEEDED: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// Sets what the calling thread's calls pay heed to; what it was.
pub fn exchange_heeded(mode: Mode) -> Mode {
    HEEDED.replace(mode)
}

#[derive(Debug)]
struct Capture {
    origin: StreamId,
    mode: Mode,
    thread: ThreadId,
    graph: Graph,
    /// The program's graph that gets the nodes, and how many it had.
    into: Option<(Handle, usize)>,
    valid: bool,
    /// What the next node of each stream will wait for.
    ends: HashMap<StreamId, Vec<Handle>>,
    /// The same at the places where events were recorded.
    events: HashMap<EventId, Vec<Handle>>,
}

/// Captures under way, graphs, and executable graphs, by handle.
#[derive(Debug, Default)]
pub struct Captures {
    active: HashMap<u64, Capture>,
    graphs: HashMap<Handle, Graph>,
    executables: HashMap<Handle, Executable>,
    last: u64,
}

/// State of a stream's capture (`hipStreamCaptureStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    None = 0,
    Active = 1,
    Invalidated = 2,
}

/// Handles of graphs and nodes: never mapped addresses, never reused.
const FIRST: u64 = 0x54 << 40;

/// The node that captured work becomes.
fn node_type(command: &Command) -> NodeType {
    match command {
        Command::Kernel { .. } => NodeType::Kernel,
        Command::External(External::Copy { .. }) => NodeType::Memcpy,
        Command::External(External::Fill { .. }) => NodeType::Memset,
        Command::External(External::Free(_)) => NodeType::MemFree,
        Command::External(_) => NodeType::Host,
        Command::Record(_) => NodeType::EventRecord,
        Command::WaitFor(_) => NodeType::Empty,
    }
}

impl Captures {
    /// A handle nothing else has.
    pub fn fresh(&mut self) -> Handle {
        self.last += 16;
        FIRST + self.last
    }

    /// Starts a capture on a stream, into a graph of the program behind some of its nodes, or into a new one; its id.
    ///
    /// # Errors
    /// No such graph.
    pub fn begin(
        &mut self,
        origin: StreamId,
        mode: Mode,
        into: Option<(Handle, Vec<Handle>)>,
    ) -> Result<u64> {
        let (graph, into, after) = match into {
            Some((handle, after)) => {
                let graph = self.graph(handle)?.clone();
                let into = Some((handle, graph.nodes.len()));
                (graph, into, after)
            }
            None => (Graph::default(), None, Vec::new()),
        };
        let id = self.fresh();
        let capture = Capture {
            origin,
            mode,
            thread: thread::current().id(),
            graph,
            into,
            valid: true,
            ends: HashMap::from([(origin, after)]),
            events: HashMap::new(),
        };
        self.active.insert(id, capture);
        Ok(id)
    }

    /// Adds what a capturing stream was asked to do.
    pub fn record(&mut self, id: u64, stream: StreamId, command: &Command) {
        let handle = self.fresh();
        if let Some(capture) = self.active.get_mut(&id) {
            let end = capture.ends.entry(stream).or_default();
            capture.graph.nodes.push(Node {
                handle,
                node_type: node_type(command),
                work: Work::Command(command.clone()),
                after: std::mem::replace(end, vec![handle]),
                kernel: None,
                original: None,
            });
        }
    }

    /// Notes where in the capture an event was recorded.
    pub fn record_event(&mut self, id: u64, stream: StreamId, event: EventId) {
        if let Some(capture) = self.active.get_mut(&id) {
            let end = capture.ends.get(&stream).cloned().unwrap_or_default();
            capture.events.insert(event, end);
        }
    }

    /// Makes a stream of the capture wait for an event recorded in it.
    pub fn wait_event(&mut self, id: u64, stream: StreamId, event: EventId) {
        if let Some(capture) = self.active.get_mut(&id) {
            let place = capture.events.get(&event).cloned().unwrap_or_default();
            let end = capture.ends.entry(stream).or_default();
            for handle in place {
                if !end.contains(&handle) {
                    end.push(handle);
                }
            }
        }
    }

    /// What the next node of a stream will wait for.
    pub fn dependencies(&self, id: u64, stream: StreamId) -> Vec<Handle> {
        let capture = self.active.get(&id);
        capture
            .and_then(|capture| capture.ends.get(&stream).cloned())
            .unwrap_or_default()
    }

    /// Changes that: adds to it, or replaces it.
    ///
    /// # Errors
    /// A node is not in the capture.
    pub fn set_dependencies(&mut self, id: u64, stream: StreamId, after: Vec<Handle>) -> Result {
        let capture = self.active.get_mut(&id).ok_or(HipError::IllegalState)?;
        if after.iter().any(|node| capture.graph.node(*node).is_none()) {
            return Err(HipError::InvalidValue);
        }
        capture.ends.insert(stream, after);
        Ok(())
    }

    /// A forbidden call was made on a capturing stream.
    pub fn invalidate(&mut self, id: u64) {
        if let Some(capture) = self.active.get_mut(&id) {
            capture.valid = false;
        }
    }

    /// The calling thread asks about work outside of any capture, which captures may forbid: those are invalidated. As
    /// Stream::StreamCaptureOngoing of ROCm/clr `hip_stream.cpp`.
    ///
    /// # Errors
    /// A capture forbids it.
    pub fn disturb(&mut self) -> Result {
        if HEEDED.get() == Mode::Relaxed {
            return Ok(());
        }
        let me = thread::current().id();
        let any_global = self
            .active
            .values()
            .any(|capture| capture.mode == Mode::Global);
        let forbids = |capture: &Capture| match (any_global, capture.mode) {
            (true, mode) => mode == Mode::Global,
            (false, mode) => mode == Mode::ThreadLocal && capture.thread == me,
        };
        let mut disturbed = false;
        for capture in self.active.values_mut().filter(|c| forbids(c)) {
            capture.valid = false;
            disturbed = true;
        }
        if disturbed {
            Err(HipError::StreamCaptureUnsupported)
        } else {
            Ok(())
        }
    }

    /// State of a capture.
    pub fn status(&self, id: u64) -> Status {
        match self.active.get(&id) {
            None => Status::None,
            Some(capture) if capture.valid => Status::Active,
            Some(_) => Status::Invalidated,
        }
    }

    /// Whether any capture is under way.
    pub fn any(&self) -> bool {
        !self.active.is_empty()
    }

    /// Ends the capture that began on `stream`; the graph's handle.
    ///
    /// # Errors
    /// It began on another stream, or in another thread and is not relaxed (nothing changes); it was invalidated, or another stream's work was not joined (it ends).
    pub fn end(&mut self, id: u64, stream: StreamId) -> Result<Handle> {
        if self
            .active
            .get(&id)
            .is_some_and(|capture| capture.origin != stream)
        {
            return Err(HipError::StreamCaptureUnmatched);
        }
        if self.active.get(&id).is_some_and(|capture| {
            capture.mode != Mode::Relaxed && capture.thread != thread::current().id()
        }) {
            return Err(HipError::StreamCaptureWrongThread);
        }
        let capture = self.active.remove(&id).ok_or(HipError::IllegalState)?;
        if !capture.valid {
            return Err(HipError::StreamCaptureInvalidated);
        }
        let joined = capture
            .graph
            .before(capture.ends.get(&stream).map_or(&[], Vec::as_slice));
        let captured = &capture.graph.nodes[capture.into.map_or(0, |(_, had)| had)..];
        if captured.iter().any(|node| !joined.contains(&node.handle)) {
            return Err(HipError::StreamCaptureUnjoined);
        }
        match capture.into {
            Some((handle, _)) => {
                *self.graph_mut(handle)? = capture.graph;
                Ok(handle)
            }
            None => Ok(self.add(capture.graph)),
        }
    }

    /// Adds a graph; its handle.
    pub fn add(&mut self, graph: Graph) -> Handle {
        let handle = self.fresh();
        self.graphs.insert(handle, graph);
        handle
    }

    /// A copy of a graph with nodes of its own.
    ///
    /// # Errors
    /// No such graph.
    pub fn clone_of(&mut self, handle: Handle) -> Result<Graph> {
        let mut graph = self.graph(handle)?.clone();
        let fresh: HashMap<Handle, Handle> = graph
            .nodes
            .iter()
            .map(|node| (node.handle, self.fresh()))
            .collect();
        for node in &mut graph.nodes {
            node.original = Some(node.handle);
            node.handle = fresh[&node.handle];
            for after in &mut node.after {
                *after = fresh.get(after).copied().unwrap_or(*after);
            }
        }
        Ok(graph)
    }

    /// A graph by handle.
    ///
    /// # Errors
    /// No such graph.
    pub fn graph(&self, handle: Handle) -> Result<&Graph> {
        self.graphs.get(&handle).ok_or(HipError::InvalidValue)
    }

    /// As [`Self::graph`], to change it.
    ///
    /// # Errors
    /// No such graph.
    pub fn graph_mut(&mut self, handle: Handle) -> Result<&mut Graph> {
        self.graphs.get_mut(&handle).ok_or(HipError::InvalidValue)
    }

    /// The graph that has a node.
    ///
    /// # Errors
    /// No graph has.
    pub fn graph_of(&mut self, node: Handle) -> Result<&mut Graph> {
        let mut all = self.graphs.values_mut();
        all.find(|graph| graph.node(node).is_some())
            .ok_or(HipError::InvalidValue)
    }

    /// A node by handle.
    ///
    /// # Errors
    /// No graph has it.
    pub fn node(&mut self, handle: Handle) -> Result<&mut Node> {
        let graph = self.graph_of(handle)?;
        let node = graph.nodes.iter_mut().find(|node| node.handle == handle);
        node.ok_or(HipError::InvalidValue)
    }

    /// Forgets a graph; false if there is none.
    pub fn remove(&mut self, handle: Handle) -> bool {
        self.graphs.remove(&handle).is_some()
    }

    /// Adds an executable graph; its handle.
    pub fn add_executable(&mut self, executable: Executable) -> Handle {
        let handle = self.fresh();
        self.executables.insert(handle, executable);
        handle
    }

    /// An executable graph by handle.
    ///
    /// # Errors
    /// There is none.
    pub fn executable(&mut self, handle: Handle) -> Result<&mut Executable> {
        self.executables
            .get_mut(&handle)
            .ok_or(HipError::InvalidValue)
    }

    /// Forgets an executable graph; false if there is none.
    pub fn remove_executable(&mut self, handle: Handle) -> bool {
        self.executables.remove(&handle).is_some()
    }
}
