//! Looks at services several times within a burst, so that what happens is
//! told apart by whether a burst was under way: delays on the run queue, host
//! code between launches, others' work.
//!
//! A thread of its own: the control thread has no time for it, and the
//! model's ticks are too far apart. It looks only while somebody is watched.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use xsched_common::units::Nanos;
use xsched_host::clock;
use xsched_policy::ClientId;

use super::watched::{Agent, Request, Seen, Watched};
use crate::control::Stats;

/// Between two looks while somebody is watched: some within a burst of a
/// service that has a target, and a fifth of a percent of a processor.
const EVERY: Nanos = Nanos::from_millis(3);

/// Between two looks for somebody to watch.
const ASLEEP: Nanos = Nanos::from_millis(200);

/// Who is watched, shared between the model and the thread.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<BTreeMap<ClientId, Watched>>>);

/// The thread, for as long as this lives.
pub struct Watcher {
    _stop: Sender<()>,
}

impl Watch {
    /// Has these watched, and nobody else.
    pub(super) fn replace(&self, requests: Vec<Request>) {
        let mut watched = self.lock();
        let ids: Vec<ClientId> = requests.iter().map(Request::id).collect();
        watched.retain(|id, _| ids.contains(id));
        for request in requests {
            match watched.get_mut(&request.id()) {
                Some(known) => known.renew(request),
                None => drop(watched.insert(request.id(), Watched::new(request))),
            }
        }
    }

    /// What was seen of one since the last call.
    pub(super) fn take(&self, id: ClientId) -> Option<Seen> {
        Some(self.lock().get_mut(&id)?.take())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClientId, Watched>> {
        // Whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks, until the result is dropped.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn start(&self, stats: Arc<Stats>) -> io::Result<Watcher> {
        let (stop, stopped) = channel();
        let watch = self.clone();
        thread::Builder::new().name("blame".into()).spawn(move || {
            let mut agent = Agent::new(stats);
            let mut every = ASLEEP;
            while stopped.recv_timeout(Duration::from_nanos(every.0))
                == Err(RecvTimeoutError::Timeout)
            {
                every = watch.look(&mut agent);
            }
        })?;
        Ok(Watcher { _stop: stop })
    }

    /// One look; when the next is due.
    fn look(&self, agent: &mut Agent) -> Nanos {
        let mut watched = self.lock();
        if watched.is_empty() {
            agent.rest();
            return ASLEEP;
        }
        let now = clock::monotonic();
        let delays = agent.look(now, EVERY);
        for one in watched.values_mut() {
            one.look(now, &delays);
        }
        EVERY
    }
}
