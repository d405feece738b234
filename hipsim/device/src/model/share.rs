//! Processor sharing between processes (discipline `amd`), as a virtual service clock.
//!
//! Service advances at rate 1/n while n processes have work. Work of d ns that starts at service S ends at S + d, whoever
//! comes or goes meanwhile. Each process announces the service at which its queued work ends, so anybody can compute when
//! it drains: nobody has to be awake at that moment, and a late observer loses nothing.

/// Most processes that can be attached to one device; fits the bit set of [`Snapshot::active`].
pub const MAX_PROCESSES: usize = 64;

/// The service clock at one moment, from which later values follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Real time in ns.
    pub at: u64,
    /// Service given to each active process until then, in ns.
    pub service: u64,
    /// Bit i: process slot i had work at that moment.
    pub active: u64,
}

impl Snapshot {
    /// The clock at `now`; `end(i)` is the service at which slot i's announced work ends. Slots that drained on the way
    /// are no longer in `active`.
    #[must_use]
    pub fn advance(mut self, now: u64, end: impl Fn(usize) -> u64) -> Self {
        loop {
            let Some((processes, next_end)) = self.retire(&end) else {
                self.service = self.service.saturating_add(now.saturating_sub(self.at));
                self.at = self.at.max(now);
                return self;
            };
            let step = (next_end - self.service).saturating_mul(processes);
            let elapsed = now.saturating_sub(self.at);
            if step > elapsed {
                // Whole ns of service only: the remainder stays in `at` and is not lost.
                self.service = self.service.saturating_add(elapsed / processes);
                self.at += elapsed - elapsed % processes;
                return self;
            }
            self.at += step;
            self.service = next_end;
        }
    }

    /// The real time at which the clock reaches `service`, if nobody announces more work. At most the true time: new
    /// work only delays it. For a service already passed, the snapshot's own time.
    #[must_use]
    pub fn time_at(mut self, service: u64, end: impl Fn(usize) -> u64) -> u64 {
        loop {
            let Some((processes, next_end)) = self.retire(&end) else {
                return self.at.saturating_add(service.saturating_sub(self.service));
            };
            if service <= next_end {
                return self.at.saturating_add(
                    service
                        .saturating_sub(self.service)
                        .saturating_mul(processes),
                );
            }
            self.at = self
                .at
                .saturating_add((next_end - self.service).saturating_mul(processes));
            self.service = next_end;
        }
    }

    /// Drops drained slots; the number left and the earliest end among them.
    fn retire(&mut self, end: &impl Fn(usize) -> u64) -> Option<(u64, u64)> {
        let mut next_end = u64::MAX;
        let mut rest = self.active;
        while rest != 0 {
            let slot = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let slot_end = end(slot);
            if slot_end <= self.service {
                self.active &= !(1 << slot);
            } else {
                next_end = next_end.min(slot_end);
            }
        }
        (self.active != 0).then(|| (u64::from(self.active.count_ones()), next_end))
    }
}
