//! Control: joins shims, asks the policy, writes the control pages.
//!
//! One thread of its own, driven by epoll. It never blocks on a client, takes
//! no lock, and talks to the rest of the agent through channels only.

mod admission;
mod aside;
mod claim;
mod clients;
mod device;
mod door;
mod doorbells;
mod event_loop;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gate_times;
mod gates;
mod identity;
mod join;
mod journal;
mod lockout;
mod newcomers;
mod pages;
mod passthrough;
mod rate;
mod scheduling;
mod stats;
mod threads;
mod token;
mod waiting;
mod watchdog;

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, atomic::AtomicBool};
use std::thread::JoinHandle;

use xsched_common::handshake::Part;
use xsched_common::page::{QueuePriority, StatusPage};
use xsched_common::run_dir::RunDir;
use xsched_common::units::{Class, PciAddress};

pub use claim::ControlError;
pub use clients::{ClientShared, DeviceKey};
pub use gate_times::GateSpent;
pub use join::{Peer, peer, peer_groups, refuse_descriptors};
pub(crate) use journal::Journal;
pub use passthrough::{BadPassthrough, NameList, Passthrough};
pub(crate) use rate::{Meter, Rate};
pub use scheduling::Scheduling;
pub use stats::Stats;
pub use threads::ThreadClasses;
pub use watchdog::{Charge, Ending, Pulse};

use xsched_host::process::ProcessId;
use xsched_host::readers::Tenant;
use xsched_policy::{ClientId, Override, OverrideKind, SchedAttr, Settings, Sharing, SloVerdict};

use claim::{Claim, claim};
use identity::Unidentified;
use newcomers::Identified;
use pages::SharedPage;
use watchdog::Watchdog;

/// An order to the control thread.
pub(crate) enum Command {
    /// Gives joined processes their attributes.
    Settle {
        updates: Vec<AttrUpdate>,
        /// Called once they are in force.
        then: Box<dyn FnOnce() + Send>,
    },
    /// Shares devices by these settings from the next pass on.
    Configure(Settings),
    /// To the work of these processes there, and no others, the driver turns by
    /// itself.
    TakeTurns(HashSet<(ProcessId, PciAddress)>),
    /// Tells every client of these libraries that has none of its own.
    Passthrough(Passthrough),
    /// Whoever has said hello is identified, or cannot be, and whose it is.
    Identified(ClientId, Tenant, Result<Identified, Unidentified>),
    /// A newcomer's page is sealed, or cannot be.
    Sealed(
        ClientId,
        Arc<Tenant>,
        rustix::io::Result<SharedPage<StatusPage>>,
    ),
}

/// The attributes of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttrUpdate {
    /// Which; one that has not joined is not concerned.
    pub process: ProcessId,
    /// What it gets.
    pub attr: SchedAttr,
    /// A boost or suspension in place of the one before.
    pub hold: Option<Override>,
    /// In place of what every client is told.
    pub passthrough: Option<Arc<Passthrough>>,
    /// The line of the rule that gives the weight, if one does: whoever it
    /// matches of a user shares that weight.
    pub weight_rule: Option<usize>,
    /// What its hardware queues get, where its runtime has such a thing.
    pub queue_priority: QueuePriority,
    /// Which of its threads and streams have classes of their own.
    pub threads: Arc<ThreadClasses>,
    /// None of them gets a higher one.
    pub highest: Option<Class>,
}

impl AttrUpdate {
    /// What a part of the process gets.
    fn of(&self, part: Part) -> (SchedAttr, Option<Override>) {
        let Part::Group(wish) = part else {
            return (self.attr, self.hold);
        };
        let own = self.attr.class;
        let granted = self.threads.granted(own, wish);
        let class = self.highest.map_or(granted, |highest| granted.min(highest));
        let attr = SchedAttr {
            class,
            // The process's target is not that of what it has put aside.
            slo_p99: self.attr.slo_p99.filter(|_| class >= own),
            ..self.attr
        };
        let hold = self.hold.filter(|hold| match hold.kind {
            OverrideKind::Boosted => class >= own,
            OverrideKind::Suspended => true,
        });
        (attr, hold)
    }
}

/// What others must know about clients.
#[derive(Clone)]
pub enum RosterEvent {
    /// A client has joined.
    Joined(Arc<ClientShared>),
    /// A client is gone.
    Left(ClientId),
    /// How a device is shared from now on.
    Shared(DeviceKey, Sharing),
    /// How a client's latency target goes.
    Target(ClientId, SloVerdict),
}

/// What the control thread starts with.
pub struct Setup {
    /// What the policy goes by.
    pub settings: Settings,
    /// Told to every client.
    pub passthrough: Passthrough,
    /// A listening joining socket that somebody else made and keeps; without,
    /// one is made in the directory.
    pub listener: Option<OwnedFd>,
    /// How the thread competes for a processor.
    pub scheduling: Scheduling,
    /// For whoever looks after the thread.
    pub charge: Charge,
    /// Called on the control thread for every client that comes or goes, and
    /// for what changes of devices and targets: must not wait.
    pub roster: Box<dyn Fn(RosterEvent) + Send>,
}

