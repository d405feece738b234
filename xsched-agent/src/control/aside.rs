//! What may take as long as a client likes, done by threads apart: one for
//! each tenant, who waits for nobody but himself.
//!
//! Closing is such a thing. A message may carry descriptors, and whoever
//! drops the last reference to a socket with SO_LINGER waits for it; a file
//! may carry a million locks, which are looked through at every close. Reading
//! /proc/PID/stat is another: if the process ends meanwhile, the reader may be
//! the one that tears down its memory map (`mmput` in fs/proc/array.c), and
//! waits for the file systems that are mapped there.
//!
//! The control thread hands all that to one thread, the steward, which finds
//! out whose it is, gives it to that tenant's thread, and keeps what no thread
//! can take yet.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use xsched_host::readers::{Readers, Task, Tenant};

use super::clients::ClientShared;
use super::identity::PeerProcess;
use super::join;

/// Undone tasks of one tenant, beyond which nothing more is begun for it.
const MOST_OF_TENANT: usize = 1536;

/// Of all but root and the agent's user together. Each may hold a few
/// descriptors.
const MOST_IN_ALL: usize = 8192;

/// Packets that are taken from a connection before it is closed.
const MOST_UNREAD: usize = 64;

/// Between two tries to give what no thread could take: far less than the
/// 50 ms for which a program waits to be joined.
const RETRY: Duration = Duration::from_millis(5);

/// How long a client's pages are kept for whoever still looks at them.
const LAST_LOOKS: Duration = Duration::from_secs(10);

/// The control thread's way to the steward. No call waits.
pub(super) struct Aside {
    orders: Sender<Order>,
    /// Held by each task that is not done.
    undone: HashMap<Tenant, Arc<()>>,
    in_all: Arc<()>,
    own_uid: u32,
}

/// Held by a task until it is done.
type Undone = (Arc<()>, Arc<()>);

/// What is done about a peer process, now that it is known whose it is.
type Finding = Box<dyn FnOnce(&PeerProcess, Tenant) + Send>;

enum Order {
    Give(Tenant, Task),
    Identify(Undone, PeerProcess, Finding),
    Retire(Tenant, Arc<ClientShared>),
}

impl Aside {
    /// Starts the steward of an agent that runs as `own_uid`.
    pub fn start(own_uid: u32) -> io::Result<Aside> {
        let (orders, ordered) = channel();
        let mut steward = Steward::default();
        std::thread::Builder::new()
            .name("steward".into())
            .spawn(move || steward.run(&ordered))?;
        Ok(Aside {
            orders,
            undone: HashMap::new(),
            in_all: Arc::default(),
            own_uid,
        })
    }

    /// Has `task` done by the tenant's thread, some time, after those that it
    /// was given before.
    pub fn give(&mut self, tenant: &Tenant, task: impl FnOnce() + Send + 'static) {
        let undone = self.count(tenant);
        let counted = Box::new(move || {
            let _undone = undone;
            task();
        });
        // Gone only with the process.
        let _ = self.orders.send(Order::Give(tenant.clone(), counted));
    }

    /// The same for what the agent does for itself.
    pub fn give_own(&mut self, task: impl FnOnce() + Send + 'static) {
        let own = Tenant {
            uid: self.own_uid,
            cgroup: "(the agent's own)".to_owned(),
        };
        self.give(&own, task);
    }

    /// Finds out whose process `peer_process` is, and has `task` done by that
    /// tenant's thread. Where that is too far behind, it is not done at all.
    pub fn identify(
        &mut self,
        peer_process: PeerProcess,
        task: impl FnOnce(&PeerProcess, Tenant) + Send + 'static,
    ) {
        let undone = self.count(&Tenant::known_by(peer_process.peer.uid));
        let order = Order::Identify(undone, peer_process, Box::new(task));
        let _ = self.orders.send(order);
    }

    /// Closes and unmaps.
    pub fn drop(&mut self, tenant: &Tenant, what: impl Send + 'static) {
        self.give(tenant, move || drop(what));
    }

    /// Unmaps a client's pages once nobody else looks at them: whoever lets go
    /// of them last has to unmap them.
    pub fn retire(&mut self, tenant: &Tenant, client: Arc<ClientShared>) {
        let _ = self.orders.send(Order::Retire(tenant.clone(), client));
    }

