//! Examinations with an end, whoever is examined.
//!
//! A process can hold the lock of its own memory map for as long as it likes,
//! and whoever reads the map waits, root too; a file that it maps may lie in a
//! file system that nobody serves any more. So an examination has a thread of
//! its own, which is given up when it stands in one wait for too long, or
//! takes too long altogether. What is given up stays with its process until
//! that lets go: it is not examined again meanwhile, and each user can hold up
//! a few threads.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::Error;
use super::calls::{CallSource, Observed};
use crate::readers::Tenant;

/// A wait that lasts so long is for somebody's goodwill: the longest honest
/// ones, for a disk or a lock, are shorter by far.
const ONE_WAIT: Duration = Duration::from_secs(2);

/// An examination that takes longer, beside the observation, never ends: one
/// of 500 libraries takes 0.4 s, and reading ends by itself before this
/// ([`super::survey`]).
const WHOLE: Duration = Duration::from_secs(15);

/// What an observation takes beyond its duration: probes are set and taken
/// away, on a busy machine one by one. It bounds its own reads.
const AROUND_OBSERVATION: Duration = Duration::from_secs(60);

/// How often a thread's state is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Threads that may be held up at once; then only root's and the agent's own
/// user's processes are examined.
const MAX_HELD: usize = 64;

/// Of these, those that one tenant's processes hold up, and those of all in
/// one control group.
const MAX_OF_USER: usize = 8;
const MAX_OF_CGROUP: usize = 32;

/// Examinations that were given up and have not come back.
static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

struct Held {
    pid: u32,
    owner: Tenant,
    examining: Weak<()>,
}

/// Whether the examination watches calls now, and so does nothing itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage {
    observing: Arc<AtomicBool>,
}

/// A source of calls that says when it is at work.
pub(super) struct Staged<S> {
    pub source: S,
    pub stage: Stage,
}

impl<S: CallSource> CallSource for Staged<S> {
    fn observe(&mut self, pid: u32, duration: Duration) -> Result<Observed, String> {
        self.stage.observing.store(true, Relaxed);
        let observed = self.source.observe(pid, duration);
        self.stage.observing.store(false, Relaxed);
        observed
    }
}

/// What `examine` says of process `pid`, whose calls are observed for
/// `duration` of the time.
///
/// # Errors
/// [`Error::HeldUp`]: it takes too long, or is not even tried.
/// [`Error::Crowded`]: others take all the threads.
pub(super) fn examine<T: Send + 'static>(
    pid: u32,
    duration: Duration,
    stage: &Stage,
    examine: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let owner = Tenant::of(pid);
    may_try(pid, &owner)?;
    let life = Arc::new(());
    let examining = Arc::downgrade(&life);
    let (answer, answers) = sync_channel(1);
    let (say, said) = sync_channel(1);
    let work = move || {
        let _life = life;
        let _ = say.send(rustix::thread::gettid().as_raw_nonzero().get());
        // Nobody waits any more for what took too long.
        let _ = answer.send(examine());
    };
    let thread = thread::Builder::new().name("examine".into()).spawn(work);
    let thread = thread.map_err(Error::NoThread)?;
    let tid = said.recv().unwrap_or_default();
    match wait(&answers, tid, duration, stage) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => {
            held().push(Held {
                pid,
                owner,
                examining,
            });
            Err(Error::HeldUp(pid))
        }
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Err(Error::HeldUp(pid)),
        },
    }
}

fn wait<T>(
    answers: &Receiver<T>,
    tid: i32,
    duration: Duration,
    stage: &Stage,
) -> Result<T, RecvTimeoutError> {
    let (mut reading, mut observing) = (Duration::ZERO, Duration::ZERO);
    let mut wait: Option<(String, Instant)> = None;
    let mut last = Instant::now();
    loop {
        match answers.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            answer => return answer,
        }
        let passed = last.elapsed();
        last += passed;
        if stage.observing.load(Relaxed) {
            observing += passed;
            wait = None;
        } else {
            reading += passed;
            wait = match (one_wait(tid), wait) {
                (Some(now), Some((before, since))) if now == before => Some((before, since)),
                (now, _) => now.map(|now| (now, Instant::now())),
            };
        }
        let stands = wait
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() >= ONE_WAIT);
        if stands || reading > WHOLE || observing > duration + AROUND_OBSERVATION {
            return Err(RecvTimeoutError::Timeout);
        }
    }
}

/// What tells one wait of a thread from its next; `None` while it runs. A
/// thread that only comes late on a busy machine is runnable.
fn one_wait(tid: i32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let runs = field("State:")?.trim_start().starts_with('R');
    let waits = field("voluntary_ctxt_switches:")?.trim();
    (!runs).then(|| waits.to_owned())
}

