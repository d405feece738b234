//! Work with an end, whoever holds it up.
//!
//! A process can hold the lock of its own memory map for as long as it likes,
//! and whoever reads the map waits, root too; a file that it maps may lie in a
//! file system that nobody serves any more. So an examination of a process has
//! a thread of its own, which is given up when it stands in one wait for too
//! long, or takes too long altogether. What is given up stays with its process
//! until that lets go: it is not examined again meanwhile, and each user can
//! hold up a few threads.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Held, Limits, Tenant};

/// A wait that lasts so long is for somebody's goodwill: the longest honest
/// ones, for a disk or a lock, are shorter by far.
const ONE_WAIT: Duration = Duration::from_secs(2);

/// An examination that takes longer, beside what it waits for elsewhere, never
/// ends: one of 500 libraries takes 0.4 s.
const WHOLE: Duration = Duration::from_secs(15);

/// What an observation takes beyond its duration: probes are set and taken
/// away, on a busy machine one by one. It bounds its own reads.
const AROUND_OBSERVATION: Duration = Duration::from_secs(60);

/// How often a thread's state is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Examinations that were given up and have not come back, of one sort: who
/// holds up those of memory maps does not keep others from a driver. If others
/// hold up all, only root's and the agent's own user's processes are examined.
pub struct Places(Mutex<Held>);

/// Of memory maps and files.
static MAPS: Places = Places::all_free();

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum GivenUp {
    /// It takes too long, or is not even tried.
    #[error(
        "process {0} was given up: it, or others of its user, hold up whoever reads their memory maps \
         or files; look at it again later, or end it (kill -9 {0})"
    )]
    HeldUp(u32),
    /// Others hold up all that may read.
    #[error(
        "nothing was examined: processes of other users hold up all who read memory maps or files, and \
         no place is left; root's processes are examined all the same"
    )]
    Crowded,
    /// The kernel refuses a thread.
    #[error("nothing was examined: the kernel refuses a thread ({0}): see the limits on tasks")]
    NoThread(io::Error),
}

/// Whether an examination waits for an observation now, and so does nothing
/// itself.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    observing: Arc<AtomicBool>,
}

impl Stage {
    /// Observes.
    pub fn observe<T>(&self, observe: impl FnOnce() -> T) -> T {
        self.observing.store(true, Relaxed);
        let observed = observe();
        self.observing.store(false, Relaxed);
        observed
    }
}

/// What `read` says of the memory map and files of process `pid`.
///
/// # Errors
/// As [`examine`].
pub fn read<T: Send + 'static>(
    pid: u32,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GivenUp> {
    MAPS.read(pid, read)
}

/// What `examine` says of the memory map and files of process `pid`, which it
/// observes for `duration` of the time.
///
/// # Errors
/// It takes too long, or is not even tried.
pub fn examine<T: Send + 'static>(
    pid: u32,
    duration: Duration,
    stage: &Stage,
    examine: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GivenUp> {
    MAPS.examine(pid, duration, stage, examine)
}

impl Places {
    /// Nobody holds up any.
    pub const fn all_free() -> Places {
        Places(Mutex::new(Held::within(Limits {
            of_tenant: 8,
            of_cgroup: 32,
            of_all: 64,
        })))
    }

    /// What `read` says of process `pid`.
    ///
    /// # Errors
    /// As [`examine`].
    pub fn read<T: Send + 'static>(
        &self,
        pid: u32,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GivenUp> {
        self.examine(pid, Duration::ZERO, &Stage::default(), read)
    }

    fn examine<T: Send + 'static>(
        &self,
        pid: u32,
        duration: Duration,
        stage: &Stage,
        examine: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GivenUp> {
        let owner = Tenant::of(pid);
        may_try(&mut self.held(), pid, &owner)?;
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
        let thread = thread.map_err(GivenUp::NoThread)?;
        let tid = said.recv().unwrap_or_default();
        match wait(&answers, tid, duration, stage) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                self.held().add(pid, owner, examining);
                Err(GivenUp::HeldUp(pid))
            }
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => Err(GivenUp::HeldUp(pid)),
            },
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // A list is whole after every change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

fn may_try(held: &mut Held, pid: u32, owner: &Tenant) -> Result<(), GivenUp> {
    if held.is_empty() {
        return Ok(());
    }
    if held.holds(pid) || held.is_over_share(owner) {
        return Err(GivenUp::HeldUp(pid));
    }
    match held.is_full(owner) {
        true => Err(GivenUp::Crowded),
        false => Ok(()),
    }
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
        };
        let began = Instant::now();
        let first = examine(NOBODY, NEVER, &Stage::default(), waits);
        assert!(matches!(first, Err(GivenUp::HeldUp(NOBODY))));
        assert!(began.elapsed() >= ONE_WAIT);
        let again = examine::<i32>(NOBODY, NEVER, &Stage::default(), || panic!("tried again"));
        assert!(matches!(again, Err(GivenUp::HeldUp(NOBODY))));
        let me = std::process::id();
        let other = examine(me, NEVER, &Stage::default(), || 2);
        assert!(matches!(other, Ok(2)), "others are examined");
        drop(release);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !matches!(examine(NOBODY, NEVER, &Stage::default(), || 3), Ok(3)) {
            assert!(Instant::now() < deadline, "it let go");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn who_holds_up_one_sort_of_examination_has_others_made() {
        let places = Places::all_free();
        let (release, held) = channel::<()>();
        let waits = move || {
            let _ = held.recv();
        };
        let pid = NOBODY - 1;
        assert!(places.read(pid, waits).is_err());
        assert!(places.read(pid, || 1).is_err(), "it is held up still");
        assert!(matches!(read(pid, || 2), Ok(2)));
        drop(release);
    }

    #[test]
    fn with_all_places_taken_nobody_is_blamed_and_root_is_examined() {
        let life = Arc::new(());
        let limits = Limits {
            of_tenant: 8,
            of_cgroup: 32,
            of_all: 64,
        };
        let crowd = |count: u32| {
            let mut held = Held::within(limits);
            for n in 0..count {
                let tenant = Tenant {
                    uid: 70_000 + n,
                    cgroup: format!("/crowd/{n}"),
                };
                held.add(u32::MAX - 1_000 - n, tenant, Arc::downgrade(&life));
            }
            held
        };
        let innocent = Tenant {
            uid: 4_000_000,
            cgroup: "/innocent".into(),
        };
        let refused = may_try(&mut crowd(64), u32::MAX - 5, &innocent);
        let said = refused.expect_err("no place").to_string();
        assert!(!said.contains(&(u32::MAX - 5).to_string()) && !said.contains("kill"));
        let root = Tenant {
            uid: 0,
            ..innocent.clone()
        };
        assert!(may_try(&mut crowd(64), u32::MAX - 5, &root).is_ok());
        assert!(may_try(&mut crowd(63), u32::MAX - 5, &innocent).is_ok());
        let blamed = may_try(&mut crowd(1), u32::MAX - 1_000, &innocent);
        assert!(matches!(blamed, Err(GivenUp::HeldUp(_))));
    }

    #[test]
    fn many_short_waits_and_an_observation_are_no_hold_up() {
        let me = std::process::id();
        let short = || {
            for _ in 0..100 {
                thread::sleep(ONE_WAIT / 50);
            }
        };
        assert!(examine(me, NEVER, &Stage::default(), short).is_ok());
        let stage = Stage::default();
        let observing = stage.clone();
        let long = 2 * ONE_WAIT;
        let observes = move || observing.observe(|| thread::sleep(long));
        assert!(examine(me, long, &stage, observes).is_ok());
    }
}
