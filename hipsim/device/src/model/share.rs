//! Processor sharing between processes (discipline `amd`), as virtual service clocks.
//!
//! Each process has a [`Level`], the priority of its queues. Only those of the highest level that has work run: service
//! advances there at rate 1/n while n processes have work, and stands still below. Work of d ns that starts at service S of
//! its level ends at S + d, whoever comes or goes meanwhile. Each process announces the service at which its queued work
//! ends, so anybody can compute when it drains: nobody has to be awake at that moment, and a late observer loses nothing.

/// Most processes that can be attached to one device; fits the bit sets of [`Snapshot::active`].
pub const MAX_PROCESSES: usize = 64;

/// Levels that there are.
pub const LEVELS: usize = 3;

/// The priority of a process's queues, as HSA has them (`hsa_amd_queue_priority_t`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Below the others.
    Low,
    /// Where nobody has said anything.
    #[default]
    Normal,
    /// Above the others.
    High,
}

impl Level {
    /// As HSA's number says; the highest for what is none.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Level::Low,
            1 => Level::Normal,
            _ => Level::High,
        }
    }
}

/// The service clocks at one moment, from which later values follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Real time in ns.
    pub at: u64,
    /// By level: service given to each active process until then, in ns.
    pub service: [u64; LEVELS],
    /// By level: bit i says that process slot i had work at that moment.
    pub active: [u64; LEVELS],
}

impl Snapshot {
    /// The clocks at `now`; `end(i)` is the service at which slot i's announced work ends, by its level's clock. Slots that
    /// drained on the way are no longer in `active`.
    #[must_use]
    pub fn advance(mut self, now: u64, end: impl Fn(usize) -> u64) -> Self {
        loop {
            let elapsed = now.saturating_sub(self.at);
            let Some(run) = self.retire(&end) else {
                self.pass(0, elapsed);
                self.at = self.at.max(now);
                return self;
            };
            if run.step() > elapsed {
                // Whole ns of service only: the remainder stays in `at` and is not lost.
                let whole = elapsed - elapsed % run.processes;
                self.service[run.level] =
                    self.service[run.level].saturating_add(whole / run.processes);
                self.pass(run.level + 1, whole);
                self.at += whole;
                return self;
            }
            self.finish(&run);
        }
    }

    /// The real time at which a level's clock reaches `service`, if nobody announces more work. At most the true time: new
    /// work only delays it. For a service already passed, the snapshot's own time.
    #[must_use]
    pub fn time_at(mut self, level: Level, service: u64, end: impl Fn(usize) -> u64) -> u64 {
        let level = level as usize;
        loop {
            let left = service.saturating_sub(self.service[level]);
            if left == 0 {
                return self.at;
            }
            match self.retire(&end) {
                Some(run) if run.level > level => self.finish(&run),
                Some(run) if run.level == level => {
                    if service <= run.next_end {
                        return self.at.saturating_add(left.saturating_mul(run.processes));
                    }
                    self.finish(&run);
                }
                // Who comes now has the device for itself.
                _ => return self.at.saturating_add(left),
            }
        }
    }

    /// The same clocks with slot i in a level's active set.
    #[must_use]
    pub fn with(mut self, slot: usize, level: Level) -> Self {
        self.active[level as usize] |= 1 << slot;
        self
    }

    /// The same clocks with slot i in no active set.
    #[must_use]
    pub fn without(mut self, slot: usize) -> Self {
        for active in &mut self.active {
            *active &= !(1 << slot);
        }
        self
    }

    /// Whether slot i is in an active set.
    #[must_use]
    pub fn has(&self, slot: usize) -> bool {
        self.anybody() & 1 << slot != 0
    }

    /// Slots with work, of all levels.
    #[must_use]
    pub fn anybody(&self) -> u64 {
        self.active.iter().fold(0, |all, active| all | active)
    }

    /// Service passes at full rate for levels above those that run, who would have the device for themselves.
    fn pass(&mut self, from: usize, elapsed: u64) {
        for service in self.service.iter_mut().skip(from) {
            *service = service.saturating_add(elapsed);
        }
    }

    /// Goes to the end of what runs.
    fn finish(&mut self, run: &Run) {
        let step = run.step();
        self.at = self.at.saturating_add(step);
        self.service[run.level] = run.next_end;
        self.pass(run.level + 1, step);
    }

    /// Drops drained slots; who runs, if anybody has work.
    fn retire(&mut self, end: &impl Fn(usize) -> u64) -> Option<Run> {
        let mut highest = None;
        for level in (0..LEVELS).rev() {
            let mut next_end = u64::MAX;
            let mut rest = self.active[level];
            while rest != 0 {
                let slot = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let slot_end = end(slot);
                if slot_end <= self.service[level] {
                    self.active[level] &= !(1 << slot);
                } else {
                    next_end = next_end.min(slot_end);
                }
            }
            if self.active[level] != 0 && highest.is_none() {
                highest = Some(Run {
                    level,
                    processes: u64::from(self.active[level].count_ones()),
                    next_end,
                    now: self.service[level],
                });
            }
        }
        highest
    }
}

/// Processes of one level that run, and the earliest end among them.
struct Run {
    level: usize,
    processes: u64,
    next_end: u64,
    now: u64,
}

impl Run {
    /// Real time until the earliest end, ns.
    fn step(&self) -> u64 {
        (self.next_end - self.now).saturating_mul(self.processes)
    }
}
