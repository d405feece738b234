//! The attributes of every process that somebody may ask about: written by the
//! keeper, read by the model and the API. The control thread never takes
//! this lock.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use xsched_common::units::Class;
use xsched_host::process::ProcessId;
use xsched_policy::{Override, SchedAttr, SliceChoice};

use crate::config::QueueChoice;
use crate::control::{AttrUpdate, Passthrough};
use crate::rules::ThreadClasses;

/// A process's attributes as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The attributes.
    pub attr: SchedAttr,
    /// Where they come from, for people.
    pub from: Arc<str>,
    /// A boost or suspension, perhaps over by now.
    pub hold: Option<Override>,
    /// Which work is not gated, where a rule says so.
    pub passthrough: Option<Arc<Passthrough>>,
    /// The line of the rule that gives the weight, if one does.
    pub weight_rule: Option<usize>,
    /// Whether its time slices are set.
    pub time_slices: SliceChoice,
    /// Whether its hardware queues have the priority of its class.
    pub queue_priority: QueueChoice,
    /// Which of its threads have classes of their own.
    pub threads: Arc<ThreadClasses>,
    /// None of them has a higher one.
    pub highest: Option<Class>,
}

impl Standing {
    /// What control must know of it.
    pub(super) fn update(&self, process: ProcessId) -> AttrUpdate {
        let Standing {
            attr,
            from: _,
            hold,
            passthrough,
            weight_rule,
            time_slices: _,
            queue_priority,
            threads,
            highest,
        } = self;
        AttrUpdate {
            process,
            attr: *attr,
            hold: *hold,
            passthrough: passthrough.clone(),
            weight_rule: *weight_rule,
            queue_priority: queue_priority.priority(attr.class),
            threads: threads.clone(),
            highest: *highest,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct AttrTable {
    standings: RwLock<HashMap<ProcessId, Standing>>,
}

impl AttrTable {
    /// A process's, if it is known.
    pub fn standing(&self, process: ProcessId) -> Option<Standing> {
        let standings = self.standings.read();
        standings
            .unwrap_or_else(PoisonError::into_inner)
            .get(&process)
            .cloned()
    }

    /// Whether it is known.
    pub fn knows(&self, process: ProcessId) -> bool {
        let standings = self.standings.read();
        standings
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&process)
    }

    pub(crate) fn put(&self, process: ProcessId, standing: Standing) {
        let standings = self.standings.write();
        standings
            .unwrap_or_else(PoisonError::into_inner)
            .insert(process, standing);
    }

    pub(crate) fn retain(&self, keep: impl Fn(ProcessId) -> bool) {
        let standings = self.standings.write();
        standings
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|process, _| keep(*process));
    }
}
