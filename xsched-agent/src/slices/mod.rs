//! Time slices by class: the lever that needs nothing in a process.
//!
//! One thread looks which processes have work on which device, asks the
//! policy what their slices should be, and has the driver set them. It touches
//! what has the driver's own slice or one of the policy's, so that a slice
//! which a program or another tool has chosen stays, and what an agent before
//! this one has set is taken over. At its end it gives back what it set; after
//! a kill the slices stay until the next agent comes, which harms nobody: what
//! others leave of a device's time is still had by everybody.

mod table;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use xsched_common::api::{EventKind, GateRow, GateState, ProcessRow, SharingMode, Snapshot};
use xsched_common::units::{Class, PciAddress};
use xsched_host::clock;
use xsched_host::platform::slices::{Group, SliceDriver};
use xsched_host::process::ProcessId;
use xsched_host::readers::Tenant;
use xsched_policy::{Activity, Bounded, Override, Slice, SliceChoice, SliceUser, slices};

pub use table::SliceTable;

use crate::attr::AttrTable;
use crate::control::{Journal, Rate};
use crate::events::{Event, EventLog};
use watched::{Gated, Outcome, Watched};

/// Time between two decisions.
const TICK: Duration = Duration::from_millis(500);

/// What the looks of one tick may take: a look at one process takes 10 ms.
const LOOKS: Duration = Duration::from_millis(100);

/// And those at one user's processes, and the setting of their slices: with
/// handles of its own choice a process can make a look at it as long.
const OF_USER: Duration = Duration::from_millis(40);

/// Launches past a gate beyond this part of all are not bounded by it.
const MOST_PAST_GATE: f64 = 0.01;

/// What giving the slices back may take at the end.
const GIVING_BACK: Duration = Duration::from_secs(1);

/// What a stop waits for in all: the agent's watchdog ends a stop of 3 s.
const LONGEST_STOP: Duration = Duration::from_millis(1500);

/// Events about one user's processes.
const TOLD: Rate = Rate {
    interval: xsched_common::units::Nanos::from_secs(5),
    burst: 32,
};

/// Where the newest picture of all processes is.
pub type Pictures = Box<dyn Fn() -> Arc<Snapshot> + Send>;

/// Processes at work with groups of their own, and where.
pub type InTurns = HashSet<(ProcessId, PciAddress)>;

/// What the thread works with.
pub struct Parts {
    /// Which processes there are.
    pub pictures: Pictures,
    /// Their attributes.
    pub attr: Arc<AttrTable>,
    /// Where the outcome goes.
    pub table: SliceTable,
    /// Where changes are noted.
    pub events: EventLog,
    /// Told to whose work on which devices the driver turns by itself, whenever
    /// that changes.
    pub take_turns: Box<dyn Fn(InTurns) + Send>,
}

/// The thread at work.
pub struct Slices {
    stop: Sender<()>,
    is_stopped: Arc<AtomicBool>,
    /// Says nothing, and breaks when the thread ends.
    ended: Receiver<()>,
}

impl Slices {
    /// Starts it.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn start(driver: Arc<dyn SliceDriver>, parts: Parts) -> std::io::Result<Slices> {
        let (stop, stopped) = channel();
        let (end, ended) = channel::<()>();
        let keeper = Keeper::new(driver, parts);
        let is_stopped = keeper.is_stopped.clone();
        thread::Builder::new()
            .name("slices".into())
            .spawn(move || {
                keeper.run(&stopped);
                drop(end);
            })?;
        Ok(Slices {
            stop,
            is_stopped,
            ended,
        })
    }
}

impl Drop for Slices {
    /// Gives back what was set; a driver that does not answer is not waited
    /// for.
    fn drop(&mut self) {
        self.is_stopped.store(true, Relaxed);
        let _ = self.stop.send(());
        if self.ended.recv_timeout(LONGEST_STOP) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("not all time slices were given back: the driver takes too long");
        }
    }
}

struct Keeper {
    driver: Arc<dyn SliceDriver>,
    parts: Parts,
    watched: HashMap<ProcessId, Watched>,
    told: Journal,
    /// As last told.
    in_turns: InTurns,
    /// Looks so far, and the last one at each user's processes.
    looks: u64,
    looked: HashMap<Tenant, u64>,
    is_stopped: Arc<AtomicBool>,
}

impl Keeper {
    fn new(driver: Arc<dyn SliceDriver>, parts: Parts) -> Keeper {
        parts.table.driver(&*driver);
        Keeper {
            driver,
            parts,
            watched: HashMap::new(),
            told: Journal::new(TOLD),
            in_turns: InTurns::new(),
            looks: 0,
            looked: HashMap::new(),
            is_stopped: Arc::default(),
        }
    }