    /// Closes a connection, once what its peer has said is taken: one that is
    /// closed unread resets the connection, and the peer may miss the answer.
    pub fn hang_up(&mut self, tenant: &Tenant, connection: OwnedFd) {
        if join::is_plain(&connection) {
            return take_leave(&connection);
        }
        self.give(tenant, move || take_leave(&connection));
    }

    /// Closes connections that nobody answers.
    pub fn close(&mut self, tenant: &Tenant, connections: Vec<OwnedFd>) {
        let (plain, others): (Vec<_>, _) = connections.into_iter().partition(join::is_plain);
        drop(plain);
        if !others.is_empty() {
            self.drop(tenant, others);
        }
    }

    /// Whether a tenant's thread is so far behind that nothing more should be
    /// begun for it.
    pub fn is_behind(&self, tenant: &Tenant) -> bool {
        let undone = self.undone.get(tenant).map_or(0, count);
        undone >= MOST_OF_TENANT
    }

    /// Whether so much is undone that nothing more should be begun but for root
    /// and the agent's user.
    pub fn is_crowded(&self) -> bool {
        count(&self.in_all) >= MOST_IN_ALL
    }

    /// Whether nothing more can be kept, whosever it is.
    pub fn is_full(&self) -> bool {
        count(&self.in_all) >= 2 * MOST_IN_ALL
    }

    /// Forgets tenants for whom nothing is to be done.
    pub fn prune(&mut self) {
        self.undone.retain(|_, undone| count(undone) > 0);
    }

    fn count(&mut self, tenant: &Tenant) -> Undone {
        let undone = match self.undone.get(tenant) {
            Some(undone) => Arc::clone(undone),
            None => Arc::clone(self.undone.entry(tenant.clone()).or_default()),
        };
        (undone, Arc::clone(&self.in_all))
    }
}

fn count(undone: &Arc<()>) -> usize {
    Arc::strong_count(undone) - 1
}

fn take_leave(connection: &OwnedFd) {
    for _ in 0..MOST_UNREAD {
        let mut nothing = [0; 1];
        match rustix::net::recv(connection, &mut nothing[..], RecvFlags::DONTWAIT) {
            Ok((_, len)) if len > 0 => {}
            Ok(_) | Err(_) => break,
        }
    }
}

#[derive(Default)]
struct Steward {
    lanes: Readers,
    /// What no thread could take yet, in order.
    waiting: HashMap<Tenant, VecDeque<Task>>,
    retired: Vec<(Tenant, Arc<ClientShared>, Instant)>,
}

