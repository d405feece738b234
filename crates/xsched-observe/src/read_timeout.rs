//! Reads that somebody may hold up, with an end.
//!
//! A memory map is read under a lock that its process can hold for ever, and
//! a file may lie in a file system that its owner serves or does not. One
//! thread reads for the observer; whoever holds it up for too long keeps it,
//! and another takes its place. Until it comes back that process is not read
//! again, and a user can hold up two.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use xsched_host::process;
use xsched_host::readers::{Held, Limits, Tenant};

use super::plan::Scope;

/// A read that takes longer is held up. The longest honest ones, of 65,530
/// mappings, take some ten milliseconds; the rest is for machines so busy
/// that the thread itself comes late.
const LIMIT: Duration = Duration::from_secs(5);

/// Where a process was asked for by name; others are only asked whether they
/// let a probe be set.
const LIMIT_FOR_ONE: Duration = Duration::from_secs(10);
const LIMIT_BESIDE: Duration = Duration::from_secs(1);

/// What is left for each when the observer ends.
const LIMIT_AT_THE_END: Duration = Duration::from_millis(300);

/// Threads that may be held up at once; if others hold up all, only root's and
/// the agent's own user's processes are read until one comes back.
const LIMITS: Limits = Limits {
    of_tenant: 2,
    of_cgroup: 32,
    of_all: 64,
};

/// It was not read, because it, or too many others of its tenant or control
/// group or of all together, hold up whoever does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldUp;

/// What a read is for.
#[derive(Clone, Copy)]
enum Asks<'a> {
    /// What it says; whose process it is must be found out.
    Tenant,
    /// What it says of a process of this tenant.
    Of(&'a Tenant),
    /// Whether it comes back at all.
    ForItsLock,
}

type Read = Box<dyn FnOnce() + Send>;

/// See the module.
#[derive(Debug)]
pub(super) struct ReadTimeout {
    limit: Duration,
    /// Whom the limit is for, if the others have a shorter one.
    one: Option<u32>,
    thread: Option<Sender<Read>>,
    held: Held,
}

impl ReadTimeout {
    /// As much as the readers of `scope` have.
    pub fn with(scope: Scope) -> ReadTimeout {
        ReadTimeout {
            limit: match scope {
                Scope::All => LIMIT,
                Scope::Pid(_) => LIMIT_FOR_ONE,
            },
            one: match scope {
                Scope::All => None,
                Scope::Pid(pid) => Some(pid),
            },
            thread: None,
            held: Held::within(LIMITS),
        }
    }

    /// The first of these processes that does not let others take the lock of
    /// its memory map, as far as that can be told by taking it for reading.
    pub fn holder(&mut self, pids: &[u32]) -> Option<u32> {
        let mut pids = pids.iter().copied();
        pids.find(|&pid| {
            let lock = move || process::take_lock(pid);
            self.read_as(pid, Asks::ForItsLock, lock) == Err(HeldUp)
        })
    }

    /// Nobody is waited for long any more: the observer ends.
    pub fn hurry(&mut self) {
        self.limit = self.limit.min(LIMIT_AT_THE_END);
    }

    /// What `read` says of process `pid`.
    ///
    /// # Errors
    /// It takes too long, or is not even tried.
    pub fn read<T: Send + 'static>(
        &mut self,
        pid: u32,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HeldUp> {
        self.read_as(pid, Asks::Tenant, read)
    }

    /// The same of one whose tenant is known, which is not asked again: the
    /// process may be gone by now.
    pub fn read_of<T: Send + 'static>(
        &mut self,
        pid: u32,
        tenant: &Tenant,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HeldUp> {
        self.read_as(pid, Asks::Of(tenant), read)
    }

