//! The sampler on a thread of its own.
//!
//! It reads memory maps, opens files that processes map and has the kernel
//! read them: each can be held up by whoever made them. The model waits for
//! none of that; its numbers stand still then, and say so.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use xsched_host::process::ProcessId;

use super::Sampler;
use crate::model::{self, Observation, Observing};

/// How long the end of the sampler is waited for: it takes its probes away.
/// What is left of them goes with the agent.
const STOPS_WITHIN: Duration = Duration::from_millis(1_500);

/// The longest nap: a stop must not wait for the end of a tick.
const NAP: Duration = Duration::from_millis(20);

/// A sampler at work. Dropping it takes the probes away.
pub struct SamplerThread {
    shared: Arc<Shared>,
    ended: Receiver<()>,
}

#[derive(Default)]
struct Shared {
    joined: Mutex<HashSet<ProcessId>>,
    stop: AtomicBool,
}

impl SamplerThread {
    /// Has `sampler` observe every [`model::TICK`], and hands what it sees to
    /// `publish`.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn start(
        mut sampler: Sampler,
        publish: impl Fn(Observation) + Send + 'static,
    ) -> io::Result<SamplerThread> {
        let shared = Arc::new(Shared::default());
        let (alive, ended) = channel::<()>();
        let for_thread = shared.clone();
        thread::Builder::new()
            .name("sampler".into())
            .spawn(move || {
                let _alive = alive;
                watch(&mut sampler, &for_thread, publish);
                drop(sampler);
            })?;
        Ok(SamplerThread { shared, ended })
    }
}

impl Observing for SamplerThread {
    fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    fn spare(&self, joined: HashSet<ProcessId>) {
        *self.shared.joined() = joined;
    }
}

impl Shared {
    fn joined(&self) -> std::sync::MutexGuard<'_, HashSet<ProcessId>> {
        // A set is whole after every assignment.
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SamplerThread {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(STOPS_WITHIN) {
            tracing::warn!("the observer is held up and does not end by itself");
        }
    }
}

fn watch(sampler: &mut Sampler, shared: &Shared, publish: impl Fn(Observation)) {
    let tick = Duration::from_nanos(model::TICK.0);
    let mut next = Instant::now();
    while !shared.stop.load(Relaxed) {
        let joined = shared.joined().clone();
        publish(sampler.observe(&joined));
        next = (next + tick).max(Instant::now());
        while !shared.stop.load(Relaxed) && Instant::now() < next {
            sampler.rest(NAP.min(next.saturating_duration_since(Instant::now())));
        }
    }
}