impl Steward {
    fn run(&mut self, orders: &Receiver<Order>) {
        let mut retry = Instant::now() + RETRY;
        loop {
            let order = match self.waiting.is_empty() && self.retired.is_empty() {
                true => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => orders.recv_timeout(retry.saturating_duration_since(Instant::now())),
            };
            match order {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= retry {
                retry = Instant::now() + RETRY;
                self.unmap();
                self.retry();
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Give(tenant, task) => self.give(tenant, task),
            Order::Identify(undone, peer_process, task) => {
                let tenant = peer_process.tenant();
                let waiting = self.waiting.get(&tenant).map_or(0, VecDeque::len);
                if waiting >= MOST_OF_TENANT {
                    // Not by that thread, or what it never gets to do would
                    // fill the places of all. The connection is closed in time.
                    let by = Tenant::known_by(peer_process.peer.uid);
                    let close = move || drop((undone, peer_process, task));
                    return self.give(by, Box::new(close));
                }
                let whose = tenant.clone();
                let counted = move || {
                    let _undone = undone;
                    task(&peer_process, whose);
                };
                self.give(tenant, Box::new(counted));
            }
            Order::Retire(tenant, client) => self.retired.push((tenant, client, Instant::now())),
        }
    }

    fn give(&mut self, tenant: Tenant, task: Task) {
        if let Some(waiting) = self.waiting.get_mut(&tenant) {
            return waiting.push_back(task);
        }
        if let Err(task) = self.lanes.give(tenant.clone(), task) {
            self.waiting.entry(tenant).or_default().push_back(task);
        }
    }

    fn retry(&mut self) {
        let lanes = &mut self.lanes;
        self.waiting.retain(|tenant, waiting| {
            while let Some(task) = waiting.pop_front() {
                if let Err(task) = lanes.give(tenant.clone(), task) {
                    waiting.push_front(task);
                    break;
                }
            }
            !waiting.is_empty()
        });
    }

    /// Has the pages unmapped that nobody else looks at.
    fn unmap(&mut self) {
        let done = |(_, client, since): &mut (_, Arc<ClientShared>, Instant)| {
            Arc::strong_count(client) == 1 || since.elapsed() >= LAST_LOOKS
        };
        let done: Vec<_> = self.retired.extract_if(.., done).collect();
        for (tenant, client, _) in done {
            self.give(tenant, Box::new(move || drop(client)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::newcomers::Newcomer;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use xsched_host::process::ProcessId;
    use xsched_policy::ClientId;

    fn user(uid: u32) -> Tenant {
        Tenant::known_by(uid)
    }

    fn until(what: &str, mut is: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn whoever_holds_up_its_thread_waits_alone_and_nothing_is_lost() {
        let mut aside = Aside::start(0).expect("a thread");
        let (release, held) = channel::<()>();
        let done = Arc::new(AtomicUsize::new(0));
        aside.give(&user(1000), move || {
            let _ = held.recv();
        });
        let many = 3 * MOST_OF_TENANT;
        for n in 0..many {
            let done = done.clone();
            aside.give(&user(1000), move || {
                assert_eq!(done.fetch_add(1, Relaxed), n, "in order");
            });
        }
        assert!(aside.is_behind(&user(1000)) && !aside.is_behind(&user(1001)));
        let (tell, told) = channel();
        aside.give(&user(1001), move || {
            let _ = tell.send(());
        });
        assert_eq!(told.recv(), Ok(()), "another user's");
        assert_eq!(done.load(Relaxed), 0);
        drop(release);
        until("all done", || done.load(Relaxed) == many);
        until("counted", || !aside.is_behind(&user(1000)));
        aside.prune();
        until("forgotten", || {
            aside.prune();
            aside.undone.is_empty()
        });
    }

    /// With many users nobody keeps an agent from hearing root.
    #[test]
    fn all_together_are_bounded() {
        let mut aside = Aside::start(0).expect("a thread");
        let (release, held) = channel::<()>();
        aside.give(&user(1000), move || {
            let _ = held.recv();
        });
        for n in 0..MOST_IN_ALL {
            aside.give(&user(1000), move || assert!(n < MOST_IN_ALL));
        }
        assert!(aside.is_crowded() && !aside.is_full());
        assert!(!aside.is_behind(&user(1001)), "he is not to blame");
        drop(release);
        until("done", || !aside.is_crowded());
    }

    /// On a kernel that lets nobody send descriptors a flood needs no thread.
    #[test]
    fn plain_connections_are_closed_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("door");
        let listener = join::listen(&path).expect("listens");
        use std::os::fd::AsFd as _;
        if !join::refuse_descriptors(listener.as_fd()) {
            return eprintln!("LEFT OUT: before Linux 6.16");
        }
        let mut aside = Aside::start(0).expect("a thread");
        let (_release, held) = channel::<()>();
        aside.give(&user(1000), move || {
            let _ = held.recv();
        });
        let before = aside.undone[&user(1000)].clone();
        for _ in 0..100 {
            let socket = rustix::net::socket(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::SEQPACKET,
                None,
            )
            .expect("a socket");
            let address = rustix::net::SocketAddrUnix::new(&path).expect("fits");
            rustix::net::connect(&socket, &address).expect("connects");
            let connection = join::accept(listener.as_fd()).expect("accepts");
            aside.hang_up(&user(1000), connection.expect("is there"));
            let end = rustix::net::recv(&socket, &mut [0; 1][..], RecvFlags::DONTWAIT);
            assert_eq!(end.map(|(_, len)| len), Ok(0), "closed");
        }
        assert_eq!(count(&before), 2, "this one and the task");
    }

    #[test]
    fn a_client_s_pages_are_unmapped_by_its_tenant_s_thread() {
        let mut aside = Aside::start(0).expect("a thread");
        let process = ProcessId {
            pid: 1,
            start_time: 1,
        };
        let (client, _) = Newcomer::settled(ClientId(1), process).expect("memfds");
        let (looks, weak) = (client.shared.clone(), Arc::downgrade(&client.shared));
        aside.retire(&user(1000), client.shared);
        std::thread::sleep(4 * RETRY);
        assert_eq!(Arc::strong_count(&looks), 2, "kept while it is looked at");
        drop(looks);
        until("unmapped", || weak.upgrade().is_none());
    }
}