    fn read_as<T: Send + 'static>(
        &mut self,
        pid: u32,
        asks: Asks<'_>,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HeldUp> {
        let tenant = || match asks {
            Asks::Of(tenant) => tenant.clone(),
            Asks::Tenant | Asks::ForItsLock => Tenant::of(pid),
        };
        if !self.held.is_empty() {
            let tenant = tenant();
            // Whoever is not asked counts as one that holds its lock, so
            // others of its tenant do not decide that.
            let over_share = match asks {
                Asks::ForItsLock => false,
                Asks::Tenant | Asks::Of(_) => self.held.is_over_share(&tenant),
            };
            if self.held.holds(pid) || over_share || self.held.is_full(&tenant) {
                return Err(HeldUp);
            }
        }
        let life = Arc::new(());
        let reading = Arc::downgrade(&life);
        let (answer, answers) = sync_channel(1);
        let sent = self.give(Box::new(move || {
            let _life = life;
            // Nobody waits any more for what took too long.
            let _ = answer.send(read());
        }));
        if !sent {
            return Err(HeldUp);
        }
        let limit = match self.one {
            Some(one) if one != pid => LIMIT_BESIDE,
            Some(_) | None => self.limit,
        };
        answers.recv_timeout(limit).map_err(|error| {
            // The thread ends once it comes back: nothing more is given to it.
            self.thread = None;
            if error == RecvTimeoutError::Timeout {
                self.held.add(pid, tenant(), reading);
            }
            HeldUp
        })
    }

    fn give(&mut self, read: Read) -> bool {
        let read = match &self.thread {
            Some(thread) => match thread.send(read) {
                Ok(()) => return true,
                Err(unsent) => unsent.0,
            },
            None => read,
        };
        let (thread, reads) = channel::<Read>();
        let spawned = thread::Builder::new()
            .name("look".into())
            .spawn(move || reads.into_iter().for_each(|read| read()));
        let sent = spawned.is_ok() && thread.send(read).is_ok();
        self.thread = sent.then_some(thread);
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_testkit::holder::Holder;

    /// Nobody's process: its tenant is one of its own.
    const NOBODY: u32 = u32::MAX;

    /// However busy the machine is.
    fn short_timeout() -> ReadTimeout {
        ReadTimeout {
            limit: Duration::from_secs(60),
            ..ReadTimeout::with(Scope::All)
        }
    }

    #[test]
    fn whoever_holds_up_a_read_is_not_read_until_it_lets_go() {
        let mut read_timeout = short_timeout();
        let me = std::process::id();
        assert_eq!(read_timeout.read(me, || 7), Ok(7));
        let (release, held) = channel::<()>();
        let waits = move || held.recv().is_err();
        read_timeout.limit = Duration::from_millis(50);
        assert_eq!(read_timeout.read(NOBODY, waits), Err(HeldUp));
        read_timeout.limit = short_timeout().limit;
        for _ in 0..100 {
            assert_eq!(read_timeout.holder(&[me, NOBODY]), Some(NOBODY));
            assert_eq!(read_timeout.holder(&[me]), None);
            let never = || panic!("read all the same");
            assert_eq!(read_timeout.read::<()>(NOBODY, never), Err(HeldUp));
            assert_eq!(
                read_timeout.read(NOBODY - 1, || 8),
                Ok(8),
                "others are read"
            );
        }
        drop(release);
        for _ in 0..1_000 {
            if read_timeout.read(NOBODY, || 9) == Ok(9) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it let go");
    }

    /// No probe is set or taken away while there is one that maps the file.
    /// This one maps no runtime: a test of more than the answer could keep the
    /// machine from forking.
    #[test]
    fn who_holds_the_lock_of_its_memory_map_is_found() {
        let Some(holder) = Holder::start() else {
            return;
        };
        let (me, pid) = (std::process::id(), holder.pid);
        let mut read_timeout = ReadTimeout {
            limit: Duration::from_secs(2),
            ..ReadTimeout::with(Scope::All)
        };
        assert_eq!(read_timeout.holder(&[me, pid]), Some(pid));
        drop(holder);
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while read_timeout.holder(&[me, pid]).is_some() {
            assert!(std::time::Instant::now() < end, "it has let go");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn threads_that_are_held_up_are_bounded() {
        let me = std::process::id();
        let mut read_timeout = short_timeout();
        let life = Arc::new(());
        for _ in 0..LIMITS.of_tenant {
            let tenant = Tenant::of(NOBODY);
            read_timeout
                .held
                .add(NOBODY - 1, tenant, Arc::downgrade(&life));
        }
        assert_eq!(
            read_timeout.read(NOBODY, || 1),
            Err(HeldUp),
            "its tenant's share"
        );
        assert_eq!(read_timeout.read(me, || 2), Ok(2), "another tenant");
        drop(life);
        assert_eq!(read_timeout.read(me, || 4), Ok(4));
        assert_eq!(read_timeout.read(NOBODY, || 5), Ok(5));
    }
}
