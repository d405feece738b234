//! The machine at one tick, as blame looks at it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::platform::Platform;
use xsched_common::units::{Class, DeviceIndex};
use xsched_host::process::ProcessId;

use super::super::process::Process;
use super::super::rows::busiest_device;
use super::watched::{Other, Request};
use crate::control::{ClientShared, DeviceKey};

/// Others on a device that are looked at closely; those with most launches.
const OTHERS: usize = 64;

/// Joined processes, and who launches past the gate.
pub struct Scene<'a> {
    processes: &'a HashMap<ProcessId, Process>,
    members: Vec<Member<'a>>,
    pub escaping: Vec<Escapee>,
}

/// A joined process on a device.
#[derive(Clone, Copy)]
struct Member<'a> {
    process: &'a Process,
    client: &'a Arc<ClientShared>,
    key: DeviceKey,
    device: DeviceIndex,
    class: Class,
    /// Launches of the last tick.
    launches: u64,
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
    pub fn new(processes: &'a HashMap<ProcessId, Process>) -> Scene<'a> {
        let mut members = Vec::new();
        let mut escaping = Vec::new();
        for process in processes.values() {
            let placed = process.client.as_deref().and_then(busiest_device);
            if let Some(client) = &process.client
                && let Some((key, device)) = placed
            {
                let latest = process.window.latest();
                members.push(Member {
                    process,
                    client,
                    key,
                    device,
                    class: client.class(),
                    launches: latest.map_or(0, |latest| latest.launches),
                });
            }
            let change = process.window.change();
            let past = change.map_or(0.0, |change| {
                change.of(|totals| totals.bypass) as f64 / change.over.as_secs_f64()
            });
            if past > 0.0 {
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

    /// Those with a target first, then by class.
    pub fn services(&self) -> Vec<Service<'a>> {
        let mut members: Vec<&Member<'a>> = self.members.iter().collect();
        members.sort_by_key(|member| {
            let no_target = member.client.attr().slo_p99.is_none();
            (
                no_target,
                std::cmp::Reverse(member.class),
                member.process.id.pid,
            )
        });
        let service = |member: &Member<'a>| Service {
            process: member.process,
            client: member.client,
            key: member.key,
            device: member.device,
            class: member.class,
        };
        members.into_iter().map(service).collect()
    }

    fn beside(&self, service: &Service<'_>) -> impl Iterator<Item = &Member<'a>> {
        let (key, id) = (service.key, service.client.id);
        let others = self.members.iter();
        others.filter(move |member| member.key == key && member.client.id != id)
    }

    /// Whether anybody else who has joined had work on the device.
    pub fn others_at_work(&self, service: &Service<'_>) -> bool {
        self.beside(service).any(|member| {
            let status = &member.client.status.devices[usize::from(member.device.0)];
            member.launches > 0 || status.in_flight.load(Relaxed) > 0
        })
    }

    /// To watch a service beside the others on its device.
    pub fn request(&self, service: &Service<'_>) -> Request {
        let mut others: Vec<&Member<'a>> = self.beside(service).collect();
        others.sort_by_key(|member| std::cmp::Reverse(member.launches));
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
