//! The control thread: epoll over the joining socket, the orders, and each
//! client's doorbell, connection and death.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed},
};
use std::sync::mpsc::Receiver;

use rustix::event::{Timespec, epoll};
use tracing::{debug, info, warn};
use xsched_common::Abi;
use xsched_common::gate::GateMode;
use xsched_common::join::Verdict;
use xsched_common::units::Nanos;

use super::admission::{Admission, Guest, Guests};
use super::bells::{Muted, RINGS};
use super::clients::{Client, Joiner};
use super::device;
use super::gates::{News, Round};
use super::identity::Visitor;
use super::join::{self, Knock};
use super::rate::{Meter, Rate};
use super::scheduling::{self, Scheduling};
use super::token::Token;
use super::vitals::Vitals;
use super::waiting;
use super::{Command, Passthrough, RosterEvent, Settlement};
use crate::clock::monotonic;
use crate::policy::{self, ClientId, Settings, Terms};
use crate::process::ProcessId;

/// Time between two heartbeats: five fit into a client's lease, so one lost
/// to scheduling is no harm.
const HEARTBEAT: Nanos = Nanos::from_millis(50);

/// Connections accepted before the clients are looked at again.
const ACCEPTS_AT_ONCE: usize = 16;

/// Refusals that are logged: a flood of them must not become one of lines.
const COMPLAINTS: Rate = Rate {
    interval: Nanos::from_secs(10),
    burst: 10,
};

/// Time between two looks for users who are gone.
const PRUNE: Nanos = Nanos::from_secs(10);

pub(super) struct Parts {
    pub listener: OwnedFd,
    pub bell: Arc<OwnedFd>,
    pub orders: Receiver<Command>,
    pub roster: Box<dyn Fn(RosterEvent) + Send>,
    pub settings: Settings,
    pub passthrough: Passthrough,
    pub scheduling: Scheduling,
    pub vitals: Arc<Vitals>,
    pub stop: Arc<AtomicBool>,
}

pub(super) struct EventLoop {
    parts: Parts,
    epoll: OwnedFd,
    epoch: u64,
    next_id: u64,
    clients: BTreeMap<ClientId, Client>,
    /// What has happened since the last round.
    news: News,
    guests: Guests,
    admission: Admission,
    muted: Muted,
    complaints: Meter,
    next_beat: Nanos,
    next_prune: Nanos,
    /// Whether the listener is watched: not while descriptors are short.
    listening: bool,
    /// Whether the last connection could not be accepted; said once.
    short_of_descriptors: bool,
}

