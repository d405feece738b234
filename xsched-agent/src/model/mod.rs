//! The model: one picture of all processes that use a GPU runtime, from the observer's counts
//! and the clients' pages.
//!
//! Every number a user sees about a process is made here and nowhere else;
//! the socket, `ps` and xtop show the same [`Snapshot`].

mod blame;
mod details;
mod device_times;
mod devices;
mod gates;
mod groups;
mod hardware;
mod health;
mod history;
mod modeller;
mod notes;
mod observation;
pub(crate) mod page_reader;
mod process;
mod roster;
mod rows;
mod sums;
mod targets;
mod unscheduled;
mod window;
mod workloads;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use xsched_common::api::{
    API_VERSION, AgentInfo, BlameRow, BpfState, DropCount, Drops, HistoryPoint, ProcessRow,
    Sampling, SloRow, Snapshot,
};
use xsched_common::handshake::Part;
use xsched_common::page::HistogramCounts;
use xsched_common::units::{Class, Nanos};
use xsched_host::process::ProcessId;
use xsched_host::users::Users;
use xsched_policy::{ClientId, Sharing, SloVerdict};

pub use blame::{BlameStore, Watch, Watcher};
pub use history::HistoryStore;
pub use modeller::{Modeller, Observations, Observed, Observing, Parts, observations};
pub use observation::{ApiCount, Bypass, DropTotal, LaunchCount, Observation};
pub use sums::{BOUNDS_NS, ClassSums, SharedSums, Sums, TimeHistogram};
pub use workloads::{WorkloadKey, WorkloadSums, WorkloadTable};

use crate::attr::{AttrHandle, Standing};
use crate::control::{ClientShared, DeviceKey, Journal, Stats};
use crate::events::{EventLog, Events};
use crate::slices::SliceTable;
use blame::Blames;
use details::Inquiries;
use device_times::DeviceTimes;
use hardware::Hardware;
use health::Health;
use notes::DropsNoted;
use process::Process;
use roster::{COMINGS, groups_of, joined};

/// The time that rates and latencies cover.
pub const WINDOW: Nanos = Nanos::from_secs(5);

/// Time between two looks at the counts.
pub const TICK: Nanos = Nanos::from_millis(500);

/// Who has joined.
type Clients = BTreeMap<ClientId, Arc<ClientShared>>;

/// What the agent knows.
pub struct Model {
    started: Nanos,
    clients: Clients,
    /// Those that have left since the last tick.
    left: Vec<Arc<ClientShared>>,
    sharing: BTreeMap<DeviceKey, Sharing>,
    targets: HashMap<ClientId, SloVerdict>,
    attr: AttrHandle,
    processes: HashMap<ProcessId, Process>,
    device_times: DeviceTimes,
    inquiries: Inquiries,
    bpf: BpfState,
    sampling: Sampling,
    drops: Drops,
    limits: Vec<String>,
    health: Health,
    log: EventLog,
    events: Events,
    drops_noted: DropsNoted,
    comings: Journal,
    untold_noted: Nanos,
    history: HistoryStore,
    next_point: Nanos,
    sums: SharedSums,
    hardware: Hardware,
    users: Users,
    blames: Blames,
    slices: SliceTable,
}

impl Model {
    /// An empty model of an agent that starts now.
    pub fn new(now: Nanos, attr: AttrHandle) -> Model {
        let (log, events) = EventLog::new();
        Model {
            started: now,
            clients: BTreeMap::new(),
            left: Vec::new(),
            sharing: BTreeMap::new(),
            targets: HashMap::new(),
            attr,
            processes: HashMap::new(),
            device_times: DeviceTimes::new(now),
            inquiries: Inquiries::default(),
            bpf: BpfState::default(),
            sampling: Sampling::default(),
            drops: Drops::default(),
            limits: Vec::new(),
            health: Health::default(),
            log,
            events,
            drops_noted: DropsNoted::default(),
            comings: Journal::new(COMINGS),
            untold_noted: now,
            history: HistoryStore::default(),
            next_point: now,
            sums: SharedSums::default(),
            hardware: Hardware::default(),
            users: Users::default(),
            blames: Blames::default(),
            slices: SliceTable::default(),
        }
    }

    /// What the management libraries say, for whoever has it read.
    pub fn hardware(&self) -> Hardware {
        self.hardware.clone()
    }

    /// Watches over the control thread, too, from now on.
    pub fn watch_over(&mut self, stats: Arc<Stats>) {
        self.health = Health::of(stats);
    }

    /// Where time slices are written down.
    pub fn slices(&self) -> SliceTable {
        self.slices.clone()
    }

    /// Where the parts of the agent note what happens.
    pub fn event_log(&self) -> EventLog {
        self.log.clone()
    }

    /// Where slow bursts' time went, for whoever asks.
    pub fn blames(&self) -> BlameStore {
        self.blames.store()
    }

    /// Services that are to be watched, for whoever has that done.
    pub fn watch(&self) -> Watch {
        self.blames.watch()
    }

