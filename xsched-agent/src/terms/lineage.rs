//! A process and its ancestors.

use crate::process::{self, ProcessId};

/// How far up the process tree is looked. Deeper trees exist only by design.
const MAX_ANCESTORS: usize = 64;

/// A process and its ancestors as they are now, nearest first, without init.
/// Reads /proc/PID/stat only, which never blocks on a process's own locks.
pub(super) fn of(process: ProcessId) -> impl Iterator<Item = ProcessId> {
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
    fn children_have_their_parents() {
        let me = ProcessId::of(std::process::id()).expect("I exist");
        let mut child = std::process::Command::new("sleep")
            .arg("10")
            .spawn()
            .expect("sleep");
        let child_id = ProcessId::of(child.id()).expect("it exists");
        let lineage: Vec<_> = of(child_id).take(2).collect();
        assert_eq!(lineage, [child_id, me]);
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