/// The running control thread.
pub struct Control {
    handle: ControlHandle,
    stats: Arc<Stats>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Goes off duty once the thread has ended.
    _watchdog: Watchdog,
    /// To be removed at the end, if it is ours.
    socket: Option<PathBuf>,
    /// The last to go: until then no other agent makes sockets here.
    _claim: Claim,
}

/// What has joined, with nothing behind it, and its page as its process would
/// have it.
#[cfg(test)]
pub(crate) fn stand_in(
    id: u64,
    process: ProcessId,
    part: Part,
    class: Class,
) -> (Arc<ClientShared>, &'static StatusPage) {
    let settled = newcomers::Newcomer::settled_part(ClientId(id), process, part);
    let (client, page) = settled.expect("memfds");
    client.shared.set_attr(SchedAttr::of_class(class));
    (client.shared, page)
}

/// A way to give the control thread orders.
#[derive(Clone)]
pub struct ControlHandle {
    commands: Sender<Command>,
    doorbell: Arc<OwnedFd>,
}

impl ControlHandle {
    /// Gives joined processes their attributes; `then` runs on the control thread
    /// once they are in force.
    pub fn apply(&self, updates: Vec<AttrUpdate>, then: impl FnOnce() + Send + 'static) {
        let then = Box::new(then);
        // A closed channel means that the agent stops: nobody to tell.
        let _ = self.commands.send(Command::Settle { updates, then });
        self.ring();
    }

    /// Tells every client that has no list of its own of these libraries in
    /// place of those before.
    pub fn pass_through(&self, passthrough: Passthrough) {
        // As above.
        let _ = self.commands.send(Command::Passthrough(passthrough));
        self.ring();
    }

    /// Shares devices by these settings from the next pass on: all of them
    /// at once.
    pub fn configure(&self, settings: Settings) {
        // As above: nobody to tell.
        let _ = self.commands.send(Command::Configure(settings));
        self.ring();
    }

    /// Says to whose work on which devices the driver turns by itself. Where two
    /// of these have joined they take turns; work of all others may run side by
    /// side.
    pub fn take_turns(&self, processes: HashSet<(ProcessId, PciAddress)>) {
        // As above: nobody to tell.
        let _ = self.commands.send(Command::TakeTurns(processes));
        self.ring();
    }

    fn identified(&self, id: ClientId, tenant: Tenant, found: Result<Identified, Unidentified>) {
        // As above.
        let _ = self.commands.send(Command::Identified(id, tenant, found));
        self.ring();
    }

    fn sealed(
        &self,
        id: ClientId,
        tenant: Arc<Tenant>,
        page: rustix::io::Result<SharedPage<StatusPage>>,
    ) {
        // As above.
        let _ = self.commands.send(Command::Sealed(id, tenant, page));
        self.ring();
    }

    fn ring(&self) {
        let _ = rustix::io::write(&*self.doorbell, &1u64.to_ne_bytes());
    }
}

impl Control {
    /// Claims `run_dir`, listens there unless `setup` brings a socket, and
    /// starts the thread.
    ///
    /// # Errors
    /// Another agent is there, or the directory or the kernel does not allow it.
    pub fn start(run_dir: &RunDir, setup: Setup) -> Result<Control, ControlError> {
        let Setup {
            settings,
            passthrough,
            listener,
            scheduling,
            charge,
            roster,
        } = setup;
        let claim = claim(run_dir)?;
        let (listener, socket) = match listener {
            Some(listener) => {
                rustix::io::ioctl_fionbio(&listener, true).map_err(io::Error::from)?;
                (listener, None)
            }
            None => {
                let path = run_dir.join_socket();
                let listener = join::listen(&path).map_err(|source| ControlError::Unservable {
                    path: path.clone(),
                    source,
                })?;
                (listener, Some(path))
            }
        };
        join::refuse_descriptors(listener.as_fd());
        let door = join::path_of(&listener).map(lockout::DoorFile);
        if let Some(door) = &door {
            // What an agent that was killed has left.
            let _ = door.keep_away(&[]);
        }
        let (commands, orders) = channel();
        let doorbell = Arc::new(join::eventfd()?);
        let stop = Arc::new(AtomicBool::new(false));
        let stats = Arc::new(Stats::default());
        let handle = ControlHandle { commands, doorbell };
        let watchdog = Watchdog::start(stats.clone(), charge)?;
        let feed = watchdog.feed();
        let roster = Box::new(move |event| {
            feed(&event);
            roster(event);
        });
        let event_loop = event_loop::EventLoop::new(event_loop::Parts {
            listener,
            door,
            handle: handle.clone(),
            orders,
            roster,
            rules: gates::Rules {
                settings,
                in_turns: HashSet::new(),
            },
            passthrough,
            scheduling,
            stats: stats.clone(),
            stop: stop.clone(),
        })?;
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || event_loop.run())?;
        Ok(Control {
            handle,
            stats,
            stop,
            thread: Some(thread),
            _watchdog: watchdog,
            socket,
            _claim: claim,
        })
    }

    /// How the thread is doing.
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// For the parts that give orders.
    pub fn handle(&self) -> ControlHandle {
        self.handle.clone()
    }
}

impl Drop for Control {
    /// Stops the thread and removes its socket. The thread opens every gate
    /// first: a stopped agent must not cost its clients even the lease.
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        self.handle.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}
