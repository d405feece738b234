//! Which class a process has: what it or its nearest ancestor was given.

use std::collections::HashMap;

use xsched_common::units::Class;

use crate::process::{self, ProcessId};

/// How far up the process tree is looked. Deeper trees exist only by design.
const MAX_ANCESTORS: usize = 64;

/// Classes given to processes by hand (`run`, `set`, xtop).
#[derive(Clone, Debug, Default)]
pub struct ClassTable {
    given: HashMap<ProcessId, Class>,
}

impl ClassTable {
    /// Gives `process` and its children to come a class.
    pub fn give(&mut self, process: ProcessId, class: Class) {
        self.given.insert(process, class);
    }

    /// The class of a process: its own, else its nearest ancestor's, else
    /// the default.
    pub fn resolve(&self, process: ProcessId) -> Class {
        self.first_given(lineage(process))
    }

    /// The class of a process whose lineage was taken earlier.
    pub fn of_lineage(&self, lineage: &[ProcessId]) -> Class {
        self.first_given(lineage.iter().copied())
    }

    fn first_given(&self, mut lineage: impl Iterator<Item = ProcessId>) -> Class {
        lineage
            .find_map(|process| self.given.get(&process).copied())
            .unwrap_or_default()
    }

    /// Forgets processes that are gone, except those that `kept` names.
    pub fn prune(&mut self, kept: impl Fn(ProcessId) -> bool) {
        self.given
            .retain(|process, _| process.is_alive() || kept(*process));
    }
}

/// A process and its ancestors as they are now, nearest first. Reads
/// /proc/PID/stat only, which never blocks on a process's own locks.
pub(super) fn lineage(process: ProcessId) -> impl Iterator<Item = ProcessId> {
    std::iter::successors(Some(process), |at| {
        let parent = process::stat(at.pid).ok()?.parent;
        ProcessId::of(parent).ok().filter(|parent| parent.pid > 1)
    })
    .take(MAX_ANCESTORS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_inherit_and_reused_pids_do_not() {
        let me = ProcessId::of(std::process::id()).expect("I exist");
        let mut child = std::process::Command::new("sleep")
            .arg("10")
            .spawn()
            .expect("sleep");
        let child_id = ProcessId::of(child.id()).expect("it exists");

        let mut table = ClassTable::default();
        assert_eq!(table.resolve(child_id), Class::Normal);
        table.give(
            ProcessId {
                start_time: me.start_time + 1,
                ..me
            },
            Class::Low,
        );
        assert_eq!(
            table.resolve(child_id),
            Class::Normal,
            "another process had my pid"
        );
        table.give(me, Class::High);
        assert_eq!(table.resolve(child_id), Class::High);
        table.give(child_id, Class::Low);
        assert_eq!(table.resolve(child_id), Class::Low);

        child.kill().expect("kill");
        child.wait().expect("wait");
        table.prune(|process| process == child_id);
        assert_eq!(table.given.len(), 2, "a dead ancestor of somebody");
        table.prune(|_| false);
        assert_eq!(
            table.given.len(),
            1,
            "me; the child and the impostor are gone"
        );
    }
}