impl EventLoop {
    pub fn new(parts: Parts) -> io::Result<EventLoop> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let now = monotonic();
        let event_loop = EventLoop {
            epoll,
            // Any two starts differ in it; zero is never used.
            epoch: now.0.max(1),
            next_id: 1,
            clients: BTreeMap::new(),
            news: News::OfAll,
            guests: Guests::default(),
            admission: Admission::new(rustix::process::geteuid().as_raw()),
            muted: Muted::default(),
            complaints: Meter::default(),
            next_beat: now,
            next_prune: now + PRUNE,
            listening: true,
            short_of_descriptors: false,
            parts,
        };
        event_loop.watch(&event_loop.parts.listener, Token::Listener)?;
        event_loop.watch(&*event_loop.parts.bell, Token::Orders)?;
        Ok(event_loop)
    }

    pub fn run(mut self) {
        // Lingers are as short as 100 us; the default slack is 50 us.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000));
        scheduling::apply(self.parts.scheduling);
        let mut round = Round::default();
        let mut events = Vec::with_capacity(64);
        let mut woken = monotonic();
        loop {
            self.beat();
            self.unmute();
            let deadline = round.run(
                std::mem::replace(&mut self.news, News::NONE),
                &self.parts.settings,
                &mut self.clients,
                &*self.parts.roster,
                monotonic,
            );
            if self.parts.stop.load(Acquire) {
                break;
            }
            let unmute = self.muted.next().unwrap_or(Nanos::MAX);
            let until = deadline
                .unwrap_or(Nanos::MAX)
                .min(self.next_beat)
                .min(unmute);
            let now = monotonic();
            self.parts.vitals.round(now.since(woken));
            let timeout = until.since(now);
            let timeout = Timespec {
                tv_sec: (timeout.0 / 1_000_000_000) as i64,
                tv_nsec: (timeout.0 % 1_000_000_000) as i64,
            };
            events.clear();
            match waiting::wait(&self.epoll, &mut events, &timeout) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => warn!("epoll: {e}"),
            }
            woken = monotonic();
            if woken >= until {
                self.news = News::OfAll;
            }
            for event in &events {
                self.handle(Token::unpack(event.data));
            }
        }
        for client in self.clients.values() {
            device::open_all(&client.shared);
        }
    }

    fn watch(&self, fd: impl AsFd, token: Token) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, fd, token.pack(), epoll::EventFlags::IN)
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Bell(id) => self.news.add(id),
            // Not one that only says hello: the heartbeat finds it.
            Token::Listener | Token::Guest(_) => {}
            Token::Orders | Token::Connection(_) | Token::Death(_) => self.news = News::OfAll,
        }
        match token {
            Token::Listener => self.admit_guests(),
            Token::Orders => self.obey(),
            Token::Guest(id) => self.hear_guest(id),
            Token::Bell(id) => self.hear_bell(id),
            Token::Connection(id) => self.hear_client(id),
            Token::Death(id) => self.part(id, "has exited"),
        }
    }

    fn beat(&mut self) {
        let now = monotonic();
        if now < self.next_beat {
            return;
        }
        let late = now.since(self.next_beat);
        self.parts.vitals.beats_late.record(late);
        self.next_beat = now + HEARTBEAT;
        for client in self.clients.values() {
            client.shared.control.heartbeat.fetch_add(1, Relaxed);
        }
        Vitals::count(&self.parts.vitals.beats);
        self.guests.prune(now);
        if now >= self.next_prune {
            self.next_prune = now + PRUNE;
            self.admission.prune(now);
        }
        if !self.listening {
            self.listening = self.watch(&self.parts.listener, Token::Listener).is_ok();
        }
    }

    /// Listens again to bells that have been quiet by force.
    fn unmute(&mut self) {
        let now = monotonic();
        while let Some(id) = self.muted.pop(now) {
            if let Some(client) = self.clients.get(&id)
                && let Err(e) = self.watch(&client.bell, Token::Bell(id))
            {
                warn!("process {} is not heard: {e}", client.shared.process);
            }
        }
    }

    fn hear_bell(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        drain(&client.bell);
        let now = monotonic();
        if client.rings.take(&RINGS, now) {
            return;
        }
        let process = client.shared.process;
        if epoll::delete(&self.epoll, &client.bell).is_ok() {
            self.muted.add(id, now);
            Vitals::count(&self.parts.vitals.bells_muted);
            if self.may_complain(now) {
                warn!("process {process} rings more than 2,000 times a second: it is heard late");
            }
        }
    }

    fn may_complain(&mut self, now: Nanos) -> bool {
        self.complaints.take(&COMPLAINTS, now)
    }

    fn admit_guests(&mut self) {
        for _ in 0..ACCEPTS_AT_ONCE {
            let connection = match join::accept(self.parts.listener.as_fd()) {
                Ok(Some(connection)) => connection,
                Ok(None) => return,
                Err(e) => {
                    // The connection stays pending and its event would come
                    // again at once: look again at the next heartbeat.
                    if !self.short_of_descriptors {
                        warn!("clients cannot connect: {e}; trying again");
                    }
                    self.short_of_descriptors = true;
                    self.listening = epoll::delete(&self.epoll, &self.parts.listener).is_err();
                    return;
                }
            };
            self.short_of_descriptors = false;
            self.admit_guest(connection);
        }
    }

    /// Lets a connection in, whose process must say hello now.
    fn admit_guest(&mut self, connection: OwnedFd) {
        let now = monotonic();
        let visitor = match Visitor::of(connection.as_fd()) {
            Ok(visitor) => visitor,
            Err(e) => return self.refuse(connection.as_fd(), &e),
        };
        if let Err(e) = self.admission.hear(visitor.peer.uid, now) {
            return self.refuse(connection.as_fd(), &e);
        }
        let id = self.fresh_id();
        if let Err(e) = self.watch(&connection, Token::Guest(id)) {
            return self.refuse(connection.as_fd(), &e);
        }
        let guest = Guest {
            connection,
            visitor,
            since: now,
        };
        if let Some(evicted) = self.guests.admit(id, guest) {
            join::refuse(evicted.connection.as_fd(), Verdict::Busy);
        }
    }

    /// Whoever is refused runs as native and may try again.
    fn refuse(&mut self, connection: BorrowedFd<'_>, why: &dyn std::fmt::Display) {
        join::refuse(connection, Verdict::Busy);
        Vitals::count(&self.parts.vitals.joins_refused);
        if self.may_complain(monotonic()) {
            warn!("a process could not join: {why}");
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn hear_guest(&mut self, id: u64) {
        let Some(guest) = self.guests.get(id) else {
            return;
        };
        match join::read_hello(guest.connection.as_fd()) {
            Knock::Silent => {}
            Knock::Closed => {
                self.guests.remove(id);
            }
            Knock::Malformed(e) => {
                debug!("refused a connection: {e}");
                self.guests.remove(id);
            }
            Knock::Hello(hello) => {
                let Some(guest) = self.guests.remove(id) else {
                    return;
                };
                match join::verdict(&hello) {
                    Verdict::Accepted => {}
                    refusal => {
                        if self.may_complain(monotonic()) {
                            info!(
                                "refused a shim with ABI {} (this agent speaks {}): install the same version of both",
                                hello.abi,
                                xsched_common::ABI
                            );
                        }
                        join::refuse(guest.connection.as_fd(), refusal);
                        return;
                    }
                }
                self.welcome(guest, hello.abi);
            }
        }
    }

    fn welcome(&mut self, guest: Guest, abi: Abi) {
        let uid = guest.visitor.peer.uid;
        let clients = self
            .clients
            .values()
            .map(|client| (client.uid, client.shared.process));
        let process = match guest.visitor.identify() {
            Ok(process) => process,
            Err(e) => return self.refuse(guest.connection.as_fd(), &e),
        };
        if let Err(e) = self.admission.place(uid, process, clients) {
            return self.refuse(guest.connection.as_fd(), &e);
        }
        // The joining fails halfway when descriptors or memory are short; the
        // copy is for the refusal.
        let connection = guest.connection.try_clone();
        if let Err(e) = self.join(process, guest, abi)
            && let Ok(connection) = connection
        {
            self.refuse(connection.as_fd(), &e);
        }
    }

    fn join(&mut self, process: ProcessId, guest: Guest, abi: Abi) -> io::Result<()> {
        let Guest {
            connection,
            visitor,
            since: _,
        } = guest;
        let peer = visitor.peer;
        epoll::delete(&self.epoll, &connection)?;
        let id = ClientId(self.fresh_id());
        let client = Client::new(
            self.epoch,
            id,
            Joiner {
                process,
                uid: peer.uid,
                abi,
                gate: self.first_gate(),
            },
            connection,
            visitor.into_pidfd(),
        )?;
        self.parts.passthrough.write_to(&client.shared.control, abi);
        if let Err(e) = self
            .watch_client(id, &client)
            .and_then(|()| join::welcome(&client, self.epoch))
        {
            self.unwatch(&client);
            return Err(e);
        }
        info!("process {process} (uid {}) has joined", peer.uid);
        (self.parts.roster)(RosterEvent::Joined(client.shared.clone()));
        self.clients.insert(id, client);
        self.count_clients();
        Ok(())
    }

    /// What a newcomer's gates allow until the first round that knows of its
    /// device. A program hands over its whole queue (256 kernels of 5 ms are
    /// 1.3 s) sooner than it can be decided about, so beside anybody of a class
    /// above the usual it starts at the cap of an unknown kernel time.
    fn first_gate(&self) -> GateMode {
        let usual = Terms::default().class;
        let above = |client: &Client| client.shared.terms().class > usual;
        match self.clients.values().any(above) {
            true => GateMode::Capped(policy::cap_for(Nanos::ZERO, None)),
            false => GateMode::Open,
        }
    }

    fn watch_client(&self, id: ClientId, client: &Client) -> io::Result<()> {
        self.watch(&client.bell, Token::Bell(id))?;
        self.watch(&client.connection, Token::Connection(id))?;
        self.watch(&client.pidfd, Token::Death(id))?;
        Ok(())
    }

    /// epoll forgets a descriptor when its last copy closes. The peer holds a
    /// copy of the bell: left in, a bell that nobody drains any more would
    /// wake this thread without end.
    fn unwatch(&self, client: &Client) {
        let _ = epoll::delete(&self.epoll, &client.bell);
    }

    /// A client has nothing to say after its hello: this is its end, or noise.
    fn hear_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        match join::read_hello(client.connection.as_fd()) {
            Knock::Closed => self.part(id, "has left"),
            Knock::Silent => {}
            Knock::Hello(_) | Knock::Malformed(_) => self.part(id, "sent noise after joining"),
        }
    }

    fn part(&mut self, id: ClientId, why: &str) {
        // A process that is still there runs free when its lease ends.
        if let Some(client) = self.clients.remove(&id) {
            self.unwatch(&client);
            self.count_clients();
            info!("process {} {why}", client.shared.process);
            (self.parts.roster)(RosterEvent::Left(id));
        }
    }

    fn count_clients(&self) {
        let clients = self.clients.len() as u64;
        self.parts.vitals.clients.store(clients, Relaxed);
    }

    fn obey(&mut self) {
        drain(&self.parts.bell);
        while let Ok(order) = self.parts.orders.try_recv() {
            match order {
                Command::Settle { settlements, then } => {
                    self.settle(&settlements);
                    then();
                }
                Command::Configure(settings) => self.parts.settings = settings,
                Command::Passthrough(passthrough) => {
                    let common = |client: &&Client| client.passthrough.is_none();
                    for client in self.clients.values().filter(common) {
                        passthrough.write_to(&client.shared.control, client.abi);
                    }
                    self.parts.passthrough = passthrough;
                }
            }
        }
    }

    fn settle(&mut self, settlements: &[Settlement]) {
        let by_process: HashMap<ProcessId, &Settlement> = settlements
            .iter()
            .map(|settlement| (settlement.process, settlement))
            .collect();
        for client in self.clients.values_mut() {
            let Some(settlement) = by_process.get(&client.shared.process) else {
                continue;
            };
            client.shared.set_terms(settlement.terms);
            client.shared.set_hold(settlement.hold);
            if client.passthrough != settlement.passthrough {
                client.passthrough = settlement.passthrough.clone();
                let passthrough = client.passthrough.as_deref();
                passthrough
                    .unwrap_or(&self.parts.passthrough)
                    .write_to(&client.shared.control, client.abi);
            }
        }
    }
}

fn drain(bell: &OwnedFd) {
    let mut count = [0; 8];
    let _ = rustix::io::read(bell, &mut count);
}
