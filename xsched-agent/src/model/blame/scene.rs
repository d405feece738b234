//! The machine at one tick, as blame looks at it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::platform::Platform;
use xsched_common::units::{Class, DeviceIndex};
use xsched_host::process::ProcessId;
use xsched_policy::ClientId;

use super::super::Clients;
use super::super::process::Process;
use super::super::rows::busiest_device;
use super::watched::{Other, Request};
use crate::control::{ClientShared, DeviceKey};

/// Others on a device that are looked at closely; those with most commands.
const OTHERS: usize = 64;

/// Who has joined, and who launches past the gate.
pub struct Scene<'a> {
    processes: &'a HashMap<ProcessId, Process>,
    members: Vec<Member<'a>>,
    pub escaping: Vec<Escapee>,
}

/// A client on a device: a process, or a class group in one.
#[derive(Clone, Copy)]
struct Member<'a> {
    client: &'a Arc<ClientShared>,
    key: DeviceKey,
    device: DeviceIndex,
    class: Class,
    /// What it launched there in the last tick.
    commands: u64,
}

/// What clients have launched on which of their devices, at the last tick.
#[derive(Default)]
pub struct Commands(HashMap<(ClientId, DeviceIndex), u64>);

impl Commands {
    /// What is new since, and what there is now.
    fn take(&mut self, clients: &Clients) -> HashMap<(ClientId, DeviceIndex), u64> {
        let before = std::mem::take(&mut self.0);
        let mut new = HashMap::new();
        for client in clients.values() {
            for (device, status) in client.status.devices() {
                let at = (client.id, device);
                let now = status.admitted.load(Relaxed);
                // A page begins at zero when its client joins.
                let then = before.get(&at).copied().unwrap_or(0);
                self.0.insert(at, now);
                new.insert(at, now.saturating_sub(then));
            }
        }
        new
    }
}

/// Launches of the last tick of the process that is shown by this client, those
/// that no gate held among them: on which device is not known.
fn launches(process: Option<&Process>, client: &ClientShared) -> u64 {
    let shown = |process: &&Process| process.client.as_ref().is_some_and(|c| c.id == client.id);
    let latest = process
        .filter(shown)
        .and_then(|process| process.window.latest());
    latest.map_or(0, |latest| latest.launches)
}

/// A process whose bursts are accounted for.
pub struct Service<'a> {
    pub process: &'a Process,
    pub client: &'a Arc<ClientShared>,
    pub key: DeviceKey,
    pub device: DeviceIndex,
    class: Class,
}

impl Service<'_> {
    /// Whether there is anything to watch.
    pub fn had_bursts(&self) -> bool {
        let change = self.process.window.change();
        change.is_some_and(|change| change.counted.is_some_and(|c| c.bursts.total() > 0))
    }
}

/// A process that launches past the gate.
pub struct Escapee {
    pub pid: u32,
    pub per_s: f64,
    device: Option<DeviceKey>,
    platform: Option<Platform>,
}

impl Escapee {
    /// Nobody knows that it is on another device than the service.
    pub fn may_be_beside(&self, service: &Service<'_>) -> bool {
        let other = service.process.id.pid != self.pid;
        let platform = Platform::from_raw(service.client.status.platform.load(Relaxed));
        other
            && match self.device {
                Some(device) => device == service.key,
                None => self.platform.is_none_or(|its| its == platform),
            }
    }
}