    fn run(mut self, stopped: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
            self.tick(Instant::now());
        }
        self.give_back(Instant::now() + GIVING_BACK);
    }

    fn tick(&mut self, now: Instant) {
        let picture = (self.parts.pictures)();
        let mut there = HashSet::new();
        for row in &picture.processes {
            let id = ProcessId {
                pid: row.pid,
                start_time: row.start_time,
            };
            there.insert(id);
            // Who is known stays so, whatever it says of itself later.
            let is_its = row.platform == Some(self.driver.platform());
            let watched = match self.watched.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) if is_its => {
                    let tenant = Tenant::of_user(row.uid, row.pid);
                    place.insert(Watched::new(row.uid, whole(tenant), now))
                }
                Entry::Vacant(_) => continue,
            };
            watched.classes = classes(row);
            let activity = match row.launches_per_s > 0.0 {
                true => Activity::AtWork,
                false => Activity::Idle,
            };
            watched.note(activity, gated(row, &picture), now);
        }
        self.watched.retain(|id, _| there.contains(id));
        self.look(now);
        let in_turns = self.in_turns();
        if in_turns != self.in_turns {
            (self.parts.take_turns)(in_turns.clone());
            self.in_turns = in_turns;
        }
        let mut of_users: HashMap<Tenant, Duration> = HashMap::new();
        for (id, group, slice) in self.decided() {
            if self.is_stopped.load(Relaxed) {
                return;
            }
            let Some(tenant) = self.watched.get(&id).map(|watched| watched.tenant.clone()) else {
                continue;
            };
            // The rest in the next tick.
            let of_user = of_users.entry(tenant).or_default();
            if *of_user < OF_USER {
                let begins = Instant::now();
                self.bring(id, group, slice, now);
                *of_user += begins.elapsed();
            }
        }
        self.told.untold(clock::monotonic());
        self.parts.table.publish(&self.watched);
    }

    /// Looks at those that are due: the users in turn, whose processes were not
    /// looked at for longest first, and of each the longest due. Who does not
    /// fit into this tick has its turn in the next.
    fn look(&mut self, now: Instant) {
        let mut due: Vec<(Instant, ProcessId)> = self
            .watched
            .iter()
            .map(|(id, watched)| (watched.due(), *id))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_by_key(|(at, id)| (*at, id.start_time, id.pid));
        let there: HashSet<&Tenant> = self.watched.values().map(|one| &one.tenant).collect();
        self.looked.retain(|tenant, _| there.contains(tenant));
        let mut users: Vec<User> = Vec::new();
        let mut places: HashMap<&Tenant, usize> = HashMap::new();
        for (_, id) in due {
            let Some(tenant) = self.watched.get(&id).map(|watched| &watched.tenant) else {
                continue;
            };
            let at = *places.entry(tenant).or_insert(users.len());
            if at == users.len() {
                users.push(User {
                    last: self.looked.get(tenant).copied(),
                    due: VecDeque::new(),
                    spent: Duration::ZERO,
                });
            }
            users[at].due.push_back(id);
        }
        drop(places);
        let began = Instant::now();
        while let Some((user, id)) = next_look(&mut users) {
            if began.elapsed() >= LOOKS || self.is_stopped.load(Relaxed) {
                break;
            }
            let Some(watched) = self.watched.get_mut(&id) else {
                continue;
            };
            let begins = Instant::now();
            watched.look(&self.driver, id, now);
            user.spent += begins.elapsed();
            self.looks += 1;
            user.last = Some(self.looks);
            self.looked.insert(watched.tenant.clone(), self.looks);
        }
        // Children share their parent's session until they run another
        // program: it is the eldest's.
        let mut owners: HashMap<u32, ProcessId> = HashMap::new();
        for (id, watched) in &self.watched {
            for client in watched.clients() {
                let owner = owners.entry(client).or_insert(*id);
                if (id.start_time, id.pid) < (owner.start_time, owner.pid) {
                    *owner = *id;
                }
            }
        }
        for (id, watched) in &mut self.watched {
            watched.keep_own(|client| owners.get(&client) == Some(id));
        }
    }

    /// Those with groups of their own that have launched of late. The clients of
    /// a server that shares a device (MPS) have none: theirs are the server's,
    /// which launches nothing that is seen.
    fn in_turns(&self) -> InTurns {
        self.watched
            .iter()
            .filter(|(_, watched)| watched.activity == Activity::AtWork)
            .flat_map(|(id, watched)| watched.devices().into_iter().map(|device| (*id, device)))
            .collect()
    }

    /// What each group that is the agent's to set should have.
    fn decided(&mut self) -> Vec<(ProcessId, Group, Slice)> {
        let mut devices: HashMap<PciAddress, Vec<(ProcessId, SliceUser)>> = HashMap::new();
        let mut unknown = HashSet::new();
        let now = clock::monotonic();
        for (id, watched) in &self.watched {
            let standing = self.parts.attr.standing(*id);
            if standing.is_none() {
                unknown.insert(*id);
            }
            let user = match standing {
                Some(standing) => {
                    let own = standing.attr.class;
                    let (lowest, highest) = watched.classes.unwrap_or((own, own));
                    SliceUser {
                        class: highest.max(own),
                        parts: match lowest.min(own) == highest.max(own) {
                            true => xsched_policy::Parts::Alike,
                            false => xsched_policy::Parts::Mixed,
                        },
                        hold: Override::in_force(standing.hold, now).map(|hold| hold.kind),
                        activity: watched.activity,
                        bounded: Bounded::ByNothing,
                        choice: standing.time_slices,
                    }
                }
                // Its rules were not evaluated yet.
                None => SliceUser {
                    class: Class::default(),
                    parts: xsched_policy::Parts::Alike,
                    hold: None,
                    activity: watched.activity,
                    bounded: Bounded::ByNothing,
                    choice: SliceChoice::Leave,
                },
            };
            for device in watched.devices() {
                let bounded = watched.bounded(device);
                let on_it = devices.entry(device).or_default();
                on_it.push((*id, SliceUser { bounded, ..user }));
            }
        }
        let mut decided = Vec::new();
        for (device, users) in devices {
            let (ids, users): (Vec<_>, Vec<_>) = users.into_iter().unzip();
            for (id, slice) in ids.into_iter().zip(slices(&users)) {
                if let Some(watched) = self.watched.get_mut(&id) {
                    watched.reasons.insert(device, slice);
                    let groups = match slice {
                        Slice::Left if unknown.contains(&id) => Vec::new(),
                        // Only what the agent has set goes back.
                        Slice::Left => watched.ours(),
                        _ => watched.settable(self.driver.default_slice()),
                    };
                    let on_it = groups.into_iter().filter(|group| group.device == device);
                    decided.extend(on_it.map(|group| (id, group, slice)));
                }
            }
        }
        decided
    }

    fn bring(&mut self, id: ProcessId, group: Group, slice: Slice, now: Instant) {
        let length = slice.length().unwrap_or(self.driver.default_slice());
        let Some(watched) = self.watched.get_mut(&id) else {
            return;
        };
        let about = match watched.bring(&self.driver, id, group, length, now) {
            Outcome::Nothing => return,
            Outcome::Set => {
                self.parts.table.changed();
                format!(
                    "has a time slice of {length} on {} now: {slice}",
                    group.device
                )
            }
            Outcome::Failed(why) => {
                self.parts.table.failed();
                format!("keeps its time slice on {}: {why}", group.device)
            }
        };
        if self.told.may_tell(watched.uid, clock::monotonic()) {
            let event = Event::new(EventKind::Changed, about).about(id.pid);
            self.parts.events.note(event);
        }
    }

    fn give_back(&mut self, until: Instant) {
        let default = self.driver.default_slice();
        for (id, watched) in &mut self.watched {
            for group in watched.ours() {
                if Instant::now() >= until {
                    return;
                }
                let _ = watched.bring(&self.driver, *id, group, default, Instant::now());
            }
        }
    }
}

