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
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use xsched_common::api::{EventKind, Snapshot};
use xsched_common::units::PciAddress;
use xsched_host::clock;
use xsched_host::platform::slices::{Group, SliceDriver};
use xsched_host::process::ProcessId;
use xsched_policy::{Activity, Override, Slice, SliceChoice, SliceUser, slices};

pub use table::SliceTable;

use crate::attr::AttrTable;
use crate::control::{Journal, Rate};
use crate::events::{Event, EventLog};
use watched::{Outcome, Watched};

/// Time between two decisions.
const TICK: Duration = Duration::from_millis(500);

/// What the looks of one tick may take: a look at one process takes 10 ms.
const LOOKS: Duration = Duration::from_millis(100);

/// And those at one user's processes: with handles of its own choice a process
/// can make each look at it long.
const LOOKS_OF_USER: Duration = Duration::from_millis(40);

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
    /// Told on which devices the driver turns from one process to the next,
    /// whenever that changes.
    pub take_turns: Box<dyn Fn(BTreeSet<PciAddress>) + Send>,
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
    in_turns: BTreeSet<PciAddress>,
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
            in_turns: BTreeSet::new(),
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
                Entry::Vacant(place) if is_its => place.insert(Watched::new(row.uid, now)),
                Entry::Vacant(_) => continue,
            };
            let kernels = row.kernel_ns.filter(|_| row.gate.is_some());
            let activity = match row.launches_per_s > 0.0 {
                true => Activity::AtWork,
                false => Activity::Idle,
            };
            watched.note(activity, kernels, now);
        }
        self.watched.retain(|id, _| there.contains(id));
        self.look(now);
        let in_turns = self.in_turns();
        if in_turns != self.in_turns {
            (self.parts.take_turns)(in_turns.clone());
            self.in_turns = in_turns;
        }
        for (id, group, slice) in self.decided() {
            if self.is_stopped.load(Relaxed) {
                return;
            }
            self.bring(id, group, slice, now);
        }
        self.told.untold(clock::monotonic());
        self.parts.table.publish(&self.watched);
    }

    /// Looks at those whose turn it is, the longest due first; who does not
    /// fit into this tick has its turn in the next.
    fn look(&mut self, now: Instant) {
        let mut due: Vec<(Instant, ProcessId)> = self
            .watched
            .iter()
            .map(|(id, watched)| (watched.due(), *id))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_by_key(|(at, id)| (*at, id.start_time, id.pid));
        let began = Instant::now();
        let mut of_users: HashMap<u32, Duration> = HashMap::new();
        for (_, id) in due {
            if began.elapsed() >= LOOKS || self.is_stopped.load(Relaxed) {
                break;
            }
            let Some(watched) = self.watched.get_mut(&id) else {
                continue;
            };
            let of_user = of_users.entry(watched.uid).or_default();
            if *of_user < LOOKS_OF_USER {
                let begins = Instant::now();
                watched.look(&self.driver, id, now);
                *of_user += begins.elapsed();
            }
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

    /// Devices that turn between groups of several processes. The clients of a
    /// server that shares a device (MPS) have none: theirs is the server's.
    fn in_turns(&self) -> BTreeSet<PciAddress> {
        let mut once = BTreeSet::new();
        let mut several = BTreeSet::new();
        for device in self.watched.values().flat_map(Watched::devices) {
            if !once.insert(device) {
                several.insert(device);
            }
        }
        several
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
                Some(standing) => SliceUser {
                    class: standing.attr.class,
                    hold: Override::in_force(standing.hold, now).map(|hold| hold.kind),
                    activity: watched.activity,
                    bounded: watched.bounded,
                    choice: standing.time_slices,
                },
                // Its rules were not evaluated yet.
                None => SliceUser {
                    class: xsched_common::units::Class::default(),
                    hold: None,
                    activity: watched.activity,
                    bounded: watched.bounded,
                    choice: SliceChoice::Leave,
                },
            };
            for device in watched.devices() {
                devices.entry(device).or_default().push((*id, user));
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
