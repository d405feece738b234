//! Who finds a place: how many may wait at the door, join, and how often.
//!
//! Anybody may connect. Without bounds for each user, one of them could take
//! every place and all of the control thread's time.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;

use xsched_common::handshake::Part;
use xsched_common::units::Nanos;
use xsched_host::process::ProcessId;
use xsched_host::readers::Tenant;
use xsched_policy::ClientId;

use super::identity::PeerProcess;
use super::newcomers::Joiner;
use super::rate::{Meter, Rate};

/// Clients that can be joined at once: bounds descriptors and memory.
const MAX_CLIENTS: usize = 4096;

/// Of these, so many are kept for root and the agent's own user.
const KEPT_FOR_OURS: usize = 512;

/// Clients of one other user, its subordinate ids included.
const MAX_OF_USER: usize = 1024;

/// Times that one process can be joined at once: it has one shim, or a few
/// copies of it.
const MAX_OF_PROCESS: usize = 8;

/// How often one user's processes may join: a launcher may start a thousand
/// at once; a loop must not keep the control thread busy.
const JOINS: Rate = Rate {
    interval: Nanos::from_millis(2),
    burst: 2048,
};

/// Connections that have not said hello yet, of all users.
const MAX_GUESTS: usize = 128;

/// How long one may stay silent: a shim says hello at once.
const HELLO_TIMEOUT: Nanos = Nanos::from_secs(1);

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    #[error("the agent has {MAX_CLIENTS} clients, the most it takes")]
    Agent,
    #[error("user {0} has {MAX_OF_USER} clients, or the users have taken all places but root's")]
    User(u32),
    #[error("process {0} has joined {MAX_OF_PROCESS} times already")]
    Process(ProcessId),
    #[error("processes of user {0} join too often")]
    Pace(u32),
    #[error("threads of process {process} join as user {uid}, as whom it has not joined itself")]
    NoProcess { process: ProcessId, uid: u32 },
}

/// Counts what each user takes.
pub(super) struct Admission {
    agent_uid: u32,
    joins: HashMap<u32, Meter>,
}

impl Admission {
    /// For an agent that runs as `agent_uid`.
    pub fn new(agent_uid: u32) -> Admission {
        Admission {
            agent_uid,
            joins: HashMap::new(),
        }
    }

    /// Whether one more attempt of `uid` to join is heard at all; asked
    /// before anything that costs time.
    pub fn hear(&mut self, uid: u32, now: Nanos) -> Result<(), NoPlace> {
        if self.joins.entry(uid).or_default().take(&JOINS, now) {
            Ok(())
        } else {
            Err(NoPlace::Pace(uid))
        }
    }

    /// Whether `joiner` can join beside `clients`.
    pub fn place<'a>(
        &self,
        joiner: &Joiner,
        clients: impl Iterator<Item = &'a Joiner>,
    ) -> Result<(), NoPlace> {
        let is_ours = |tenant: &Tenant| tenant.uid == 0 || tenant.uid == self.agent_uid;
        let (mut all, mut of_users, mut of_tenant, mut of_process) = (0, 0, 0, 0);
        // The class of threads is a matter of their process, and of the user
        // who it was when it joined.
        let mut is_known = joiner.part == Part::Process;
        for other in clients {
            all += 1;
            of_users += usize::from(!is_ours(&other.tenant));
            of_tenant += usize::from(other.tenant == joiner.tenant);
            of_process += usize::from(other.process == joiner.process);
            is_known |= (other.process, other.uid, other.part)
                == (joiner.process, joiner.uid, Part::Process);
        }
        if !is_known {
            return Err(NoPlace::NoProcess {
                process: joiner.process,
                uid: joiner.uid,
            });
        }
        if all >= MAX_CLIENTS {
            return Err(NoPlace::Agent);
        }
        if of_process >= MAX_OF_PROCESS {
            return Err(NoPlace::Process(joiner.process));
        }
        let users_full = of_users >= MAX_CLIENTS - KEPT_FOR_OURS || of_tenant >= MAX_OF_USER;
        if !is_ours(&joiner.tenant) && users_full {
            return Err(NoPlace::User(joiner.uid));
        }
        Ok(())
    }

    /// Forgets users who have not joined lately.
    pub fn prune(&mut self, now: Nanos) {
        self.joins.retain(|_, meter| !meter.is_full(now));
    }
}

/// A connection that has not said hello.
pub(super) struct PendingConnection {
    pub connection: OwnedFd,
    pub peer_process: PeerProcess,
    pub since: Nanos,
}

/// Who waits at the door.
#[derive(Default)]
pub(super) struct PendingConnections {
    /// By number, which is by age.
    by_id: BTreeMap<ClientId, PendingConnection>,
}

impl PendingConnections {
    /// Takes one in. If there are too many, the oldest of the user with the
    /// most makes room and is returned.
    pub fn admit(&mut self, id: ClientId, pending: PendingConnection) -> Option<PendingConnection> {
        let crowded = self.by_id.len() >= MAX_GUESTS;
        let evicted = if crowded {
            let users = self
                .by_id
                .iter()
                .map(|(id, pending)| (*id, pending.peer_process.peer.uid));
            oldest_of_the_most(users).and_then(|id| self.by_id.remove(&id))
        } else {
            None
        };
        self.by_id.insert(id, pending);
        evicted
    }