/// One user, and which of his processes are due.
struct User {
    /// The last look at one of them.
    last: Option<u64>,
    due: VecDeque<ProcessId>,
    /// What the looks of this tick have taken.
    spent: Duration,
}

/// Whose turn it is: of those with time left, whoever's last look is longest ago.
fn next_look(users: &mut [User]) -> Option<(&mut User, ProcessId)> {
    let user = users
        .iter_mut()
        .filter(|user| user.spent < OF_USER && !user.due.is_empty())
        .min_by_key(|user| user.last)?;
    let id = user.due.pop_front()?;
    Some((user, id))
}

/// A user in all of his control groups; root's are told apart by theirs.
fn whole(tenant: Tenant) -> Tenant {
    match tenant.uid {
        0 | Tenant::NOBODY => tenant,
        uid => Tenant::known_by(uid),
    }
}

/// The lowest and the highest class of the class groups that have launched.
fn classes(row: &ProcessRow) -> Option<(Class, Class)> {
    let at_work = row.groups.iter().filter(|group| group.commands > 0);
    let classes = at_work.map(|group| group.class);
    Some((classes.clone().min()?, classes.max()?))
}

/// Where the gates of all parts of a process bound its work, and its longest
/// kernels there. Of whatever is on another device, goes past the gate or has
/// kernels of which nothing is known, that cannot be said.
fn gated(row: &ProcessRow, picture: &Snapshot) -> Option<Gated> {
    let device = row.device.as_ref()?;
    let shared = picture.devices.iter().find(|one| one.address == *device)?;
    let past = row.bypass_ratio.unwrap_or(0.0);
    // An open gate bounds nothing: nobody above has joined, or has a gate here.
    let holds = |gate: &Option<GateRow>| {
        let gate = gate.as_ref();
        gate.is_some_and(|gate| gate.state != GateState::Open)
    };
    if !holds(&row.gate) || shared.mode == SharingMode::Off || past > MOST_PAST_GATE {
        return None;
    }
    let mut kernels = row.kernel_ns?;
    for group in row.groups.iter().filter(|group| group.commands > 0) {
        if !holds(&group.gate) || group.device.as_ref() != Some(device) {
            return None;
        }
        kernels = kernels.max(group.kernel_ns?);
    }
    Some(Gated {
        device: device.clone(),
        kernels,
    })
}
