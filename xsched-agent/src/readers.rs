//! Threads that read what lies in a process's own memory, or its files.
//!
//! Such a read waits for as long as the process likes: for the lock of its
//! memory map, for pages that its own file system never delivers. So
//! processes are read apart by user and control group: whoever holds up a
//! reader waits alone, since nobody else's processes are behind it.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::process;
use crate::rules::Placement;

/// Threads at once; a tenant with more control groups waits for its own.
const MAX_READERS: usize = 64;
/// Reads that wait for one thread.
const QUEUE: usize = 512;
/// A thread without work ends.
const IDLE: Duration = Duration::from_secs(10);

/// Whose processes one thread reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tenant {
    pub uid: u32,
    pub cgroup: String,
}

impl Tenant {
    /// Whose process this is. The kernel itself keeps that: asking never
    /// waits.
    pub fn of(pid: u32) -> Tenant {
        let uid = process::uid(pid).unwrap_or(u32::MAX);
        match Placement::of(pid) {
            Ok(placement) => Tenant::at(uid, &placement),
            Err(_) => Tenant {
                uid,
                cgroup: String::new(),
            },
        }
    }

    /// A process of user `uid` there. A user who was handed a part of the
    /// control groups is one tenant, however many of them it makes and as how
    /// many subordinate users its processes run.
    pub fn at(uid: u32, placement: &Placement) -> Tenant {
        Tenant {
            uid: placement.owner().unwrap_or(uid),
            cgroup: placement.given().to_owned(),
        }
    }
}

/// No thread can take more now: ask again later.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// What such a thread does.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Readers {
    by_tenant: HashMap<Tenant, Reader>,
}

struct Reader {
    reads: SyncSender<Task>,
    alive: Weak<()>,
}

impl Readers {
    /// Has `read` done by the thread of `tenant`. Never waits.
    pub fn ask(
        &mut self,
        tenant: Tenant,
        read: impl FnOnce() + Send + 'static,
    ) -> Result<(), Busy> {
        self.give(tenant, Box::new(read)).map_err(|_| Busy)
    }

    /// The same; what cannot be taken now comes back.
    pub fn give(&mut self, tenant: Tenant, task: Task) -> Result<(), Task> {
        let task = match self.by_tenant.get(&tenant) {
            Some(reader) => match reader.reads.try_send(task) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(task)) => return Err(task),
                // It had nothing to do for a while.
                Err(TrySendError::Disconnected(task)) => task,
            },
            None => task,
        };
        self.by_tenant.remove(&tenant);
        if self.by_tenant.len() >= MAX_READERS {
            self.by_tenant
                .retain(|_, reader| reader.alive.strong_count() > 0);
        }
        if self.by_tenant.len() >= MAX_READERS {
            return Err(task);
        }
        let (reads, to_read) = sync_channel(QUEUE);
        let life = Arc::new(());
        let alive = Arc::downgrade(&life);
        let started = std::thread::Builder::new()
            .name("reader".into())
            .spawn(move || {
                read_all(&to_read);
                drop(life);
            });
        if started.is_err() {
            return Err(task);
        }
        let sent = reads.try_send(task);
        self.by_tenant.insert(tenant, Reader { reads, alive });
        sent.map_err(|unsent| match unsent {
            TrySendError::Full(task) | TrySendError::Disconnected(task) => task,
        })
    }
}

fn read_all(reads: &Receiver<Task>) {
    while let Ok(read) = reads.recv_timeout(IDLE) {
        read();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn tenant(uid: u32) -> Tenant {
        Tenant {
            uid,
            cgroup: "/".into(),
        }
    }

    #[test]
    fn whoever_holds_up_a_reader_waits_alone() {
        let (release, held) = channel::<()>();
        let (answers, heard) = channel();
        let mut readers = Readers::default();
        readers
            .ask(tenant(1000), move || {
                let _ = held.recv();
            })
            .expect("the first");
        let mut taken = 0;
        while readers.ask(tenant(1000), || {}).is_ok() {
            taken += 1;
            assert!(taken <= QUEUE, "bounded");
        }
        let other = readers.ask(tenant(1001), move || {
            let _ = answers.send("another tenant's");
        });
        assert_eq!(other, Ok(()));
        assert_eq!(heard.recv(), Ok("another tenant's"));
        drop(release);
    }

    #[test]
    fn whoever_makes_control_groups_is_one_tenant() {
        use crate::rules::Delegate;
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        let place = |rest: &str| Placement::known(manager, rest, Some(Delegate::User(1000)));
        let own = Tenant::at(1000, &place("/a.service"));
        assert_eq!(own, Tenant::at(1000, &place("/b.service")));
        assert_eq!(
            own,
            Tenant::at(100_000, &place("/box.scope")),
            "a subordinate user"
        );
        let service = Placement::known("/system.slice/x.service", "", None);
        assert_ne!(own, Tenant::at(1000, &service));
        assert_ne!(Tenant::at(1000, &service), Tenant::at(1001, &service));
    }

    #[test]
    fn a_process_has_a_tenant() {
        let own = Tenant::of(std::process::id());
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        assert_eq!(Tenant::of(u32::MAX).uid, u32::MAX, "nobody's");
    }
}
