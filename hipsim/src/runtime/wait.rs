//! Queueing and waiting. A thread that waits drives the device itself: it sleeps until its own work can be done, so a
//! program that launches and synchronises needs no other thread.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use simdevice::threads::{futex_wait, futex_wake, precise_timers};

use super::Runtime;
use super::command::{Command, Executor, Outcome};
use super::core::{Core, Queued};
use super::streams::{Point, StreamId};
use crate::abi::error::Result;
use crate::device::clock::{self, REAP_INTERVAL};

/// Waits shorter than this spin: a sleep would take longer to wake from. In ns.
const SPIN: u64 = 20_000;
/// Longest sleep between looks at the device, in ns. Only a lost wake-up would ever need it.
const LONGEST_SLEEP: u64 = 50_000_000;
/// How soon a full ring is looked at again, in ns: it holds some 100 ms of short kernels.
const FULL_RING_NAP: u64 = 100_000;
/// How soon a host condition (`hipStreamWaitValue`) is looked at again, in ns.
const RETRY: u64 = 50_000;

/// Who waits for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// The caller waits for it next.
    Awaited,
    /// Nobody: the engine's thread must see to it.
    Unattended,
}

impl Runtime {
    /// Queues a command, waiting while the hardware ring is full. `None` if it was captured into a graph.
    ///
    /// # Errors
    /// The stream does not exist.
    pub fn submit(
        &self,
        stream: StreamId,
        command: &Command,
        attendance: Attendance,
    ) -> Result<Option<Point>> {
        loop {
            let mut core = self.lock();
            match core.submit(stream, command)? {
                Queued::At(point) => {
                    let queue = core.queue();
                    drop(core);
                    if attendance == Attendance::Unattended {
                        self.notify(queue, Executor::Waiter);
                    }
                    return Ok(Some(point));
                }
                Queued::Captured => return Ok(None),
                Queued::Full => {
                    let now = clock::now();
                    let (mut core, _) = self.drive(core, Executor::Waiter);
                    let until = now + FULL_RING_NAP;
                    core.clock.reap(now);
                    drop(core);
                    self.sleep(self.progress.load(Ordering::Acquire), until);
                }
            }
        }
    }

    /// Waits until the point is reached.
    pub fn wait(&self, point: &Point) {
        loop {
            let seen = self.progress.load(Ordering::Acquire);
            let (mut core, now) = self.drive(self.lock(), Executor::Waiter);
            if core.streams.reached(point) {
                // What this waiter would have driven next is the engine's now.
                let queue = core.queue();
                drop(core);
                self.notify(queue, Executor::Waiter);
                return;
            }
            let mut until = core.look_again(point, now);
            if until > now + 2 * SPIN {
                // A sleeper wakes some 10 to 40 us late; what is left of the early wake-up is spun.
                until -= SPIN;
            }
            if let Some(external) = core.next_external(Executor::Waiter) {
                until = until.min(core.not_yet(external, now));
            }
            if core.clock.contended() {
                core.clock.reap(now);
                until = until.min(now + REAP_INTERVAL);
            }
            drop(core);
            self.sleep(seen, until);
        }
    }

    /// Whether the point is reached by now.
    pub fn has_reached(&self, point: &Point) -> bool {
        let mut core = self.lock();
        core.advance(clock::now());
        core.streams.reached(point)
    }

    /// Waits for everything queued so far.
    pub fn wait_all(&self) {
        let points = self.lock().all_pending();
        for point in &points {
            self.wait(point);
        }
    }

    /// Brings the device to the present and executes what is due and allowed here. Returns the state and its time.
    pub fn drive<'a>(
        &'a self,
        mut core: MutexGuard<'a, Core>,
        executor: Executor,
    ) -> (MutexGuard<'a, Core>, u64) {
        loop {
            let now = clock::now();
            core.advance(now);
            let Some(taken) = core.take_due(executor, now) else {
                return (core, now);
            };
            drop(core);
            // SAFETY: the program keeps the memory of queued work valid until that work is done.
            let outcome = unsafe { taken.work.execute() };
            core = self.lock();
            let now = clock::now();
            match outcome {
                Outcome::Done => {
                    core.complete(&taken, now);
                    self.announce_progress();
                    // The others may sleep without a deadline because this item was being executed, and what comes next
                    // may be for one of them alone.
                    self.notify(core.queue(), executor);
                }
                Outcome::Retry => core.put_back(taken, now + RETRY),
            }
        }
    }

    fn announce_progress(&self) {
        self.progress.fetch_add(1, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) > 0 {
            futex_wake(&self.progress);
        }
    }

    /// Sleeps until `until` or until an external item finished after `seen` was read.
    fn sleep(&self, seen: u32, until: u64) {
        let now = clock::now();
        if until.saturating_sub(now) < SPIN {
            while clock::now() < until && self.progress.load(Ordering::Acquire) == seen {
                std::hint::spin_loop();
            }
            return;
        }
        precise_timers();
        self.waiters.fetch_add(1, Ordering::SeqCst);
        futex_wait(&self.progress, seen, Some((until - now).min(LONGEST_SLEEP)));
        self.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}
