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

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xsched_common::api::{EventKind, Snapshot};
use xsched_host::clock;
use xsched_host::platform::PciAddress;
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

/// What giving the slices back may take at the end.
const GIVING_BACK: Duration = Duration::from_secs(2);

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
}

/// The thread at work.
pub struct Slices {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Slices {
    /// Starts it.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn start(driver: Arc<dyn SliceDriver>, parts: Parts) -> std::io::Result<Slices> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new()
            .name("slices".into())
            .spawn(move || Keeper::new(driver, parts).run(&stopped))?;
        Ok(Slices {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Slices {
    /// Gives back what was set.
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Keeper {
    driver: Arc<dyn SliceDriver>,
    parts: Parts,
    watched: HashMap<ProcessId, Watched>,
    told: Journal,
}

impl Keeper {
    fn new(driver: Arc<dyn SliceDriver>, parts: Parts) -> Keeper {
        parts.table.driver(&*driver);
        Keeper {
            driver,
            parts,
            watched: HashMap::new(),
            told: Journal::new(TOLD),
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
        let mut users = HashMap::new();
        for row in &picture.processes {
            if row.platform == Some(self.driver.platform()) {
                let id = ProcessId {
                    pid: row.pid,
                    start_time: row.start_time,
                };
                let kernels = row.kernel_ns.filter(|_| row.gate.is_some());
                let activity = match row.launches_per_s > 0.0 {
                    true => Activity::AtWork,
                    false => Activity::Idle,
                };
                users.insert(id, (row.uid, activity, kernels));
            }
        }
        self.watched.retain(|id, _| users.contains_key(id));
        for (id, (uid, activity, kernels)) in users {
            let watched = self
                .watched
                .entry(id)
                .or_insert_with(|| Watched::new(uid, now));
            watched.note(activity, kernels, now);
            watched.look(&self.driver, id, now);
        }
        for (id, group, slice) in self.decided() {
            self.bring(id, group, slice, now);
        }
        self.parts.table.publish(&self.watched);
    }

    /// What each group that is the agent's to set should have.
    fn decided(&mut self) -> Vec<(ProcessId, Group, Slice)> {
        let mut devices: HashMap<PciAddress, Vec<(ProcessId, SliceUser)>> = HashMap::new();
        let now = clock::monotonic();
        for (id, watched) in &self.watched {
            let standing = self.parts.attr.standing(*id);
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
                    let groups = watched.settable(device, self.driver.default_slice());
                    decided.extend(groups.map(|group| (id, group, slice)));
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
            for group in watched.all_settable(default) {
                if Instant::now() >= until {
                    tracing::warn!(
                        "not all time slices were given back: the driver takes too long"
                    );
                    return;
                }
                let _ = watched.bring(&self.driver, *id, group, default, Instant::now());
            }
        }
    }
}
