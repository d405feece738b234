//! All of the process's queued work under one lock: its GPUs, its copies, and handlers that wait.

use simdevice::device::clock::REAP_INTERVAL;
use simdevice::places::MAX_DEVICES;

use super::copies::{Copies, Copy};
use super::gpu::Gpu;
use super::handlers::Handlers;
use super::packet::{Effect, Outcome};
use super::signal::{Place, Signal};
use super::system_events::Fault;
use crate::abi::status::{Result, Status};
use crate::memory::places;

/// How soon to look again at what the host decides, in ns.
const HOST: u64 = 100_000;

/// See the module's description.
pub struct State {
    gpus: [Option<Box<Gpu>>; MAX_DEVICES],
    pub copies: Copies,
    pub handlers: Handlers,
    /// Signals that packets complete and that the program may look at without a call.
    pub watched: Vec<Signal>,
    /// Faults that the program is to be told of.
    pub faults: Vec<Fault>,
    /// Work taken out.
    executing: usize,
}

/// Work taken out for execution without the lock.
pub enum Taken {
    /// From this GPU's ring.
    Effect {
        gpu: usize,
        ring: usize,
        effect: Effect,
    },
    /// From this line of copies.
    Copy { line: usize, copy: Copy },
}

impl Taken {
    /// Does it.
    ///
    /// # Safety
    /// The addresses are the program's, valid until the work is done.
    pub unsafe fn execute(&mut self) -> Outcome {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Effect { effect, .. } => effect.execute(),
                Self::Copy { copy, .. } => {
                    copy.execute();
                    Outcome::Done
                }
            }
        }
    }
}

impl State {
    /// Nothing queued, nothing attached.
    pub const fn new() -> Self {
        Self {
            gpus: [const { None }; MAX_DEVICES],
            copies: Copies::new(),
            handlers: Handlers::new(),
            watched: Vec::new(),
            faults: Vec::new(),
            executing: 0,
        }
    }

    /// A GPU, attached at first use.
    ///
    /// # Errors
    /// There is none of this number, or its file cannot be used.
    pub fn gpu(&mut self, number: usize) -> Result<&mut Gpu> {
        let place = *places().get(number).ok_or(Status::INVALID_AGENT)?;
        let slot = self.gpus.get_mut(number).ok_or(Status::INVALID_AGENT)?;
        if slot.is_none() {
            *slot = Some(Box::new(Gpu::attach(number, place)?));
        }
        slot.as_deref_mut().ok_or(Status::INVALID_AGENT)
    }

    fn attached(&mut self) -> impl Iterator<Item = (usize, &mut Gpu)> {
        let numbered = self.gpus.iter_mut().enumerate();
        numbered.filter_map(|(number, gpu)| Some((number, gpu.as_deref_mut()?)))
    }

    /// Brings everything to the real time `now`.
    pub fn advance(&mut self, now: u64) {
        for (_, gpu) in self.attached() {
            gpu.advance(now);
        }
        self.copies.advance(now);
        self.watched.retain(Signal::is_pending);
    }

    /// Takes work that is due.
    pub fn take_due(&mut self, now: u64) -> Option<Taken> {
        let effect = self.attached().find_map(|(gpu, state)| {
            let (ring, effect) = state.take_due(now)?;
            Some(Taken::Effect { gpu, ring, effect })
        });
        let taken = effect.or_else(|| {
            let (line, copy) = self.copies.take_due(now)?;
            Some(Taken::Copy { line, copy })
        });
        self.executing += usize::from(taken.is_some());
        taken
    }

    /// The work taken has had its effect.
    pub fn complete(&mut self, taken: Taken, now: u64) {
        self.executing -= 1;
        match taken {
            Taken::Effect { gpu, ring, .. } => {
                if let Some(gpu) = &mut self.gpus[gpu] {
                    gpu.complete(ring, now);
                }
            }
            Taken::Copy { line, copy } => self.copies.complete(line, &copy, now),
        }
    }

    /// The work taken used an address without memory: it never ends, and its queue is in error.
    pub fn fault(&mut self, taken: Taken, at: usize) {
        self.executing -= 1;
        if let Taken::Effect { gpu, ring, .. } = taken
            && let Some(attached) = &mut self.gpus[gpu]
        {
            attached.fail(ring);
            self.faults.push(Fault { gpu, at });
        }
    }

    /// The work taken must be tried again at `retry_at`.
    pub fn put_back(&mut self, taken: Taken, retry_at: u64) {
        self.executing -= 1;
        if let Taken::Effect { gpu, ring, effect } = taken
            && let Some(gpu) = &mut self.gpus[gpu]
        {
            gpu.put_back(ring, effect, retry_at);
        }
    }

    /// Whether no work uses memory just now. None can begin to while the state is locked.
    pub fn is_quiet(&self) -> bool {
        self.executing == 0
    }

    /// Whether work is queued that somebody must come for: it has an effect, or is looked for without a call.
    pub fn needs_driver(&mut self) -> bool {
        !self.watched.is_empty()
            || self.copies.any()
            || self.attached().any(|(_, gpu)| gpu.has_effects())
    }

    /// When whoever sleeps until `next` has to look: with neighbours, often enough to find them dead.
    pub fn wake_up(&mut self, next: Option<u64>, now: u64) -> Option<u64> {
        let next = next?;
        Some(match self.contended() {
            true => next.min(now + REAP_INTERVAL),
            false => next,
        })
    }

    /// The earliest real time at which somebody must come for work, without that being executed.
    pub fn next_effect(&mut self, now: u64) -> Option<u64> {
        let awaited = self.copies.awaited();
        let waiting = awaited
            .into_iter()
            .chain(self.watched.iter().copied())
            .map(|signal| self.look_again(signal, now));
        let waiting = waiting.min();
        let gpus = self.attached().filter_map(|(_, gpu)| gpu.next_effect(now));
        let gpus = gpus.min();
        waiting
            .into_iter()
            .chain(gpus)
            .chain(self.copies.next_due())
            .min()
    }

    /// When to look again at a signal: never later than what is queued for it can change it.
    pub fn look_again(&self, signal: Signal, now: u64) -> u64 {
        match signal.place() {
            Some(Place::Ring {
                gpu,
                ring,
                cumulative,
            }) => match &self.gpus[gpu % MAX_DEVICES] {
                Some(gpu) => gpu.look_again(ring, cumulative, now),
                None => now + HOST,
            },
            Some(Place::Copy) => {
                let due = self.copies.next_due();
                due.filter(|due| *due > now)
                    .unwrap_or(now + HOST)
                    .min(now + HOST)
            }
            // The host's business: it says when it changes the signal, unless it does so behind our back.
            None => now + 20 * HOST,
        }
    }

    /// Whether another process may be using a device on which this one has work.
    pub fn contended(&mut self) -> bool {
        self.attached()
            .any(|(_, gpu)| !gpu.is_idle() && gpu.clock.contended())
    }

    /// Takes dead neighbours off the devices.
    pub fn reap(&mut self, now: u64) {
        for (_, gpu) in self.attached() {
            gpu.reap(now);
        }
    }
}
