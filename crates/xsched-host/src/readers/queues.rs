//! A thread for each tenant, for those that never wait for what is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::Tenant;
use super::held::Limits;

/// Threads at once, one for each tenant, and how many there are beside for
/// root and the agent's own user. Where users are not told apart by control
/// groups, one of them may have thousands of subordinate ids.
const THREADS: Limits = Limits {
    of_tenant: 1,
    of_cgroup: 32,
    of_all: 64,
};
const KEPT_FOR_OURS: usize = 4;
/// Reads that wait for one thread.
const QUEUE: usize = 512;
/// A thread without work ends after this time, once another tenant asks.
const IDLE: Duration = Duration::from_secs(10);

/// No thread can take more now: ask again later.
#[derive(Debug, PartialEq, Eq)]
pub struct Busy;

/// What such a thread does.
pub type Task = Box<dyn FnOnce() + Send>;

/// A thread for each tenant, up to a limit.
#[derive(Default)]
pub struct Readers {
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
        match tenant.is_ours() {
            // What others have left does as well.
            true => self.by_tenant.len() < THREADS.of_all + KEPT_FOR_OURS,
            false => !THREADS.is_full(self.by_tenant.keys(), tenant),
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
        assert_eq!(taken, THREADS.of_cgroup);
        assert!(hold(1001, "/user.slice/user-1001.slice"), "another's");
        let taken = (0..1_000).filter(|n| hold(5, &n.to_string())).count();
        assert_eq!(taken, THREADS.of_all - THREADS.of_cgroup - 1);
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
}
