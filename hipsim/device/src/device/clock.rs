//! The device's clock as one process sees it: what service the process has had, and announcing its work to the others.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use super::file::{DeviceError, DeviceFile, owner_word};
use super::history::History;
use super::ipc;
use super::layout::SNAPSHOTS;
pub use super::time::now;
use crate::model::fifo;
use crate::model::share::{Level, MAX_PROCESSES, Snapshot};
use crate::options::Discipline;

/// How often a process that waits looks for dead neighbours, in ns. Their kernels stop counting this soon.
pub const REAP_INTERVAL: u64 = 2_000_000;

/// A snapshot this far ahead of our own clock, in ns, is not believed: nobody's clock is.
const IMPOSSIBLY_AHEAD: u64 = 1_000_000_000;

/// An attached process. Used under the runtime's lock, so one thread at a time publishes.
pub struct Clock {
    path: PathBuf,
    device: DeviceFile,
    slot: usize,
    discipline: Discipline,
    /// Its queues' priority, and what its own clock is ahead of that level's.
    level: Level,
    ahead: u64,
    /// The service clock never goes back for us, even when a stalled neighbour announces work late.
    last: u64,
    /// Real time of the last question.
    last_now: u64,
    last_reap: u64,
    /// What the clock was when it was asked.
    history: History,
}

impl Clock {
    /// Attaches this process to the device at `path`.
    ///
    /// # Errors
    /// The device file cannot be used.
    pub fn attach(path: &Path, wanted: Discipline) -> Result<Self, DeviceError> {
        let (device, slot) = DeviceFile::attach(path, wanted)?;
        let discipline = device.discipline();
        let path = path.to_owned();
        let clock = Self {
            path,
            device,
            slot,
            discipline,
            level: Level::default(),
            ahead: 0,
            last: 0,
            last_now: now(),
            last_reap: 0,
            history: History::default(),
        };
        clock.occupy();
        // What the killed left must not wait until somebody contends: their shared memory takes room.
        clock.bury(now());
        Ok(clock)
    }

    /// Makes the slot just taken ours. Leftovers of a dead owner: first out of the active set, then cleared.
    fn occupy(&self) {
        self.drop_slot(self.slot, now());
        self.device
            .slot(self.slot)
            .owner
            .store(owner_word(), SeqCst);
    }

    /// Takes a new slot when others have taken ours for dead (see [`DeviceFile::intact`]).
    fn keep_slot(&mut self) {
        if self.device.slot(self.slot).owner.load(Acquire) == owner_word() {
            return;
        }
        if let Ok((device, slot)) = DeviceFile::attach(&self.path, self.discipline) {
            // The old descriptor's number may be the program's by now: it must not be closed.
            std::mem::forget(std::mem::replace(&mut self.device, device));
            self.slot = slot;
            self.occupy();
        }
    }

    /// The discipline of the device.
    pub fn discipline(&self) -> Discipline {
        self.discipline
    }

    /// Notes that this process shares memory by name.
    pub fn note_export(&self) {
        self.device.slot(self.slot).exports.fetch_add(1, SeqCst);
    }

    /// Notes how much of the device's memory this process has, bytes.
    pub fn note_memory(&self, bytes: u64) {
        self.device.slot(self.slot).memory.store(bytes, Relaxed);
    }

    /// This process's place on the device, for [`Self::lives`].
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Whether the process with this word still has that slot and lives.
    pub fn lives(&self, slot: usize, owner: u64) -> bool {
        self.device.slot(slot).owner.load(Acquire) == owner && self.device.alive(slot)
    }

    /// The service clock at real time `now`.
    pub fn service(&mut self, now: u64) -> u64 {
        self.last_now = self.last_now.max(now);
        let service = match self.discipline {
            Discipline::Amd => {
                let snapshot = self.snapshot().1.advance(now, |slot| self.end(slot));
                self.own(&snapshot)
            }
            Discipline::Fifo => now.saturating_add(self.device.shared().skipped.load(Acquire)),
        };
        self.last = self.last.max(service);
        self.history.note(self.last_now, self.last);
        self.last
    }