/// Who has a process, as places go: a user has his in whatever control group,
/// but root's services and containers are not one tenant.
fn is_same(held: &Tenant, new: &Tenant) -> bool {
    let by_user = new.uid != 0 && new.uid != Tenant::NOBODY && held.uid == new.uid;
    by_user || held == new
}

fn may_try(pid: u32, owner: &Tenant) -> Result<(), Error> {
    let mut held = held();
    held.retain(|held| held.examining.strong_count() > 0);
    beside(&held, pid, owner)
}

fn beside(held: &[Held], pid: u32, owner: &Tenant) -> Result<(), Error> {
    let count = |counts: &dyn Fn(&Tenant) -> bool| {
        let held = held.iter();
        held.filter(|held| counts(&held.owner)).count()
    };
    let of_owner = count(&|held| is_same(held, owner));
    if of_owner >= MAX_OF_USER || held.iter().any(|held| held.pid == pid) {
        return Err(Error::HeldUp(pid));
    }
    let full = count(&|held| !held.is_ours()) >= MAX_HELD
        || count(&|held| held.cgroup == owner.cgroup) >= MAX_OF_CGROUP;
    match full && !owner.is_ours() {
        true => Err(Error::Crowded),
        false => Ok(()),
    }
}

fn held() -> std::sync::MutexGuard<'static, Vec<Held>> {
    // A list is whole after every change.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const NEVER: Duration = Duration::ZERO;

    /// A process that nobody has, so that its owner is nobody else's.
    const NOBODY: u32 = u32::MAX - 77;

    #[test]
    fn whoever_holds_up_an_examination_is_given_up_until_it_lets_go() {
        let (release, held) = channel::<()>();
        let waits = move || {
            let _ = held.recv();
            Ok(1)
        };
        let began = Instant::now();
        let first = examine(NOBODY, NEVER, &Stage::default(), waits);
        assert!(matches!(first, Err(Error::HeldUp(NOBODY))));
        assert!(began.elapsed() >= ONE_WAIT);
        let again = examine::<i32>(NOBODY, NEVER, &Stage::default(), || panic!("tried again"));
        assert!(matches!(again, Err(Error::HeldUp(NOBODY))));
        let me = std::process::id();
        let other = examine(me, NEVER, &Stage::default(), || Ok(2));
        assert!(matches!(other, Ok(2)), "others are examined");
        drop(release);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !matches!(examine(NOBODY, NEVER, &Stage::default(), || Ok(3)), Ok(3)) {
            assert!(Instant::now() < deadline, "it let go");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn with_all_places_taken_nobody_is_blamed_and_root_is_examined() {
        let life = Arc::new(());
        let crowd: Vec<Held> = (0..MAX_HELD)
            .map(|n| Held {
                pid: u32::MAX - 1_000 - n as u32,
                owner: Tenant {
                    uid: 70_000 + n as u32,
                    cgroup: format!("/crowd/{n}"),
                },
                examining: Arc::downgrade(&life),
            })
            .collect();
        let innocent = Tenant {
            uid: 4_000_000,
            cgroup: "/innocent".into(),
        };
        let refused = beside(&crowd, u32::MAX - 5, &innocent);
        let said = refused.expect_err("no place").to_string();
        assert!(!said.contains(&(u32::MAX - 5).to_string()) && !said.contains("kill"));
        let root = Tenant {
            uid: 0,
            ..innocent.clone()
        };
        assert!(beside(&crowd, u32::MAX - 5, &root).is_ok());
        assert!(beside(&crowd[1..], u32::MAX - 5, &innocent).is_ok());
    }

    #[test]
    fn many_short_waits_and_an_observation_are_no_hold_up() {
        let me = std::process::id();
        let short = || {
            for _ in 0..100 {
                thread::sleep(ONE_WAIT / 50);
            }
            Ok(1)
        };
        let done = examine(me, NEVER, &Stage::default(), short);
        assert!(matches!(done, Ok(1)));
        struct Sleeps;
        impl CallSource for Sleeps {
            fn observe(&mut self, _: u32, duration: Duration) -> Result<Observed, String> {
                thread::sleep(duration);
                Ok(Observed::default())
            }
        }
        let stage = Stage::default();
        let mut source = Staged {
            source: Sleeps,
            stage: stage.clone(),
        };
        let long = 2 * ONE_WAIT;
        let observes = move || Ok(source.observe(me, long).is_ok());
        assert!(matches!(examine(me, long, &stage, observes), Ok(true)));
    }
}
