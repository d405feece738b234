//! Class groups of a process: threads and streams with classes of their own,
//! each of which has joined for itself and has a page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::api::{GroupOrigin, GroupRow};
use xsched_common::handshake::{Origin, Part};
use xsched_common::units::{Class, Nanos};
use xsched_policy::ClientId;

use super::device_times::Claim;
use super::page_reader::PageReader;
use super::window::{Totals, Window};
use super::{Clients, WINDOW, rows};
use crate::control::ClientShared;

/// The groups of one process.
#[derive(Default)]
pub(super) struct Groups(BTreeMap<ClientId, Group>);

struct Group {
    client: Arc<ClientShared>,
    reader: PageReader,
    totals: Arc<Totals>,
    window: Window,
    /// Device time that is not charged yet.
    claims: Vec<Claim>,
}

impl Groups {
    /// Takes in the pages of those that have joined.
    pub fn take_pages(&mut self, clients: &[Arc<ClientShared>]) {
        self.0
            .retain(|id, _| clients.iter().any(|client| client.id == *id));
        for client in clients {
            let group = self.0.entry(client.id).or_insert_with(|| Group {
                client: Arc::clone(client),
                reader: PageReader::default(),
                totals: Arc::default(),
                window: Window::default(),
                claims: Vec::new(),
            });
            if !group.reader.is_current(&client.status) {
                let change = group.reader.read(&client.status);
                group.claims.extend(Claim::of(client, change.busy_ns));
                Arc::make_mut(&mut group.totals).add_page(&change);
            }
        }
    }

    /// The device time that they claim in this tick.
    pub fn claims(&mut self) -> impl Iterator<Item = &mut Claim> {
        self.0.values_mut().flat_map(|group| &mut group.claims)
    }

    /// Closes a tick, in which device time has been shared out.
    pub fn tick(&mut self, now: Nanos) {
        for group in self.0.values_mut() {
            for claim in group.claims.drain(..) {
                Arc::make_mut(&mut group.totals).add_busy(claim.index, claim.time);
            }
            group.window.push(now, WINDOW, &group.totals);
        }
    }

    /// What was counted of each since the last look, with the class that it has.
    pub fn latest(&self) -> impl Iterator<Item = (Class, Totals)> {
        self.0
            .values()
            .filter_map(|group| Some((group.client.class(), group.window.latest()?)))
    }

    /// For users, the highest class first.
    pub fn rows(&self, clients: &Clients) -> Vec<GroupRow> {
        let rows = self.0.values().filter_map(|group| group.row(clients));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| (std::cmp::Reverse(row.class), row.wish));
        rows
    }
}

impl Group {
    fn row(&self, clients: &Clients) -> Option<GroupRow> {
        let client = &*self.client;
        let Part::Group(wish) = client.part else {
            return None;
        };
        let device = rows::busiest_device(client);
        let status = device.and_then(|(_, at)| client.status.devices.get(usize::from(at.0)));
        let change = self.window.change();
        let counted = change.as_ref().and_then(|c| c.counted.as_deref());
        let admitted = client.status.devices.iter();
        let admitted = admitted.map(|device| device.admitted.load(Relaxed));
        Some(GroupRow {
            class: client.class(),
            wish: wish.class,
            origin: match wish.origin {
                Origin::Hint => GroupOrigin::Hint,
                Origin::Rule => GroupOrigin::Rule,
            },
            device: device.map(|(key, _)| key.to_string()),
            gate: device.map(|(_, at)| rows::gate_row(client, at, clients)),
            commands: admitted.fold(0, u64::saturating_add),
            burst: counted.map(|totals| rows::latency(&totals.bursts)),
            gate_wait: counted.map(|totals| rows::latency(&totals.gate_waits)),
            guards: rows::guards(client),
            in_flight: status.map(|status| status.in_flight.load(Relaxed)),
            kernel_ns: device.and_then(|(_, at)| client.status.kernel_time(at)),
            busy_ratio: device
                .zip(change.as_ref())
                .map(|((_, at), change)| super::devices::busy_ratio(change, at)),
        })
    }
}
