//! From pages to policy and back: one round of decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use xsched_common::units::Nanos;
use xsched_policy::{ClientId, Settings, Strangers};

use super::RosterEvent;
use super::clients::{Client, DeviceKey};
use super::device::{Device, Written};

/// Whose pages a round must look at.
///
/// Whoever changes in a way that the last round asked to hear of has rung.
/// What others do changes no decision before the time that it said; the
/// heartbeat looks at everybody because a bell may be muted, a client may
/// lie, and clients come and go. Of a crowd it looks at those at work, and at
/// the others in turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Of these, which have rung; with nobody in it a round does nothing.
    Of(BTreeSet<ClientId>),
    /// Of these, and the time is up for which the last round decided.
    Due(BTreeSet<ClientId>),
    /// Of anybody.
    OfAll,
}

/// So many at most are looked at for no reason at once: the page of one that
/// has slept since takes half a microsecond.
const IN_TURN: usize = 256;

impl News {
    /// Nothing has happened.
    pub const NONE: News = News::Of(BTreeSet::new());

    /// This one has rung, too.
    pub fn add(&mut self, id: ClientId) {
        match self {
            News::Of(ids) | News::Due(ids) => {
                ids.insert(id);
            }
            News::OfAll => {}
        }
    }
}

/// What the rounds know of the devices.
#[derive(Default)]
pub(super) struct Round {
    devices: BTreeMap<DeviceKey, Device>,
    /// What is known of those whom the agent does not schedule.
    pub strangers: Strangers,
    /// Who was looked at last of those who are in turn.
    turn: Option<ClientId>,
    /// Buffers, kept to spare the allocations.
    due: Vec<DeviceKey>,
    written: Written,
}

/// How often a round is repeated because a client changed its activity while
/// the agent wrote what it wants to hear of. The heartbeat starts another
/// round soon enough for clients that flap on purpose.
const MAX_ROUNDS: usize = 4;

impl Round {
    /// The time that the last round said is up: whom to look at now.
    pub fn at_deadline(&self, clients: &BTreeMap<ClientId, Client>) -> News {
        match clients.len() <= IN_TURN {
            true => News::OfAll,
            false => News::Due(BTreeSet::new()),
        }
    }

    /// Whom to look at for no reason.
    pub fn at_heartbeat(&mut self, clients: &BTreeMap<ClientId, Client>) -> News {
        if clients.len() <= IN_TURN {
            return News::OfAll;
        }
        let behind = (self.turn.map_or(Unbounded, Excluded), Unbounded);
        let ids: BTreeSet<_> = clients
            .range(behind)
            .map(|(id, _)| *id)
            .take(IN_TURN)
            .collect();
        // At the end of the list the turn begins anew.
        self.turn = ids.last().copied().filter(|_| ids.len() == IN_TURN);
        News::Due(ids)
    }

    /// Decides and writes until the pages stand still. Returns when to
    /// decide again, with news of all, even if nobody rings.
    pub fn run(
        &mut self,
        mut news: News,
        settings: &Settings,
        clients: &mut BTreeMap<ClientId, Client>,
        roster: &dyn Fn(RosterEvent),
        clock: impl Fn() -> Nanos,
    ) -> Option<Nanos> {
        for _ in 0..MAX_ROUNDS {
            let now = clock();
            self.due.clear();
            self.written.asked.clear();
            match &news {
                News::Of(ids) if self.look_at(ids, clients, now) => {}
                News::Due(ids) if self.look_at(ids, clients, now) => self.add_overdue(clients, now),
                _ => self.look_at_all(clients, now),
            }
            for key in &self.due {
                if let Some(device) = self.devices.get_mut(key) {
                    let settings = settings.of(key.pci());
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

    /// Writes everything anew in the next round: somebody else has opened
    /// gates.
    pub fn mistrust(&mut self) {
        self.devices.values_mut().for_each(Device::mistrust);
    }

    /// Looks at everybody, and learns who counts where.
    fn look_at_all(&mut self, clients: &mut BTreeMap<ClientId, Client>, now: Nanos) {
        for device in self.devices.values_mut() {
            device.clear();
        }
        for client in clients.values_mut() {
            client.observe(now);
            for (key, index) in client.counts_on() {
                let device = self.devices.entry(key).or_default();
                device.push(index, client.state(index));
            }
        }
        self.devices.retain(|_, device| !device.is_empty());
        self.due.clear();
        self.due.extend(self.devices.keys());
    }

    /// Adds the devices that have to be decided about anew, and looks at whoever
    /// is at work there.
    fn add_overdue(&mut self, clients: &mut BTreeMap<ClientId, Client>, now: Nanos) {
        for (key, device) in &mut self.devices {
            if device.due().is_some_and(|due| due <= now) && !self.due.contains(key) {
                device.renew_recent(clients, now);
                self.due.push(*key);
            }
        }
    }

    /// Looks at some, and at whoever is or was at work where they are. Whether that
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
                device.renew_recent(clients, now);
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
    use xsched_common::units::{Class, DeviceIndex};

    use crate::control::newcomers::Newcomer;
    use xsched_host::process::ProcessId;
    use xsched_policy::{Presence, Terms};

    /// Clients of these classes, numbered from one, each with one device.
    struct World {
        clients: BTreeMap<ClientId, Client>,
        pages: BTreeMap<ClientId, &'static StatusPage>,
        round: Round,
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
                client.shared.set_terms(Terms::of_class(*class));
                page.device_count.store(1, Relaxed);
                clients.insert(id, client);
                pages.insert(id, page);
            }
            World {
                clients,
                pages,
                round: Round::default(),
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
            let settings = Settings::default();
            let nobody = |_| ();
            self.round
                .run(news, &settings, &mut self.clients, &nobody, || now)
        }

        fn beat(&mut self) -> Option<Nanos> {
            let news = self.round.at_heartbeat(&self.clients);
            self.run(news)
        }

        fn presence(&self, id: ClientId) -> Presence {
            self.clients[&id].state(DeviceIndex(0)).presence
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

    /// One that neither rings nor is at work is found in its turn, and one
    /// that lingers at each time that is up.
    #[test]
    fn a_crowd_is_looked_at_in_turns() {
        let mut classes = vec![Class::Low; 2 * IN_TURN];
        classes[1] = Class::High;
        let mut world = World::new(&classes);
        world.run(News::OfAll);
        let last = ClientId(2 * IN_TURN as u64);
        world.status(last).set_active();
        world.beat();
        assert_eq!(world.presence(last), Presence::Never);
        world.beat();
        assert_eq!(world.presence(last), Presence::Active);
        world.status(HIGH).set_active();
        world.hear(HIGH);
        assert_eq!(world.mode(last), GateMode::Closed);
        world.status(HIGH).set_idle();
        world.hear(HIGH).expect("it lingers");
        // Nobody hears that it has gone on.
        world.status(HIGH).set_active();
        let news = world.round.at_deadline(&world.clients);
        world.run(news);
        assert_eq!(world.presence(HIGH), Presence::Active);
        assert_eq!(world.mode(last), GateMode::Closed);
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
        let mut settings = Settings::default();
        settings.default.fence_batch = 7;
        let meanwhile = |event| {
            if matches!(event, RosterEvent::Shared(..)) {
                high.set_idle();
            }
        };
        let now = world.now + Nanos(1);
        let news = News::Of([HIGH].into());
        let due = world
            .round
            .run(news, &settings, &mut world.clients, &meanwhile, || now);
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
        // And when it goes, a round about all sees that.
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
