//! Threads that read what lies in a process's own memory, or its files.
//!
//! Such a read waits for as long as the process likes: for the lock of its
//! memory map, for pages that its own file system never delivers. So
//! processes are read apart by user and control group: whoever holds up a
//! reader waits alone, since nobody else's processes are behind it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::process;
use crate::rules::{Delegate, Placement};

/// Threads at once for all tenants but root and the agent's own user, for whom
/// there are [`KEPT_FOR_OURS`] more.
const MAX_READERS: usize = 64;
const KEPT_FOR_OURS: usize = 4;
/// Of these, those of tenants of one control group: where users are not told
/// apart by control groups, one of them may have thousands of subordinate ids.
const MAX_OF_CGROUP: usize = 32;
/// Reads that wait for one thread.
const QUEUE: usize = 512;
/// A thread without work ends after this time, once another tenant asks.
const IDLE: Duration = Duration::from_secs(10);

/// Whose processes one thread reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tenant {
    /// [`Tenant::NOBODY`] where whoever is there can run as many users.
    pub uid: u32,
    pub cgroup: String,
}

impl Tenant {
    /// No single user.
    pub const NOBODY: u32 = u32::MAX;

    /// Whose process this is. The kernel itself keeps that: asking never
    /// waits for a lock of the process's own.
    pub fn of(pid: u32) -> Tenant {
        let uid = process::uid(pid).unwrap_or(Tenant::NOBODY);
        Tenant::of_user(uid, pid)
    }

    /// The same of a process that runs as user `uid`.
    pub fn of_user(uid: u32, pid: u32) -> Tenant {
        match Placement::of(pid) {
            Ok(placement) => Tenant::at(uid, &placement),
            Err(_) => Tenant::known_by(uid),
        }
    }

    /// A user of whose control group nothing is known.
    pub fn known_by(uid: u32) -> Tenant {
        Tenant {
            uid,
            cgroup: String::new(),
        }
    }

    /// A process of user `uid` there. Who logged in, or was handed a part of
    /// the control groups, is one tenant, however many of them it makes and as
    /// how many subordinate users its processes run; and so is a container. In
    /// a service that makes its own each user is one: a batch system runs the
    /// jobs of many.
    pub fn at(uid: u32, placement: &Placement) -> Tenant {
        if let Some((uid, slice)) = placement.user_slice() {
            let cgroup = slice.to_owned();
            return Tenant { uid, cgroup };
        }
        let uid = match placement.handed_to() {
            Some(Delegate::User(owner)) => *owner,
            Some(Delegate::Container) => Tenant::NOBODY,
            // Root there may be anybody's; one who is not is still a user.
            Some(Delegate::Service | Delegate::Others(_)) if uid == 0 => Tenant::NOBODY,
            Some(Delegate::Service | Delegate::Others(_) | Delegate::Unseen(_)) | None => uid,
        };
        Tenant {
            uid,
            cgroup: placement.given().to_owned(),
        }
    }

    /// Whether it is root or the agent's own user, for whom places are kept.
    pub fn is_ours(&self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
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
    /// Held by each task that is not done.
    undone: Arc<()>,
    last: Instant,
}

impl Reader {
    fn start() -> Option<Reader> {
        let (reads, to_read) = sync_channel::<Task>(QUEUE);
        let started = std::thread::Builder::new()
            .name("reader".into())
            .spawn(move || to_read.into_iter().for_each(|read| read()));
        started.ok()?;
        Some(Reader {
            reads,
            undone: Arc::default(),
            last: Instant::now(),
        })
    }

    /// In the order in which they come.
    fn give(&mut self, task: Task) -> Result<(), Task> {
        // The queue holds one less than the count: the one that is being done.
        if Arc::strong_count(&self.undone) > QUEUE {
            return Err(task);
        }
        let undone = Arc::clone(&self.undone);
        let counted = move || {
            let _undone = undone;
            task();
        };
        self.last = Instant::now();
        // Neither full, as counted, nor gone: it ends when `reads` does.
        let _ = self.reads.try_send(Box::new(counted));
        Ok(())
    }

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.undone) == 1
    }
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
        if let Some(reader) = self.by_tenant.get_mut(&tenant) {
            return reader.give(task);
        }
        self.by_tenant
            .retain(|_, reader| !reader.is_idle() || reader.last.elapsed() < IDLE);
        if !self.has_room(&tenant) {
            self.by_tenant.retain(|_, reader| !reader.is_idle());
        }
        if !self.has_room(&tenant) {
            return Err(task);
        }
        let Some(mut reader) = Reader::start() else {
            return Err(task);
        };
        let given = reader.give(task);
        self.by_tenant.insert(tenant, reader);
        given
    }

    fn has_room(&self, tenant: &Tenant) -> bool {
        let tenants = self.by_tenant.keys();
        let others = tenants.clone().filter(|other| !other.is_ours()).count();
        let ours = tenants.len() - others;
        let beside = tenants
            .filter(|other| other.cgroup == tenant.cgroup)
            .count();
        match tenant.is_ours() {
            // What others have left does as well.
            true => ours + others < MAX_READERS + KEPT_FOR_OURS,
            false => others < MAX_READERS && beside < MAX_OF_CGROUP,
        }
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
        // From a login session as well, into which newuidmap works.
        let session = "/user.slice/user-1000.slice/session-3.scope";
        let session = Placement::known(session, "", None);
        for uid in [1000, 100_000, 165_535] {
            assert_eq!(own, Tenant::at(uid, &session));
        }
        let made = Placement::known("/a.slice", "/user-1001.slice", Some(Delegate::User(1000)));
        assert_eq!(Tenant::at(1000, &made).uid, 1000, "not root's word");
        let container = Placement::known("/docker/x", "", Some(Delegate::Container));
        assert_eq!(Tenant::at(0, &container), Tenant::at(100_000, &container));
        assert!(!Tenant::at(0, &container).is_ours());
    }

    #[test]
    fn a_user_with_many_ids_takes_no_thread_of_others_or_of_root() {
        let (release, held) = channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let mut readers = Readers::default();
        let mut hold = |uid, cgroup: &str| {
            let held = held.clone();
            let cgroup = cgroup.to_owned();
            let asked = readers.ask(Tenant { uid, cgroup }, move || {
                let _ = held.lock().expect("none panics").recv();
            });
            asked.is_ok()
        };
        let taken = (0..1_000).filter(|n| hold(100_000 + n, "/cron")).count();
        assert_eq!(taken, MAX_OF_CGROUP);
        assert!(hold(1001, "/user.slice/user-1001.slice"), "another's");
        let taken = (0..1_000).filter(|n| hold(5, &n.to_string())).count();
        assert_eq!(taken, MAX_READERS - MAX_OF_CGROUP - 1);
        assert!(hold(0, "/"), "root's");
        drop(release);
    }

    /// No task is lost to a thread that ends, and each tenant's are done in
    /// order.
    #[test]
    fn tasks_are_done_in_order() {
        let (tell, told) = channel();
        let mut readers = Readers::default();
        for n in 0..300 {
            let tell = tell.clone();
            let task = move || tell.send(n).expect("heard");
            assert_eq!(readers.ask(tenant(1000), task), Ok(()));
        }
        drop(tell);
        assert!(told.into_iter().eq(0..300));
    }

    #[test]
    fn a_process_has_a_tenant() {
        let own = Tenant::of(std::process::id());
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        assert_eq!(Tenant::of(u32::MAX).uid, u32::MAX, "nobody's");
    }
}
