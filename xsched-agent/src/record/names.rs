//! Names that a recording remembers, and how many: programs can make up
//! handles and call sites, and begin threads, without end.

use std::collections::HashMap;
use std::sync::Arc;

use super::Summary;

/// Kernels of one process, and of all.
const MOST_KERNELS: [usize; 2] = [16_384, 131_072];

/// Call sites of one process, and of all.
const MOST_CALLERS: [usize; 2] = [65_536, 262_144];

/// Threads with lines of their own of one process, and of all.
pub const MOST_THREADS: [usize; 2] = [4_096, 65_536];

/// What is remembered of all processes together.
#[derive(Debug, Default)]
pub struct Room {
    kernels: usize,
    callers: usize,
    threads: usize,
    kernels_left_out: bool,
    callers_left_out: bool,
    threads_left_out: bool,
}

impl Room {
    /// Whether one more kernel of a process that has these can be remembered.
    pub fn has_kernels(&mut self, of: &Kernels) -> bool {
        let has = of.0.len() < MOST_KERNELS[0] && self.kernels < MOST_KERNELS[1];
        self.kernels_left_out |= !has;
        has
    }

    /// Takes the place of one more call site of a process that has so many.
    pub fn take_caller(&mut self, of: usize) -> bool {
        let has = of < MOST_CALLERS[0] && self.callers < MOST_CALLERS[1];
        self.callers_left_out |= !has;
        self.callers += usize::from(has);
        has
    }

    /// As above, of one more thread.
    pub fn take_thread(&mut self, of: usize) -> bool {
        let has = of < MOST_THREADS[0] && self.threads < MOST_THREADS[1];
        self.threads_left_out |= !has;
        self.threads += usize::from(has);
        has
    }

    /// Gives back the places of a process that is gone.
    pub fn forget_kernels(&mut self, of: &Kernels) {
        self.kernels -= of.0.len();
    }

    /// As above.
    pub fn forget_callers(&mut self, of: usize) {
        self.callers -= of;
    }

    /// As above.
    pub fn forget_threads(&mut self, of: usize) {
        self.threads -= of;
    }

    /// What is not in the trace, in words for the user.
    pub fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        let [one, all] = MOST_KERNELS;
        if self.kernels_left_out {
            limits.push(format!(
                "kernels beyond {one} of a process, and {all} of all that run, have no names"
            ));
        }
        let [one, all] = MOST_CALLERS;
        if self.callers_left_out {
            limits.push(format!(
                "call sites beyond {one} of a process, and {all} of all that run, are \"(others)\""
            ));
        }
        let [one, all] = MOST_THREADS;
        if self.threads_left_out {
            limits.push(format!(
                "threads beyond {one} of a process, and {all} of all that run, have no lines: of their calls only \
                 those on streams are shown"
            ));
        }
        limits
    }
}

/// Names of a process's kernels by handle or address; none where nothing
/// tells.
#[derive(Debug, Default)]
pub struct Kernels(HashMap<u64, Option<Arc<str>>>);

impl Kernels {
    /// What is known of one.
    pub fn get(&self, kernel: u64) -> Option<Option<Arc<str>>> {
        self.0.get(&kernel).cloned()
    }

    /// Remembers one, where there is room: a later name of the same handle is
    /// the right one.
    pub fn insert(
        &mut self,
        kernel: u64,
        name: Option<Arc<str>>,
        room: &mut Room,
        summary: &mut Summary,
    ) {
        let is_named = name.is_some();
        if let Some(known) = self.0.get_mut(&kernel) {
            let was_named = std::mem::replace(known, name).is_some();
            summary.kernels += u64::from(is_named && !was_named);
        } else if room.has_kernels(self) {
            room.kernels += 1;
            self.0.insert(kernel, name);
            summary.kernels += u64::from(is_named);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kernels: &mut Kernels, handles: std::ops::Range<u64>, room: &mut Room) -> u64 {
        let mut summary = Summary::default();
        for handle in handles {
            kernels.insert(handle, Some("k".into()), room, &mut summary);
        }
        summary.kernels
    }

    #[test]
    fn what_is_not_kept_is_not_counted_and_said() {
        let (mut room, mut one) = (Room::default(), Kernels::default());
        let most = MOST_KERNELS[0] as u64;
        assert_eq!(named(&mut one, 0..most, &mut room), most);
        assert!(room.limits().is_empty());
        assert_eq!(named(&mut one, 0..most, &mut room), 0, "the same again");
        assert_eq!(named(&mut one, most..most + 9, &mut room), 0);
        assert!(
            room.limits()[0].contains("have no names"),
            "{:?}",
            room.limits()
        );
    }

    #[test]
    fn all_processes_share_one_room_and_give_it_back() {
        let mut room = Room::default();
        let most = MOST_KERNELS[0] as u64;
        let mut all = Vec::new();
        for _ in 0..MOST_KERNELS[1] / MOST_KERNELS[0] {
            let mut one = Kernels::default();
            assert_eq!(named(&mut one, 0..most, &mut room), most);
            all.push(one);
        }
        let mut late = Kernels::default();
        assert_eq!(named(&mut late, 0..5, &mut room), 0);
        room.forget_kernels(&all.pop().expect("one"));
        assert_eq!(named(&mut late, 0..5, &mut room), 5);
    }
}
