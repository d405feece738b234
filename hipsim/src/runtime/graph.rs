//! Graphs: nodes with what they do and what they wait for, and executable graphs made of them.
//!
//! An executable graph is a list in one valid order of the graph; it is replayed on the stream it is launched on.

use std::collections::{HashMap, HashSet};

use super::command::Command;
use super::events::EventId;
use crate::abi::error::{HipError, Result};
use crate::abi::types::KernelNodeParams;

/// Handle of a node, a graph or an executable graph: a never mapped address, never reused.
pub type Handle = u64;

/// `hipGraphNodeType` of the nodes the simulator has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum NodeType {
    Kernel = 0,
    Memcpy = 1,
    Memset = 2,
    Host = 3,
    Graph = 4,
    Empty = 5,
    WaitEvent = 6,
    EventRecord = 7,
    MemFree = 11,
}

/// What a node does when its turn comes.
#[derive(Clone, Debug)]
pub enum Work {
    Empty,
    Command(Command),
    /// Waits for the event as it was last recorded when the graph is launched.
    WaitEvent(EventId),
    Graph(Graph),
}

/// A node. `work` and `node_type` change together.
#[derive(Clone, Debug)]
pub struct Node {
    pub handle: Handle,
    pub node_type: NodeType,
    pub work: Work,
    pub after: Vec<Handle>,
    /// Parameters of a kernel node as the program gave them.
    pub kernel: Option<KernelNodeParams>,
    /// The node this one was cloned from.
    pub original: Option<Handle>,
}

/// A graph: its nodes in the order they were added.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
}

impl Graph {
    /// A node of this graph.
    pub fn node(&self, handle: Handle) -> Option<&Node> {
        self.nodes.iter().find(|node| node.handle == handle)
    }

    /// Adds a node behind others.
    ///
    /// # Errors
    /// `InvalidValue` when one of them is not in this graph.
    pub fn add(&mut self, node: Node) -> Result {
        if node.after.iter().any(|other| self.node(*other).is_none()) {
            return Err(HipError::InvalidValue);
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Everything that has to run before one of `ends`, and those.
    pub fn before(&self, ends: &[Handle]) -> HashSet<Handle> {
        let mut found = HashSet::new();
        let mut left = ends.to_vec();
        while let Some(handle) = left.pop() {
            if found.insert(handle)
                && let Some(node) = self.node(handle)
            {
                left.extend(&node.after);
            }
        }
        found
    }

    /// The nodes in an order in which each comes after what it waits for; `None` when they wait for each other.
    fn ordered(&self) -> Option<Vec<&Node>> {
        let places: HashMap<Handle, usize> =
            self.nodes.iter().map(|node| node.handle).zip(0..).collect();
        let mut waits: Vec<usize> = self.nodes.iter().map(|node| node.after.len()).collect();
        let mut followers = vec![Vec::new(); self.nodes.len()];
        for (place, node) in self.nodes.iter().enumerate() {
            for other in &node.after {
                followers[*places.get(other)?].push(place);
            }
        }
        // Of what is ready the earliest added goes first: captured work keeps the order of its capture.
        let mut ready: std::collections::BTreeSet<usize> = (0..waits.len())
            .filter(|place| waits[*place] == 0)
            .collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(place) = ready.pop_first() {
            order.push(&self.nodes[place]);
            for follower in &followers[place] {
                waits[*follower] -= 1;
                if waits[*follower] == 0 {
                    ready.insert(*follower);
                }
            }
        }
        (order.len() == self.nodes.len()).then_some(order)
    }

    /// The executable form.
    ///
    /// # Errors
    /// `InvalidValue` for a graph with a cycle.
    pub fn instantiate(&self) -> Result<Executable> {
        let mut steps = Vec::with_capacity(self.nodes.len());
        for node in self.ordered().ok_or(HipError::InvalidValue)? {
            let work = match &node.work {
                Work::Graph(inner) => StepWork::Inner(inner.instantiate()?),
                Work::Empty => StepWork::Nothing,
                Work::Command(command) => StepWork::Command(command.clone()),
                Work::WaitEvent(event) => StepWork::WaitEvent(*event),
            };
            steps.push(Step {
                node: node.handle,
                node_type: node.node_type,
                work,
                enabled: true,
            });
        }
        Ok(Executable { steps })
    }
}

/// What a step of an executable graph does.
#[derive(Clone, Debug)]
pub enum StepWork {
    Nothing,
    Command(Command),
    WaitEvent(EventId),
    Inner(Executable),
}

/// One node of an executable graph.
#[derive(Clone, Debug)]
pub struct Step {
    /// The node it was made from, by which programs name it.
    pub node: Handle,
    pub node_type: NodeType,
    pub work: StepWork,
    pub enabled: bool,
}

/// An executable graph.
#[derive(Clone, Debug, Default)]
pub struct Executable {
    pub steps: Vec<Step>,
}

impl Executable {
    /// Its work in order, without what is disabled.
    pub fn work(&self) -> Vec<StepWork> {
        let enabled = self.steps.iter().filter(|step| step.enabled);
        enabled
            .flat_map(|step| match &step.work {
                StepWork::Inner(inner) => inner.work(),
                work => vec![work.clone()],
            })
            .collect()
    }

    /// Takes over what another one of the same shape does; false, and nothing changes, when its shape differs.
    pub fn update(&mut self, other: Self) -> bool {
        let alike = self.steps.len() == other.steps.len()
            && self
                .steps
                .iter()
                .zip(&other.steps)
                .all(|(own, new)| own.node_type == new.node_type);
        if alike {
            for (own, new) in self.steps.iter_mut().zip(other.steps) {
                own.work = new.work;
            }
        }
        alike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(handle: Handle, after: &[Handle]) -> Node {
        Node {
            handle,
            node_type: NodeType::Empty,
            work: Work::Empty,
            after: after.to_vec(),
            kernel: None,
            original: None,
        }
    }

    #[test]
    fn nodes_run_after_what_they_wait_for() {
        let mut graph = Graph::default();
        for handle in [1, 2, 3] {
            graph.add(node(handle, &[])).unwrap();
        }
        graph.add(node(4, &[1, 3])).unwrap();
        assert_eq!(graph.add(node(5, &[9])), Err(HipError::InvalidValue));
        // An edge to an earlier node, added later.
        graph.nodes[0].after.push(2);
        let order: Vec<_> = graph
            .instantiate()
            .unwrap()
            .steps
            .iter()
            .map(|step| step.node)
            .collect();
        assert_eq!(order, [2, 1, 3, 4]);
        assert_eq!(graph.before(&[4]), HashSet::from([1, 2, 3, 4]));
        graph.nodes[1].after.push(4);
        assert!(graph.instantiate().is_err(), "a cycle");
    }
}