    /// What the model remembers.
    pub fn history(&self) -> HistoryStore {
        self.history.clone()
    }

    /// Says what cannot be seen just now, until the next tick.
    pub fn limit(&mut self, limit: String) {
        self.limits.push(limit);
    }

    /// One tick: takes in what was observed and looks at every page.
    pub fn update(&mut self, now: Nanos, observation: &Observation) {
        self.bpf = observation.bpf.clone();
        self.sampling = observation.sampling;
        self.limits.clone_from(&observation.limits);
        self.health.tick(now);
        self.users.refresh();
        self.drops = Drops {
            total: observation.drops.iter().map(DropTotal::count).sum(),
            by_reason: observation
                .drops
                .iter()
                .filter(|drop| drop.count() > 0)
                .map(|drop| DropCount {
                    reason: drop.reason.name().to_owned(),
                    count: drop.count(),
                    by_cpu: drop.by_cpu.clone(),
                })
                .collect(),
        };

        let joined = joined(&self.clients);
        let left = std::mem::take(&mut self.left);
        // What a group did last is read as long as its page is there.
        let groups = groups_of(self.clients.values().chain(&left));
        let mut launches: HashMap<ProcessId, Vec<&LaunchCount>> = HashMap::new();
        for count in &observation.launches {
            launches.entry(count.process).or_default().push(count);
        }
        let mut apis: HashMap<ProcessId, Vec<ApiCount>> = HashMap::new();
        for count in &observation.apis {
            apis.entry(count.process).or_default().push(*count);
        }
        // Those who have joined are known by their identity.
        let joined_pids: HashSet<u32> = joined.keys().map(|id| id.pid).collect();
        let users = observation
            .users
            .iter()
            .filter(|pid| !joined_pids.contains(pid))
            .filter_map(|pid| ProcessId::of(*pid).ok());
        let seen: HashSet<ProcessId> = joined
            .keys()
            .copied()
            .chain(launches.keys().copied())
            .chain(users)
            .collect();
        // Of those who have joined, the control thread tells when they exit.
        let is_there = |id: &ProcessId| joined.contains_key(id) || id.is_alive();
        for id in seen {
            if is_there(&id) {
                self.know(id);
            }
        }
        // What they did since the last tick is summed up before they are forgotten.
        let known = self.processes.keys().copied();
        let ended: HashSet<ProcessId> = known.filter(|id| !is_there(id)).collect();
        for client in left.iter().filter(|client| client.part == Part::Process) {
            if let Some(process) = self.processes.get_mut(&client.process) {
                process.take_last(client);
            }
        }
        let table = self.attr.table();
        let unknown = |id: &&ProcessId| !ended.contains(id) && !table.knows(**id);
        let unknown: Vec<ProcessId> = self.processes.keys().filter(unknown).copied().collect();
        if !unknown.is_empty() {
            self.attr.seen(unknown);
        }

        for (id, process) in &mut self.processes {
            // The page first: from then on, what came through the shim is
            // the page's to count.
            if !ended.contains(id) {
                process.take_pages(joined.get(id).map_or(&[][..], Vec::as_slice));
            }
            let groups = groups.get(id).map_or(&[][..], Vec::as_slice);
            process.groups.take_pages(groups);
            process.take_counts(launches.get(id).into_iter().flatten().copied());
            process.take_bursts(observation.bursts.get(id));
            process.bypass = observation.bypass.get(id).copied().unwrap_or_default();
            process.apis = apis.remove(id).unwrap_or_default();
        }
        let claims = self.processes.values_mut().flat_map(Process::claims);
        self.device_times.share(now, claims);
        for process in self.processes.values_mut() {
            process.tick(now);
        }
        self.add_up(now);
        self.processes.retain(|id, _| !ended.contains(id));
        self.inquire(now);
        self.blames.tick(now, &self.processes, &self.clients);
        let launches = |process: &&Process| {
            let change = process.window.change();
            process.client.is_none() && change.is_some_and(|c| c.of(|t| t.launches) > 0)
        };
        let strangers = self.processes.values().filter(launches).count();
        self.health.note_strangers(strangers as u64);
        self.note_drops(now);
        self.note_untold(now);
        self.events.collect();
        self.sums.lock().events = self.events.counts();
    }

    /// Has the memory read of those whose turn it is.
    fn inquire(&mut self, now: Nanos) {
        let Model {
            processes,
            inquiries,
            ..
        } = self;
        for (id, process) in &mut *processes {
            if process.wants_look(now) && inquiries.ask(*id, now) {
                process.look_asked(now);
            }
        }
        inquiries.take(|id, details| {
            if let Some(process) = processes.get_mut(&id) {
                process.take_details(details);
            }
        });
        inquiries.retain(|id| processes.contains_key(&id));
        self.limits.extend(inquiries.limit(now));
    }