impl<'a> Scene<'a> {
    pub fn new(
        processes: &'a HashMap<ProcessId, Process>,
        clients: &'a Clients,
        commands: &mut Commands,
    ) -> Scene<'a> {
        let new = commands.take(clients);
        let mut members = Vec::new();
        for client in clients.values() {
            let most_used = busiest_device(client).map(|(_, device)| device);
            let all = launches(processes.get(&client.process), client);
            for (device, status) in client.status.devices() {
                if status.admitted.load(Relaxed) == 0 && most_used != Some(device) {
                    continue;
                }
                let gated = new.get(&(client.id, device)).copied().unwrap_or(0);
                members.push(Member {
                    client,
                    key: DeviceKey::of(device, &client.status),
                    device,
                    class: client.class(),
                    commands: match most_used == Some(device) {
                        true => gated.max(all),
                        false => gated,
                    },
                });
            }
        }
        let mut escaping = Vec::new();
        for process in processes.values() {
            let change = process.window.change();
            let past = change.map_or(0.0, |change| {
                change.of(|totals| totals.bypass) as f64 / change.over.as_secs_f64()
            });
            if past > 0.0 {
                let placed = process.client.as_deref().and_then(busiest_device);
                escaping.push(Escapee {
                    pid: process.id.pid,
                    per_s: past,
                    device: placed.map(|(key, _)| key),
                    platform: process.platform,
                });
            }
        }
        Scene {
            processes,
            members,
            escaping,
        }
    }

    /// Whether a process is there, joined or not.
    pub fn knows(&self, id: ProcessId) -> bool {
        self.processes.contains_key(&id)
    }

    /// Processes, on the device that each uses most: those with a target first,
    /// then by class.
    pub fn services(&self) -> Vec<Service<'a>> {
        let mut services: Vec<Service<'a>> = self
            .processes
            .values()
            .filter_map(|process| {
                let client = process.client.as_ref()?;
                let (key, device) = busiest_device(client)?;
                Some(Service {
                    process,
                    client,
                    key,
                    device,
                    class: client.class(),
                })
            })
            .collect();
        services.sort_by_key(|service| {
            let no_target = service.client.attr().slo_p99.is_none();
            (
                no_target,
                std::cmp::Reverse(service.class),
                service.process.id.pid,
            )
        });
        services
    }

    /// Other clients on its device, groups of its own process among them.
    fn beside(&self, service: &Service<'_>) -> impl Iterator<Item = &Member<'a>> {
        let (key, id) = (service.key, service.client.id);
        let others = self.members.iter();
        others.filter(move |member| member.key == key && member.client.id != id)
    }

    /// Whether anybody else who has joined, another part of the same process too,
    /// had work on the device.
    pub fn others_at_work(&self, service: &Service<'_>) -> bool {
        self.beside(service).any(|member| {
            let status = &member.client.status.devices[usize::from(member.device.0)];
            member.commands > 0 || status.in_flight.load(Relaxed) > 0
        })
    }

    /// To watch a service beside the others on its device.
    pub fn request(&self, service: &Service<'_>) -> Request {
        let mut others: Vec<&Member<'a>> = self.beside(service).collect();
        others.sort_by_key(|member| std::cmp::Reverse(member.commands));
        others.truncate(OTHERS);
        Request {
            client: service.client.clone(),
            device: service.device,
            others: others
                .into_iter()
                .map(|member| Other {
                    client: member.client.clone(),
                    device: member.device,
                    lower: member.class < service.class,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stand_in;
    use crate::workloads::Workloads;
    use xsched_common::handshake::{Origin, Part, Wish};
    use xsched_common::page::StatusPage;

    /// A process, its low group, and how they stand on two devices.
    struct Stage {
        clients: Clients,
        processes: HashMap<ProcessId, Process>,
        commands: Commands,
        pages: [&'static StatusPage; 2],
    }

    impl Stage {
        fn new() -> Stage {
            let id = ProcessId::of(std::process::id()).expect("I exist");
            let threads = Part::Group(Wish {
                class: Class::Low,
                origin: Origin::Rule,
            });
            let parts = [(Part::Process, Class::High), (threads, Class::Low)];
            let (mut clients, mut pages) = (Clients::default(), Vec::new());
            for ((part, class), number) in parts.into_iter().zip(1..) {
                let (client, page) = stand_in(number, id, part, class);
                page.device_count.store(2, Relaxed);
                clients.insert(client.id, client);
                pages.push(page);
            }
            let mut process = Process::new(id, &Workloads::default());
            process.client = clients.values().next().cloned();
            let mut stage = Stage {
                clients,
                processes: HashMap::from([(id, process)]),
                commands: Commands::default(),
                pages: [pages[0], pages[1]],
            };
            stage.launch(0, 0);
            stage
        }

        fn launch(&mut self, part: usize, device: usize) {
            let admitted = &self.pages[part].devices[device].admitted;
            admitted.fetch_add(1, Relaxed);
        }

        /// Whether others were at work beside the process, and which.
        fn others(&mut self) -> (bool, Vec<(ClientId, bool)>) {
            let scene = Scene::new(&self.processes, &self.clients, &mut self.commands);
            let services = scene.services();
            let [service] = services.as_slice() else {
                panic!("{} services", services.len());
            };
            assert_eq!(service.client.part, Part::Process);
            let others = scene.request(service).others;
            let others = others.iter().map(|other| (other.client.id, other.lower));
            (scene.others_at_work(service), others.collect())
        }
    }

    #[test]
    fn a_process_is_not_alone_beside_a_group_of_its_own() {
        let mut stage = Stage::new();
        let lower = vec![(ClientId(2), true)];
        assert_eq!(stage.others(), (false, lower.clone()));
        stage.launch(0, 0);
        assert!(!stage.others().0, "its own launches are its own");
        stage.launch(1, 0);
        assert_eq!(stage.others(), (true, lower.clone()));
        assert_eq!(stage.others(), (false, lower.clone()), "it is idle");
        stage.pages[1].devices[0].in_flight.store(1, Relaxed);
        assert_eq!(stage.others(), (true, lower), "a long kernel");
    }

    /// It works on another device most of the time.
    #[test]
    fn who_is_on_several_devices_is_beside_others_on_each() {
        let mut stage = Stage::new();
        for _ in 0..9 {
            stage.launch(1, 1);
        }
        stage.others();
        stage.launch(1, 1);
        assert!(!stage.others().0, "not where the process is");
        stage.launch(1, 0);
        let (at_work, others) = stage.others();
        assert!(at_work && others.len() == 1);
    }
}
