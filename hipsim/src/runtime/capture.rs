//! Stream capture and the graphs it makes. A graph is the list of its commands in the order they were captured, which is
//! one valid order of the real graph.

use std::collections::HashMap;

use super::command::Command;
use super::streams::StreamId;
use crate::abi::error::{HipError, Result};

/// Commands of a captured graph.
pub type Graph = Vec<Command>;

#[derive(Debug)]
struct Capture {
    origin: StreamId,
    commands: Graph,
    valid: bool,
}

/// Captures under way, finished graphs, and executable graphs, by id.
#[derive(Debug, Default)]
pub struct Captures {
    active: HashMap<u64, Capture>,
    graphs: HashMap<u64, Graph>,
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

/// Handles of graphs: never mapped addresses, never reused.
const FIRST: u64 = 0x54 << 40;

impl Captures {
    fn fresh(&mut self) -> u64 {
        self.last += 16;
        FIRST + self.last
    }

    /// Starts a capture on a stream; its id.
    pub fn begin(&mut self, origin: StreamId) -> u64 {
        let id = self.fresh();
        self.active.insert(
            id,
            Capture {
                origin,
                commands: Graph::new(),
                valid: true,
            },
        );
        id
    }

    /// Adds a command.
    pub fn record(&mut self, id: u64, _stream: StreamId, command: &Command) {
        // Records and waits inside a capture only order it, and the list is in order.
        if let Some(capture) = self.active.get_mut(&id)
            && !matches!(command, Command::Record(_) | Command::WaitFor(_))
        {
            capture.commands.push(command.clone());
        }
    }

    /// A forbidden call was made on a capturing stream.
    pub fn invalidate(&mut self, id: u64) {
        if let Some(capture) = self.active.get_mut(&id) {
            capture.valid = false;
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
    /// It began on another stream (nothing changes), or was invalidated (it ends).
    pub fn end(&mut self, id: u64, stream: StreamId) -> Result<u64> {
        if self
            .active
            .get(&id)
            .is_some_and(|capture| capture.origin != stream)
        {
            return Err(HipError::StreamCaptureUnmatched);
        }
        let capture = self.active.remove(&id).ok_or(HipError::IllegalState)?;
        if !capture.valid {
            return Err(HipError::StreamCaptureInvalidated);
        }
        Ok(self.add(capture.commands))
    }

    /// Adds a graph; its handle.
    pub fn add(&mut self, graph: Graph) -> u64 {
        let id = self.fresh();
        self.graphs.insert(id, graph);
        id
    }

    /// A graph by handle.
    pub fn graph(&self, handle: u64) -> Option<&Graph> {
        self.graphs.get(&handle)
    }

    /// Forgets a graph; false if there is none.
    pub fn remove(&mut self, handle: u64) -> bool {
        self.graphs.remove(&handle).is_some()
    }
}