    pub fn get(&self, id: ClientId) -> Option<&PendingConnection> {
        self.by_id.get(&id)
    }

    pub fn remove(&mut self, id: ClientId) -> Option<PendingConnection> {
        self.by_id.remove(&id)
    }

    /// Those that have been silent for too long, to be hung up on.
    pub fn prune(&mut self, now: Nanos) -> Vec<PendingConnection> {
        let silent = |_: &ClientId, pending: &mut PendingConnection| {
            now.since(pending.since) >= HELLO_TIMEOUT
        };
        let silent = self.by_id.extract_if(.., silent);
        silent.map(|(_, pending)| pending).collect()
    }
}

/// Of pending connections by age with their users.
fn oldest_of_the_most(pending: impl Iterator<Item = (ClientId, u32)>) -> Option<ClientId> {
    let mut by_user: HashMap<u32, (usize, ClientId)> = HashMap::new();
    for (id, uid) in pending {
        by_user.entry(uid).or_insert((0, id)).0 += 1;
    }
    by_user
        .into_values()
        .max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)))
        .map(|(_, oldest)| oldest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::handshake::{Origin, Wish};
    use xsched_common::units::Class;

    fn joiner(uid: u32, pid: u32) -> Joiner {
        Joiner {
            process: ProcessId { pid, start_time: 1 },
            uid,
            tenant: std::sync::Arc::new(Tenant::known_by(uid)),
            abi: xsched_common::ABI,
            part: Part::Process,
        }
    }

    #[test]
    fn no_user_takes_the_places_of_others_and_root_finds_one() {
        let admission = Admission::new(500);
        let full: Vec<_> = (0..MAX_OF_USER as u32)
            .map(|pid| joiner(1000, pid))
            .collect();
        let place = |uid, clients: &[Joiner]| admission.place(&joiner(uid, 9_999), clients.iter());
        assert_eq!(place(1000, &full), Err(NoPlace::User(1000)));
        assert_eq!(place(1001, &full), Ok(()));
        assert_eq!(place(0, &full), Ok(()));
        assert_eq!(place(500, &full), Ok(()));

        let many: Vec<_> = (0..(MAX_CLIENTS - KEPT_FOR_OURS) as u32)
            .map(|pid| joiner(1000 + pid, pid))
            .collect();
        assert_eq!(place(1, &many), Err(NoPlace::User(1)));
        assert_eq!(place(0, &many), Ok(()));

        let ours: Vec<_> = (0..MAX_CLIENTS as u32).map(|pid| joiner(0, pid)).collect();
        assert_eq!(place(0, &ours), Err(NoPlace::Agent));
        let copies = vec![joiner(0, 7); MAX_OF_PROCESS];
        let again = admission.place(&joiner(0, 7), copies.iter());
        assert_eq!(again, Err(NoPlace::Process(copies[0].process)));
        // One user's, as whichever of its subordinate ids.
        let mut subordinate = joiner(100_000, 9_999);
        subordinate.tenant = full[0].tenant.clone();
        let place = admission.place(&subordinate, full.iter());
        assert_eq!(place, Err(NoPlace::User(100_000)));
    }

    #[test]
    fn threads_join_with_their_process_and_as_its_user() {
        let admission = Admission::new(0);
        let group = |uid, pid| Joiner {
            part: Part::Group(Wish {
                class: Class::Low,
                origin: Origin::Hint,
            }),
            ..joiner(uid, pid)
        };
        let refused = |uid, pid| {
            let process = ProcessId { pid, start_time: 1 };
            Err(NoPlace::NoProcess { process, uid })
        };
        let place = |joiner: &Joiner, others: &[Joiner]| admission.place(joiner, others.iter());
        let joined = [joiner(1000, 7), joiner(1001, 8)];
        assert_eq!(place(&group(1000, 7), &joined), Ok(()));
        assert_eq!(place(&group(1000, 8), &joined), refused(1000, 8));
        assert_eq!(place(&group(0, 7), &joined), refused(0, 7), "nobody's");
        let threads = [group(1000, 9)];
        assert_eq!(place(&group(1000, 9), &threads), refused(1000, 9));
        assert_eq!(place(&joiner(0, 7), &joined), Ok(()));
    }

    #[test]
    fn joins_are_paced_by_user() {
        let mut admission = Admission::new(0);
        let now = Nanos::from_secs(1);
        let heard = (0..10_000).filter(|_| admission.hear(1000, now).is_ok());
        assert_eq!(heard.count(), JOINS.burst as usize);
        assert_eq!(admission.hear(1001, now), Ok(()));
        admission.prune(now);
        assert_eq!(admission.joins.len(), 2);
        admission.prune(now + JOINS.interval.times(u64::from(JOINS.burst)));
        assert!(admission.joins.is_empty());
    }

    #[test]
    fn the_most_numerous_make_room() {
        let oldest = |pending: &[(u64, u32)]| {
            let pending = pending.iter().map(|(id, uid)| (ClientId(*id), *uid));
            oldest_of_the_most(pending).map(|id| id.0)
        };
        let crowd = [(1, 1000), (2, 1001), (3, 1001), (4, 1000), (5, 1001)];
        assert_eq!(oldest(&crowd), Some(2));
        assert_eq!(oldest(&[(1, 1000), (2, 1001)]), Some(1));
        assert_eq!(oldest(&[]), None);
    }
}