    fn class_of(&self, process: &Process) -> Class {
        match &process.client {
            Some(client) => client.class(),
            None => {
                let standing = self.attr.table().standing(process.id);
                standing.map_or_else(Class::default, |standing| standing.attr.class)
            }
        }
    }

    /// What is summed up.
    pub fn sums(&self) -> SharedSums {
        self.sums.clone()
    }

    /// Takes note of how long a tick took, with all that belongs to it.
    pub fn ticked(&mut self, took: Nanos) {
        self.sums.lock().ticks.record(took, 1);
    }

    /// Adds points to the history, when it is time.
    pub fn remember(&mut self, now: Nanos, snapshot: &Snapshot) {
        if now < self.next_point {
            return;
        }
        // Half a tick early is in time: the points must not drift.
        self.next_point = (self.next_point + history::INTERVAL).max(now + history::INTERVAL - TICK);
        let (mut bursts, mut gate_waits) = (HistogramCounts::default(), HistogramCounts::default());
        let changes = self.processes.values().filter_map(|p| p.window.change());
        for counted in changes.filter_map(|change| change.counted) {
            bursts.add(&counted.bursts);
            gate_waits.add(&counted.gate_waits);
        }
        let machine = HistoryPoint {
            time_unix_ns: snapshot.time_unix_ns,
            launches_per_s: snapshot.processes.iter().map(|p| p.launches_per_s).sum(),
            burst_p50_ns: bursts.quantile(0.5),
            burst_p99_ns: bursts.quantile(0.99),
            gate_wait_p99_ns: gate_waits.quantile(0.99),
            busy_ratio: devices::mean_busy(&snapshot.devices),
            class: snapshot.devices.iter().filter_map(|d| d.top_active).max(),
        };
        self.history.remember(machine, &snapshot.processes);
    }

    /// Everything as a message.
    pub fn snapshot(&self, now: Nanos, unix: Nanos) -> Snapshot {
        let mut processes: Vec<_> = self
            .processes
            .values()
            .map(|process| {
                let standing = self.attr.table().standing(process.id);
                let blame = self.blame(process.id);
                let target = self.target_of(process, standing.as_ref(), blame.as_ref());
                let row = rows::process_row(
                    process,
                    standing,
                    now,
                    &self.bpf,
                    self.sampling,
                    &self.clients,
                );
                let time_slices = self.slices.rows(process.id);
                let belonging = process.belonging.as_ref();
                let (pod, job) =
                    belonging.map_or((None, None), |of| of.rows(self.attr.workloads()));
                ProcessRow {
                    slo: target,
                    // A process without the shim has launched where it has
                    // its groups.
                    device: row
                        .device
                        .or_else(|| Some(time_slices.first()?.device.clone())),
                    time_slices,
                    blame,
                    hardware: self.hardware.of_process(row.pid),
                    pod,
                    job,
                    user: self.users.name(row.uid).map(str::to_owned),
                    ..row
                }
            })
            .collect();
        processes.sort_by_key(|row| (row.pid, row.start_time));
        let mut devices = devices::rows(
            &self.clients,
            &self.processes,
            &self.sharing,
            &self.hardware,
        );
        self.hardware.wanted(!devices.is_empty());
        for device in &mut devices {
            device.unscheduled = unscheduled::on_device(&processes, device, &self.bpf);
        }
        let on_machine = unscheduled::on_machine(&processes, &self.bpf);
        Snapshot {
            api_version: API_VERSION,
            time_unix_ns: unix.0,
            window_ns: WINDOW,
            agent: AgentInfo {
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                abi: xsched_common::ABI.to_string(),
                uptime_ns: now - self.started,
                bpf: self.bpf.clone(),
                drops: self.drops.clone(),
                sampling: self.sampling,
                limits: self
                    .limits
                    .iter()
                    .cloned()
                    .chain(self.slices.limits())
                    .collect(),
                control: self.health.info(),
                time_slicing: self.slices.slicing(),
                warnings: [self.health.warnings(), self.hardware.warnings()].concat(),
            },
            devices,
            processes,
            events: self.events.rows(),
            unscheduled: on_machine,
        }
    }

    /// Where the window's slow bursts' time went.
    fn blame(&self, id: ProcessId) -> Option<BlameRow> {
        self.blames.store().latest(id, WINDOW)
    }

    /// A target that cannot be followed is shown with the reason.
    fn target_of(
        &self,
        process: &Process,
        standing: Option<&Standing>,
        blame: Option<&BlameRow>,
    ) -> Option<SloRow> {
        let Some(client) = process.client.as_deref() else {
            let target = standing?.attr.slo_p99?;
            return Some(targets::unfollowed(target, "it has not joined"));
        };
        let target = client.attr().slo_p99?;
        let Some((device, _)) = rows::busiest_device(client) else {
            return Some(targets::unfollowed(target, "it has used no device yet"));
        };
        Some(targets::row(
            target,
            self.sharing.get(&device),
            self.targets.get(&client.id),
            blame,
        ))
    }
}
