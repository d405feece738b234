//! Who joins and leaves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::api::EventKind;
use xsched_common::handshake::Part;
use xsched_common::platform::Platform;
use xsched_common::units::Nanos;
use xsched_host::process::ProcessId;

use super::process::Process;
use super::{Clients, Model};
use crate::control::{ClientShared, Rate, RosterEvent};

/// The clients of each process: the newest for each platform. A process of
/// several platforms joins once for each.
pub(super) fn joined(clients: &Clients) -> HashMap<ProcessId, Vec<Arc<ClientShared>>> {
    let platform = |client: &ClientShared| Platform::from_raw(client.status.platform.load(Relaxed));
    let mut joined: HashMap<ProcessId, Vec<Arc<ClientShared>>> = HashMap::new();
    // In the order of their coming.
    for client in clients.values().filter(|c| c.part == Part::Process) {
        let of_process = joined.entry(client.process).or_default();
        of_process.retain(|other| platform(other) != platform(client));
        of_process.push(Arc::clone(client));
    }
    joined
}

/// The groups of each process.
pub(super) fn groups_of<'c>(
    clients: impl Iterator<Item = &'c Arc<ClientShared>>,
) -> HashMap<ProcessId, Vec<Arc<ClientShared>>> {
    let mut groups: HashMap<ProcessId, Vec<Arc<ClientShared>>> = HashMap::new();
    for client in clients.filter(|c| c.part != Part::Process) {
        let of_process = groups.entry(client.process).or_default();
        of_process.push(Arc::clone(client));
    }
    groups
}

/// Events about one user's comings and goings, of the 256 that are kept.
pub(super) const COMINGS: Rate = Rate {
    interval: Nanos::from_secs(5),
    burst: 64,
};

impl Model {
    /// Takes note of what control reports.
    pub fn roster(&mut self, event: RosterEvent) {
        match event {
            RosterEvent::Joined(client) => {
                let text = match client.part {
                    Part::Process => "has joined",
                    Part::Group(_) => "has joined with threads of a class of their own",
                };
                self.note_coming(EventKind::Joined, &client, text);
                // It may be gone before the next tick, and what it did is its job's.
                self.know(client.process);
                self.clients.insert(client.id, client);
            }
            RosterEvent::Left(id) => {
                self.targets.remove(&id);
                let Some(client) = self.clients.remove(&id) else {
                    return;
                };
                if client.part == Part::Process {
                    let text = if client.process.is_alive() {
                        "has left and runs unscheduled"
                    } else {
                        "has exited"
                    };
                    self.note_coming(EventKind::Left, &client, text);
                }
                self.left.push(client);
            }
            RosterEvent::Shared(device, sharing) => {
                self.sharing.insert(device, sharing);
            }
            RosterEvent::Target(id, verdict) => self.note_target(id, verdict),
        }
    }

    pub(super) fn know(&mut self, id: ProcessId) {
        let known = self.attr.workloads();
        let process = self.processes.entry(id);
        process.or_insert_with(|| Process::new(id, known));
    }

    /// The processes that have joined.
    pub fn joined(&self) -> HashSet<ProcessId> {
        self.clients.values().map(|client| client.process).collect()
    }
}
