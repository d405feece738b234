//! From pages to policy and back: one pass of decisions.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use xsched_common::units::{Nanos, PciAddress};
use xsched_host::process::ProcessId;
use xsched_policy::{ClientId, Settings, Strangers};

use super::RosterEvent;
use super::clients::{Client, DeviceKey};
use super::device::{Device, Written};

/// Whose pages a pass must look at.
///
/// Whoever changes in a way that the last pass asked to hear of has rung.
/// What others do changes no decision before the time that it said; the
/// heartbeat looks at everybody because a doorbell may be muted, a client may
/// lie, and clients come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Of these, which have rung; with nobody in it a pass does nothing.
    Of(BTreeSet<ClientId>),
    /// Of anybody.
    OfAll,
}

impl News {
    /// Nothing has happened.
    pub const NONE: News = News::Of(BTreeSet::new());

    /// This one has rung, too.
    pub fn add(&mut self, id: ClientId) {
        match self {
            News::Of(ids) => {
                ids.insert(id);
            }
            News::OfAll => {}
        }
    }
}

/// How devices are shared.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub settings: Settings,
    /// Processes to whose work the driver turns by itself, and where.
    pub in_turns: HashSet<(ProcessId, PciAddress)>,
}

impl Rules {
    fn turns_to(&self, process: ProcessId, device: DeviceKey) -> bool {
        let pci = device.pci();
        pci.is_some_and(|pci| self.in_turns.contains(&(process, pci)))
    }
}

/// What the passes know of the devices.
#[derive(Default)]
pub(super) struct DecisionPass {
    devices: BTreeMap<DeviceKey, Device>,
    /// What is known of those whom the agent does not schedule.
    pub strangers: Strangers,
    /// Buffers, kept to spare the allocations.
    due: Vec<DeviceKey>,
    written: Written,
}

/// How often a pass is repeated because a client changed its activity while
/// the agent wrote what it wants to hear of. The heartbeat starts another
/// pass soon enough for clients that flap on purpose.
const MAX_PASSES: usize = 4;

impl DecisionPass {
    /// Decides and writes until the pages stand still. Returns when to
    /// decide again, with news of all, even if nobody rings.
    pub fn run(
        &mut self,
        mut news: News,
        rules: &Rules,
        clients: &mut BTreeMap<ClientId, Client>,
        roster: &dyn Fn(RosterEvent),
        clock: impl Fn() -> Nanos,
    ) -> Option<Nanos> {
        for _ in 0..MAX_PASSES {
            let now = clock();
            self.due.clear();
            self.written.asked.clear();
            match &news {
                News::Of(ids) if self.look_at(ids, clients, now) => {}
                _ => self.look_at_all(rules, clients, now),
            }
            for key in &self.due {
                if let Some(device) = self.devices.get_mut(key) {
                    let settings = rules.settings.of(key.pci());
                    device.set_strangers(self.strangers);
                    device.decide(settings, clients, now, &mut self.written);
                    device.tell(*key, settings, roster);
                }
            }
            // The edges are written; whoever changed before that did not
            // ring, so look once more (see DeviceStatus::activity).
            let changed = |id: &ClientId| clients.get(id).is_some_and(Client::has_changed);
            let again = self.written.asked.iter().copied();
            let again: BTreeSet<ClientId> = again.filter(changed).collect();
            if again.is_empty() {
                break;
            }
            news = News::Of(again);
        }
        self.devices.values().filter_map(Device::due).min()
    }

    /// Who has more waiters than were woken, since the last call.
    pub fn crowded(&mut self) -> impl Iterator<Item = ClientId> {
        self.written.crowded.drain(..)
    }

    /// Writes everything anew in the next pass: somebody else has opened
    /// gates.
    pub fn mistrust(&mut self) {
        self.devices.values_mut().for_each(Device::mistrust);
    }

    /// Looks at everybody, and learns who counts where.
    fn look_at_all(&mut self, rules: &Rules, clients: &mut BTreeMap<ClientId, Client>, now: Nanos) {
        for device in self.devices.values_mut() {
            device.clear();
        }
        for client in clients.values_mut() {
            client.observe(now);
            for (key, index) in client.counts_on() {
                let device = self.devices.entry(key).or_default();
                device.push(index, client.state(index));
                let process = client.shared.process;
                if rules.turns_to(process, key) {
                    device.note_turn(process);
                }
            }
        }
        self.devices.retain(|_, device| !device.is_empty());
        self.due.clear();
        self.due.extend(self.devices.keys());
    }

