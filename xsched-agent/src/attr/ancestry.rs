//! A process and its ancestors.

use xsched_host::process::{self, ProcessId};

/// How far up the process tree is looked. Deeper trees exist only by design.
const MAX_ANCESTORS: usize = 64;

/// A process and its ancestors as they are now, nearest first, without init.
/// Reads /proc/PID/stat only, once each, which never blocks on a process's own
/// locks.
pub(super) fn of(process: ProcessId) -> impl Iterator<Item = ProcessId> {
    let own = process::stat(process.pid).ok();
    let own = own.filter(|stat| stat.start_time == process.start_time);
    let first = (process, own.map(|stat| stat.parent));
    std::iter::successors(Some(first), |(_, parent)| {
        let pid = parent.filter(|parent| *parent > 1)?;
        let stat = process::stat(pid).ok()?;
        let start_time = stat.start_time;
        Some((ProcessId { pid, start_time }, Some(stat.parent)))
    })
    .map(|(process, _)| process)
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
        let ancestry: Vec<_> = of(child_id).take(2).collect();
        assert_eq!(ancestry, [child_id, me]);
        let earlier = ProcessId {
            start_time: child_id.start_time - 1,
            ..child_id
        };
        assert!(of(earlier).eq([earlier]), "another has its number");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