    /// The earliest real time at which the service clock can reach `service`. For a service that it reached before others came
    /// or went, about when: exact if the rate was the same between two questions.
    pub fn time_at(&self, service: u64) -> u64 {
        match self.discipline {
            Discipline::Amd => {
                let snapshot = self.snapshot().1;
                let known = self.own(&snapshot);
                if service < known {
                    return self.history.time_at(service, (snapshot.at, known));
                }
                let service = service.wrapping_sub(self.ahead);
                snapshot.time_at(self.level, service, |slot| self.end(slot))
            }
            Discipline::Fifo => service.saturating_sub(self.device.shared().skipped.load(Acquire)),
        }
    }

    /// This process's clock by a snapshot: it goes on where it was when its level changes.
    fn own(&self, snapshot: &Snapshot) -> u64 {
        snapshot.service[self.level as usize].wrapping_add(self.ahead)
    }

    /// Gives this process's work another priority, from `now` on. What was announced is announced anew by the next
    /// [`Self::announce`]. Under `fifo` there are none.
    pub fn set_level(&mut self, now: u64, level: Level) {
        if level == self.level || self.discipline == Discipline::Fifo {
            return;
        }
        let own = self.service(now);
        loop {
            let (word, snapshot) = self.snapshot();
            let snapshot = snapshot.advance(now, |slot| self.end(slot));
            let left = snapshot.without(self.slot);
            if snapshot.has(self.slot) && !self.publish(word, left) {
                continue;
            }
            self.device.slot(self.slot).end.store(0, SeqCst);
            self.level = level;
            self.ahead = own.wrapping_sub(left.service[level as usize]);
            return;
        }
    }

    /// Announces that this process has `work` ns left, ending at service `end` if it runs without pause.
    pub fn announce(&mut self, now: u64, end: u64, work: u64) {
        if self.discipline == Discipline::Fifo {
            self.device.slot(self.slot).end.store(work, Relaxed);
            return;
        }
        if !self.snapshot().1.has(self.slot) {
            self.keep_slot();
        }
        // By the clock of its level.
        let [last, end] = [self.last, end].map(|own| own.wrapping_sub(self.ahead));
        loop {
            let own = self.device.slot(self.slot);
            let (word, snapshot) = self.snapshot();
            if snapshot.has(self.slot) && own.end.load(Relaxed) > last {
                own.end.store(end, SeqCst);
            } else if work > 0 {
                // Join the active set before the end is visible: until then we count as drained, which errs by the ns
                // between two stores. The other way round would count the whole idle time as busy.
                let joined = snapshot.advance(now, |slot| self.end(slot));
                if !self.publish(word, joined.with(self.slot, self.level)) {
                    continue;
                }
                own.end.store(end, SeqCst);
            } else {
                return;
            }
            // Somebody may have seen us drained and taken us out while we extended the end.
            if self.snapshot().1.has(self.slot) || end <= last {
                return;
            }
        }
    }

    /// Reserves the device for `work` ns (discipline `fifo`); the device time of the end.
    pub fn reserve(&mut self, work: u64) -> u64 {
        let shared = self.device.shared();
        let now = now().saturating_add(shared.skipped.load(Acquire));
        let mut busy = shared.busy_until.load(Relaxed);
        loop {
            let end = fifo::reserve(busy, now, work);
            match shared
                .busy_until
                .compare_exchange_weak(busy, end, SeqCst, Relaxed)
            {
                Ok(_) => return end,
                Err(other) => busy = other,
            }
        }
    }

    /// Whether a process besides this one may be using the device.
    pub fn contended(&self) -> bool {
        match self.discipline {
            Discipline::Amd => self.snapshot().1.anybody() & !(1 << self.slot) != 0,
            Discipline::Fifo => true,
        }
    }

