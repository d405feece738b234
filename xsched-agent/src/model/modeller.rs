//! The model at work: a thread that takes in what was observed and who has
//! joined, and publishes a picture every tick.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xsched_common::api::{BpfState, Snapshot};
use xsched_host::clock;
use xsched_host::process::ProcessId;

use super::{Model, Observation, TICK};
use crate::control::RosterEvent;

/// How late an observation may be before the model goes on without.
const GRACE: Duration = Duration::from_millis(100);

/// An observer that has said nothing for so long is held up.
const HELD_UP: Duration = Duration::from_secs(2);

/// Whoever observes for the model, on a thread of its own.
pub trait Observing: Send {
    /// Whether it has failed.
    fn has_ended(&self) -> bool;

    /// Says who has joined: these are read from their pages.
    fn spare(&self, joined: HashSet<ProcessId>);
}

/// Where observations are handed in.
#[derive(Clone)]
pub struct Observations(Sender<Wake>);

/// Where they come out.
pub struct Observed(Receiver<Wake>);

enum Wake {
    Observed(Box<Observation>),
    Stop,
}

/// Both ends.
pub fn observations() -> (Observations, Observed) {
    let (wake, wakes) = channel();
    (Observations(wake), Observed(wakes))
}

impl Observations {
    /// Hands one in. The model is gone only when the agent stops.
    pub fn hand_in(&self, observation: Observation) {
        let _ = self.0.send(Wake::Observed(Box::new(observation)));
    }
}

/// What a model's thread has to work with.
pub struct Parts<O> {
    /// Whoever observes, or why nobody does.
    pub observer: Result<O, String>,
    /// What it sees.
    pub observed: Observed,
    /// Who joins and leaves.
    pub roster: Receiver<RosterEvent>,
}

/// A model at work.
pub struct Modeller {
    thread: JoinHandle<()>,
    stop: Observations,
}

impl Modeller {
    /// Has `picture` kept, and each new one handed to `publish`. The thread
    /// ends, and drops `publish`, when it is told to, and when control or
    /// observer fail.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn start(
        mut picture: Model,
        parts: Parts<impl Observing + 'static>,
        stop: Observations,
        publish: impl Fn(Snapshot) + Send + 'static,
    ) -> io::Result<Modeller> {
        let thread = thread::Builder::new()
            .name("model".into())
            .spawn(move || keep(&mut picture, &parts, &publish))?;
        Ok(Modeller { thread, stop })
    }

    /// Has it end; it is not waited for.
    pub fn stop(&self) {
        let _ = self.stop.0.send(Wake::Stop);
    }

    /// Waits for the end, which a failure is as well.
    pub fn join(self) {
        let _ = self.thread.join();
    }
}

fn keep(picture: &mut Model, parts: &Parts<impl Observing>, publish: &impl Fn(Snapshot)) {
    let Parts {
        observer,
        observed: Observed(wakes),
        roster,
    } = parts;
    let tick = Duration::from_nanos(TICK.0);
    let mut observation = unobserved(match observer {
        Ok(_) => "the observer has not seen everything once yet",
        Err(reason) => reason,
    });
    let mut observed = Instant::now();
    let mut next = match observer {
        Ok(_) => observed + tick + GRACE,
        Err(_) => observed,
    };
    loop {
        let mut waiting = next.saturating_duration_since(Instant::now());
        loop {
            match wakes.recv_timeout(waiting) {
                Ok(Wake::Observed(newest)) => {
                    observation = *newest;
                    observed = Instant::now();
                    waiting = Duration::ZERO;
                }
                Err(RecvTimeoutError::Timeout) => break,
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        let began = clock::monotonic();
        next = match observer {
            // It has failed: `publish` goes, too, which ends the agent.
            Ok(observer) if observer.has_ended() => return,
            Ok(_) => Instant::now() + tick + GRACE,
            Err(_) => (next + tick).max(Instant::now()),
        };
        loop {
            match roster.try_recv() {
                Ok(event) => picture.roster(event),
                Err(TryRecvError::Empty) => break,
                // The control thread is gone: as above.
                Err(TryRecvError::Disconnected) => return,
            }
        }
        picture.update(clock::monotonic(), &observation);
        if let Ok(observer) = observer {
            observer.spare(picture.joined());
            let silent = observed.elapsed();
            if silent >= HELD_UP {
                picture.limit(format!(
                    "the observer is held up, by files or memory that somebody does not let it read: \
                     counts of processes without the shim are {} s old",
                    silent.as_secs()
                ));
            }
        }
        let now = clock::monotonic();
        let snapshot = picture.snapshot(now, clock::unix());
        picture.remember(now, &snapshot);
        publish(snapshot);
        picture.ticked(clock::monotonic().since(began));
    }
}

fn unobserved(reason: &str) -> Observation {
    Observation {
        bpf: BpfState {
            available: false,
            reason: Some(reason.to_owned()),
            ..BpfState::default()
        },
        limits: vec![format!(
            "processes without the shim and calls that go past it are not seen: {reason}"
        )],
        ..Observation::default()
    }
}
