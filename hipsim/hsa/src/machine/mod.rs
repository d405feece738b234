//! This process's side of the devices: queues, copies and handlers under one lock, and who drives them. A thread that waits
//! drives the devices itself; two threads of the library do it while nobody waits (`threads`).

mod blits;
pub mod copies;
pub mod gpu;
pub mod handlers;
pub mod kernels;
mod packet;
pub mod packets;
pub mod queue;
pub mod signal;
mod state;
pub mod system_events;
mod threads;
mod values;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use simdevice::device::clock::{self, REAP_INTERVAL};
use simdevice::threads::{futex_wait, futex_wake, precise_timers};

use self::packet::Outcome;
use self::signal::Signal;
use self::state::State;
use self::threads::Thread;
use crate::abi::types::Condition;

/// Waits shorter than this spin: a sleep would take longer to wake from. In ns.
const SPIN: u64 = 20_000;
/// Longest sleep between looks at the devices, in ns. Only a lost wake-up would ever need it.
const LONGEST_SLEEP: u64 = 50_000_000;
/// Longest wait for handlers at the process's end, in ns.
const SETTLING: u64 = 100_000_000;
/// How soon a condition of the host is looked at again, in ns.
const RETRY: u64 = 50_000;

/// See the module's description.
pub struct Machine {
    state: Mutex<State>,
    /// Bumped whenever something finishes that others may wait for.
    progress: AtomicU32,
    waiters: AtomicU32,
    engine: Thread,
    events: Thread,
}

/// The one of this process.
pub static MACHINE: Machine = Machine {
    state: Mutex::new(State::new()),
    progress: AtomicU32::new(0),
    waiters: AtomicU32::new(0),
    engine: Thread::new(threads::engine),
    events: Thread::new(threads::events),
};

/// Who drives the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A thread of the program.
    Program,
    /// The thread for effects: copies and kernels that compute.
    Engine,
    /// The thread that calls the program's handlers.
    Events,
}

impl Machine {
    /// The state under its lock. A panic of another thread does not make it unusable: every update is complete by itself.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the library's threads look that have something to do; not the one that asks.
    pub fn notify(&self, mut state: MutexGuard<'_, State>, asking: Driver) {
        let handlers = state.handlers.any() || !state.faults.is_empty();
        let work = state.needs_driver();
        drop(state);
        if work && asking != Driver::Engine {
            self.engine.notify();
        }
        if handlers && asking != Driver::Events {
            self.events.notify();
        }
    }

    /// Waits, for at most [`SETTLING`], until no handler is being called or could be.
    pub fn settle(&self) {
        let deadline = clock::now() + SETTLING;
        while clock::now() < deadline {
            let (state, _) = self.drive(Driver::Program);
            if state.handlers.is_settled() {
                return;
            }
            self.notify(state, Driver::Program);
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
    }

    /// Does something while no work of this process uses memory. Not for code that waits for such work.
    pub fn quietly<T>(&self, then: impl FnOnce(&mut State) -> T) -> T {
        loop {
            let mut state = self.lock();
            if state.is_quiet() {
                return then(&mut state);
            }
            drop(state);
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
    }

    /// Brings the devices to the present for one who looks again and again instead of waiting.
    pub fn look(&self) {
        let (mut state, now) = self.drive(Driver::Program);
        // Whoever only looks never sleeps, so nobody else may come to find neighbours dead.
        state.reap(now);
    }

    /// Brings the devices to the present and executes what is due. Returns the state and its time.
    pub fn drive(&self, driver: Driver) -> (MutexGuard<'_, State>, u64) {
        let mut state = self.lock();
        loop {
            let now = clock::now();
            state.advance(now);
            let Some(mut taken) = state.take_due(now) else {
                return (state, now);
            };
            drop(state);
            // SAFETY: the program keeps the memory of queued work valid until that work is done.
            let outcome = unsafe { taken.execute() };
            state = self.lock();
            let now = clock::now();
            match outcome {
                Outcome::Done => {
                    state.complete(taken, now);
                    // The others may sleep without a deadline because this item was being executed.
                    self.notify(state, driver);
                    self.announce_progress();
                    state = self.lock();
                }
                Outcome::Fault(at) => {
                    state.fault(taken, at);
                    self.notify(state, driver);
                    state = self.lock();
                }
                Outcome::Retry => {
                    state.put_back(taken, now + RETRY);
                    // Whoever looked while it was taken sleeps without a thought of it.
                    self.notify(state, driver);
                    state = self.lock();
                }
            }
        }
    }

    /// Waits until the condition holds or the time `deadline`; the value seen last.
    pub fn wait(&self, signal: Signal, condition: Condition, than: i64, deadline: u64) -> i64 {
        loop {
            let seen = self.progress.load(Ordering::Acquire);
            let (mut state, now) = self.drive(Driver::Program);
            let value = signal.value();
            if condition.holds(value, than) || now >= deadline {
                // What this waiter would have driven next is the others' now.
                self.notify(state, Driver::Program);
                return value;
            }
            let mut until = state.look_again(signal, now);
            if until > now + 2 * SPIN {
                // A sleeper wakes some 10 to 40 us late; what is left of the early wake-up is spun.
                until -= SPIN;
            }
            until = until.min(state.next_effect(now).unwrap_or(u64::MAX));
            if state.contended() {
                state.reap(now);
                until = until.min(now + REAP_INTERVAL);
            }
            drop(state);
            self.sleep(seen, until.min(deadline));
        }
    }

    /// Something changed that others may wait for.
    pub fn announce_progress(&self) {
        self.progress.fetch_add(1, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) > 0 {
            futex_wake(&self.progress);
        }
    }

    /// A signal was changed by the program: whoever waits for it looks, and what waits for it on a device goes on.
    pub fn signal_changed(&self) {
        self.announce_progress();
        let mut state = self.lock();
        state.advance(clock::now());
        self.notify(state, Driver::Program);
    }

    /// Sleeps until `until` or until something finished after `seen` was read.
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