    /// Takes dead neighbours off the device; at most every [`REAP_INTERVAL`].
    pub fn reap(&mut self, now: u64) {
        if now.saturating_sub(self.last_reap) < REAP_INTERVAL || !self.contended() {
            return;
        }
        self.last_reap = now;
        self.bury(now);
    }

    fn bury(&self, now: u64) {
        for slot in 0..MAX_PROCESSES {
            if slot != self.slot
                && self.device.slot(slot).owner.load(Acquire) != 0
                && !self.device.alive(slot)
            {
                self.drop_slot(slot, now);
            }
        }
    }

    /// Frees a slot whose owner is dead. Several reapers at once agree: each step is idempotent or a compare-exchange.
    fn drop_slot(&self, slot: usize, now: u64) {
        let shared = self.device.shared();
        let dead = self.device.slot(slot);
        let owner = dead.owner.load(Acquire);
        match self.discipline {
            Discipline::Fifo => {
                let outstanding = dead.end.swap(0, SeqCst);
                let device_now = now.saturating_add(shared.skipped.load(Acquire));
                let refund = fifo::refund(shared.busy_until.load(Acquire), device_now, outstanding);
                shared.skipped.fetch_add(refund, SeqCst);
            }
            Discipline::Amd => loop {
                let (word, snapshot) = self.snapshot();
                if !snapshot.has(slot) {
                    dead.end.store(0, SeqCst);
                    break;
                }
                let left = snapshot.advance(now, |slot| self.end(slot));
                if self.publish(word, left.without(slot)) {
                    dead.end.store(0, SeqCst);
                    break;
                }
            },
        }
        dead.memory.store(0, Relaxed);
        if dead.exports.swap(0, SeqCst) > 0 && owner != owner_word() {
            ipc::remove_all_of(&self.path, owner);
        }
        // A failed exchange means somebody else freed it, or a new owner already has it.
        let _ = dead.owner.compare_exchange(owner, 0, SeqCst, Relaxed);
    }

    fn end(&self, slot: usize) -> u64 {
        self.device.slot(slot).end.load(SeqCst)
    }

    /// The current snapshot and the word that names it. Retries while others publish; each retry means progress of one.
    fn snapshot(&self) -> (u64, Snapshot) {
        let current = &self.device.shared().current;
        loop {
            let word = current.load(SeqCst);
            let (slot, index) = ((word >> 16) as u16 as usize, word as u16 as usize);
            let shared = &self.device.slot(slot).snapshots[index % SNAPSHOTS];
            let snapshot = shared.load();
            if current.load(SeqCst) == word {
                return (word, self.plausible(snapshot));
            }
        }
    }

    /// A snapshot of a process whose clock is not ours (its time namespace's, without /proc to tell) would stop the service
    /// clock of everybody until that time comes. Service goes on from now instead.
    fn plausible(&self, mut snapshot: Snapshot) -> Snapshot {
        if snapshot.at > self.last_now.saturating_add(IMPOSSIBLY_AHEAD) {
            let now = now();
            if snapshot.at > now.saturating_add(IMPOSSIBLY_AHEAD) {
                snapshot.at = now;
            }
        }
        snapshot
    }

    /// Makes `snapshot` the current one if `word` still is; false when somebody else was first.
    fn publish(&self, word: u64, snapshot: Snapshot) -> bool {
        let named_slot = (word >> 16) as u16 as usize % MAX_PROCESSES;
        let index = if named_slot == self.slot {
            (word as u16 as usize + 1) % SNAPSHOTS
        } else {
            0
        };
        let own = &self.device.slot(self.slot).snapshots[index];
        own.store(&snapshot);
        let generation = (word >> 32).wrapping_add(1);
        let next = generation << 32 | (self.slot as u64) << 16 | index as u64;
        self.device
            .shared()
            .current
            .compare_exchange(word, next, SeqCst, SeqCst)
            .is_ok()
    }
}