    /// Looks at some, and at whoever is at work where they are. Whether that
    /// is enough: one of them may count on a device where it did not.
    fn look_at(
        &mut self,
        ids: &BTreeSet<ClientId>,
        clients: &mut BTreeMap<ClientId, Client>,
        now: Nanos,
    ) -> bool {
        for id in ids {
            let Some(client) = clients.get_mut(id) else {
                continue;
            };
            client.observe(now);
            for (key, index) in client.counts_on() {
                let Some(device) = self.devices.get_mut(&key) else {
                    return false;
                };
                if !device.renew(index, client.state(index)) {
                    return false;
                }
                if !self.due.contains(&key) {
                    self.due.push(key);
                }
            }
        }
        for key in &self.due {
            if let Some(device) = self.devices.get_mut(key) {
                device.renew_active(clients);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;
    use xsched_common::gate::{GateMode, GateWord};
    use xsched_common::page::{DeviceStatus, Edges, StatusPage};
    use xsched_common::units::Class;

    use crate::control::newcomers::Newcomer;
    use xsched_host::process::ProcessId;
    use xsched_policy::SchedAttr;

    /// Clients of these classes, numbered from one, each with one device.
    struct World {
        clients: BTreeMap<ClientId, Client>,
        pages: BTreeMap<ClientId, &'static StatusPage>,
        pass: DecisionPass,
        now: Nanos,
    }

    const LOW: ClientId = ClientId(1);
    const HIGH: ClientId = ClientId(2);

    impl World {
        fn new(classes: &[Class]) -> World {
            let (mut clients, mut pages) = (BTreeMap::new(), BTreeMap::new());
            for (class, id) in classes.iter().zip(1..) {
                let process = ProcessId {
                    pid: id,
                    start_time: 1,
                };
                let id = ClientId(u64::from(id));
                let (client, page) = Newcomer::settled(id, process).expect("memfds");
                client.shared.set_attr(SchedAttr::of_class(*class));
                page.device_count.store(1, Relaxed);
                clients.insert(id, client);
                pages.insert(id, page);
            }
            World {
                clients,
                pages,
                pass: DecisionPass::default(),
                now: Nanos::from_secs(1),
            }
        }

        fn status(&self, id: ClientId) -> &'static DeviceStatus {
            &self.pages[&id].devices[0]
        }

        fn mode(&self, id: ClientId) -> GateMode {
            let control = &self.clients[&id].shared.control.devices[0];
            GateWord(control.word.load(Relaxed)).mode()
        }

        fn edges(&self, id: ClientId) -> Edges {
            let control = &self.clients[&id].shared.control.devices[0];
            Edges(control.wanted_edges.load(Relaxed))
        }

        fn run(&mut self, news: News) -> Option<Nanos> {
            self.now = self.now + Nanos::from_millis(1);
            let now = self.now;
            let rules = Rules::default();
            let nobody = |_| ();
            self.pass
                .run(news, &rules, &mut self.clients, &nobody, || now)
        }

        fn hear(&mut self, id: ClientId) -> Option<Nanos> {
            self.run(News::Of(BTreeSet::from([id])))
        }
    }

    #[test]
    fn a_ring_is_enough_to_close_and_its_end_opens() {
        let mut world = World::new(&[Class::Low, Class::High]);
        world.run(News::OfAll);
        assert_eq!(world.edges(HIGH), Edges::ACTIVE);
        world.status(HIGH).set_active();
        world.hear(HIGH);
        assert_eq!(world.mode(LOW), GateMode::Closed);
        assert_eq!(world.edges(HIGH), Edges::IDLE);
        world.status(HIGH).set_idle();
        let linger_ends = world.hear(HIGH).expect("it lingers");
        assert_eq!(world.mode(LOW), GateMode::Closed);
        world.now = linger_ends;
        world.run(News::OfAll);
        assert_eq!(world.mode(LOW), GateMode::Capped(4));
    }

    /// A server's clients (MPS) run side by side, whoever else has a context
    /// there; the parts of a device are devices of their own.
    #[test]
    fn two_that_the_driver_turns_to_are_in_turns_where_both_have_joined() {
        let pci = PciAddress {
            bus: 6,
            ..PciAddress::default()
        };
        let mut world = World::new(&[Class::Low, Class::Low, Class::High]);
        for page in world.pages.values() {
            page.devices[0].set_pci(pci);
        }
        for id in [ClientId(1), ClientId(2)] {
            world.status(id).set_active();
        }
        let process = |pid| ProcessId { pid, start_time: 1 };
        let elsewhere = PciAddress { bus: 7, ..pci };
        let mut closed = |in_turns: &[(u32, PciAddress)]| {
            let in_turns = in_turns.iter().map(|(pid, on)| (process(*pid), *on));
            let rules = Rules {
                in_turns: in_turns.collect(),
                ..Rules::default()
            };
            world.now = world.now + Nanos::from_millis(1);
            let now = world.now;
            let pass = &mut world.pass;
            pass.run(News::OfAll, &rules, &mut world.clients, &|_| (), || now);
            let modes = [ClientId(1), ClientId(2)].map(|id| world.mode(id));
            modes
                .iter()
                .filter(|mode| **mode == GateMode::Closed)
                .count()
        };
        assert_eq!(closed(&[]), 0);
        assert_eq!(closed(&[(1, pci), (2, pci)]), 1, "they take turns");
        assert_eq!(closed(&[(1, pci)]), 0, "beside a server's client");
        assert_eq!(closed(&[(1, pci), (4, pci)]), 0, "one has not joined");
        assert_eq!(closed(&[(1, pci), (2, elsewhere)]), 0);
        assert_eq!(closed(&[(1, pci), (3, pci)]), 1, "turns of the driver's");
    }

    /// The page of one that has not rung is not looked at.
    #[test]
    fn who_has_not_rung_is_as_before() {
        let mut world = World::new(&[Class::Low, Class::High, Class::Low]);
        world.run(News::OfAll);
        world.status(HIGH).set_active();
        world.hear(ClientId(3));
        assert_eq!(world.mode(LOW), GateMode::Capped(4));
        world.run(News::OfAll);
        assert_eq!(world.mode(LOW), GateMode::Closed);
    }

    /// It drains between the look at its page and the writing of the edges, so
    /// it does not ring.
    #[test]
    fn who_is_asked_for_other_edges_is_looked_at_again() {
        let mut world = World::new(&[Class::Low, Class::High]);
        world.run(News::OfAll);
        let high = world.status(HIGH);
        high.set_active();
        // The model is told of new numbers right after the decision.
        let mut rules = Rules::default();
        rules.settings.default.fence_batch = 7;
        let meanwhile = |event| {
            if matches!(event, RosterEvent::Shared(..)) {
                high.set_idle();
            }
        };
        let now = world.now + Nanos(1);
        let news = News::Of([HIGH].into());
        let due = world
            .pass
            .run(news, &rules, &mut world.clients, &meanwhile, || now);
        assert_eq!(world.mode(LOW), GateMode::Closed);
        assert_eq!(world.edges(HIGH), Edges::NONE, "it lingers");
        assert!(due.is_some(), "the linger ends");
    }

    #[test]
    fn one_that_comes_to_a_device_is_found_there() {
        let mut world = World::new(&[Class::Low, Class::High]);
        let high = world.clients.remove(&HIGH).expect("is there");
        world.run(News::OfAll);
        assert_eq!(world.mode(LOW), GateMode::Open);
        world.clients.insert(HIGH, high);
        world.status(HIGH).set_active();
        world.hear(HIGH);
        assert_eq!(world.mode(LOW), GateMode::Closed);
        // And when it goes, a pass about all sees that.
        world.clients.remove(&HIGH);
        world.run(News::OfAll);
        assert_eq!(world.mode(LOW), GateMode::Open);
    }

    #[test]
    fn nothing_is_written_twice() {
        let mut world = World::new(&[Class::Low, Class::High]);
        world.run(News::OfAll);
        let control = &world.clients[&LOW].shared.control.devices[0];
        // Nobody but the agent writes here: it would not notice.
        control.wanted_edges.store(77, Relaxed);
        world.run(News::OfAll);
        assert_eq!(world.edges(LOW), Edges(77));
    }
}
