//! The model: one picture of all HIP processes, from the observer's counts
//! and the clients' pages.
//!
//! Every number a user sees about a process is made here and nowhere else;
//! the socket, `ps` and xtop show the same [`Snapshot`].

mod observation;
mod page_reader;
mod process;
mod rows;
mod window;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use xsched_common::api::{API_VERSION, AgentInfo, BpfState, DropCount, Drops, Sampling, Snapshot};
use xsched_common::units::{Class, Nanos};

pub use observation::{CallOwner, LaunchCount, Observation};

use crate::control::{ClassTable, ClientShared, RosterEvent};
use crate::policy::ClientId;
use crate::process::ProcessId;
use process::Process;

/// The time that rates and latencies cover.
pub const WINDOW: Nanos = Nanos::from_secs(5);

/// Time between two looks at the counts.
pub const TICK: Nanos = Nanos::from_millis(500);

/// What the agent knows.
pub struct Model {
    started: Nanos,
    clients: BTreeMap<ClientId, Arc<ClientShared>>,
    classes: ClassTable,
    processes: HashMap<ProcessId, Process>,
    bpf: BpfState,
    sampling: Sampling,
    drops: Drops,
    limits: Vec<String>,
}

impl Model {
    /// An empty model of an agent that starts now.
    pub fn new(now: Nanos) -> Model {
        Model {
            started: now,
            clients: BTreeMap::new(),
            classes: ClassTable::default(),
            processes: HashMap::new(),
            bpf: BpfState::default(),
            sampling: Sampling::default(),
            drops: Drops::default(),
            limits: Vec::new(),
        }
    }

    /// Takes note of what control reports.
    pub fn roster(&mut self, event: RosterEvent) {
        match event {
            RosterEvent::Joined(client) => {
                self.clients.insert(client.id, client);
            }
            RosterEvent::Left(id) => {
                self.clients.remove(&id);
            }
            RosterEvent::ClassGiven(process, class) => self.classes.give(process, class),
        }
    }

    /// One tick: takes in what was observed and looks at every page.
    pub fn update(&mut self, now: Nanos, observation: &Observation) {
        self.bpf = observation.bpf.clone();
        self.sampling = observation.sampling;
        self.limits.clone_from(&observation.limits);
        self.drops = Drops {
            total: observation.drops.iter().map(|(_, n)| n).sum(),
            by_reason: observation
                .drops
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| DropCount {
                    reason: reason.name().to_owned(),
                    count: *count,
                })
                .collect(),
        };

        let joined: HashMap<ProcessId, Arc<ClientShared>> = self
            .clients
            .values()
            .map(|client| (client.process, client.clone()))
            .collect();
        let mut launches: HashMap<ProcessId, Vec<&LaunchCount>> = HashMap::new();
        for count in &observation.launches {
            launches.entry(count.process).or_default().push(count);
        }
        let users = observation
            .users
            .iter()
            .filter_map(|pid| ProcessId::of(*pid).ok());
        let seen: HashSet<ProcessId> = joined
            .keys()
            .copied()
            .chain(launches.keys().copied())
            .chain(users)
            .collect();
        for id in seen {
            self.processes.entry(id).or_insert_with(|| Process::new(id));
        }
        self.processes.retain(|id, _| id.is_alive());
        self.classes.prune(|_| false);

        for (id, process) in &mut self.processes {
            // The page first: from then on, what came through the shim is
            // the page's to count.
            process.take_page(joined.get(id));
            process.take_counts(launches.get(id).into_iter().flatten().copied());
        }
        for process in self.processes.values_mut() {
            process.tick(now);
        }
    }

    /// Everything as a message.
    pub fn snapshot(&self, now: Nanos, unix: Nanos) -> Snapshot {
        let mut processes: Vec<_> = self
            .processes
            .values()
            .map(|p| rows::process_row(p, self.class_of(p), &self.bpf, &self.clients))
            .collect();
        processes.sort_by_key(|row| (row.pid, row.start_time));
        Snapshot {
            api_version: API_VERSION,
            time_unix_ns: unix.0,
            window_ns: WINDOW,
            agent: AgentInfo {
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                uptime_ns: now - self.started,
                bpf: self.bpf.clone(),
                drops: self.drops.clone(),
                sampling: self.sampling,
                limits: self.limits.clone(),
            },
            devices: rows::device_rows(&self.clients),
            processes,
            events: Vec::new(),
        }
    }

    fn class_of(&self, process: &Process) -> Class {
        match &process.client {
            Some(client) => client.class(),
            None => self.classes.resolve(process.id),
        }
    }
}
