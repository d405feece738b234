//! The control thread: epoll over the joining socket, the orders, and each
//! client's doorbell, connection and death.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed},
};
use std::sync::mpsc::{Receiver, Sender};

use rustix::event::{Timespec, epoll};
use rustix::process::{Pid, PidfdFlags};
use tracing::{debug, info, warn};
use xsched_common::gate::GateMode;
use xsched_common::join::Verdict;
use xsched_common::units::{Class, Nanos};

use super::classes;
use super::clients::Client;
use super::gates::{self, Round};
use super::join::{self, Knock};
use super::token::Token;
use super::{ClassTable, Command, LoopStats, Outcome, Passthrough, Right, RosterEvent};
use crate::clock::monotonic;
use crate::policy::{ClientId, Settings, Terms};
use crate::process::ProcessId;

/// Time between two heartbeats: five fit into a client's lease, so one lost
/// to scheduling is no harm.
const HEARTBEAT: Nanos = Nanos::from_millis(50);

/// Connections that have not said hello yet; the oldest make room for more,
/// since a shim says hello at once. Each lives for [`HELLO_TIMEOUT`] at most.
const MAX_GUESTS: usize = 64;
const HELLO_TIMEOUT: Nanos = Nanos::from_secs(1);

/// Clients that can be joined at once: bounds descriptors and memory.
const MAX_CLIENTS: usize = 4096;

/// Times that one process can be joined at once: it has one shim, or a few
/// copies of it.
const MAX_PER_PROCESS: usize = 8;

/// Time between two looks for dead processes in the class table.
const PRUNE: Nanos = Nanos::from_secs(10);

pub(super) struct Parts {
    pub listener: OwnedFd,
    pub bell: Arc<OwnedFd>,
    pub orders: Receiver<Command>,
    pub roster: Sender<RosterEvent>,
    pub settings: Settings,
    pub passthrough: Passthrough,
    pub stats: Arc<LoopStats>,
    pub stop: Arc<AtomicBool>,
}

pub(super) struct EventLoop {
    parts: Parts,
    epoll: OwnedFd,
    epoch: u64,
    next_id: u64,
    clients: BTreeMap<ClientId, Client>,
    guests: BTreeMap<u64, Guest>,
    classes: ClassTable,
    next_beat: Nanos,
    next_prune: Nanos,
    /// Whether the listener is watched: not while descriptors are short.
    listening: bool,
    /// Whether the last connection could not be accepted; said once.
    short_of_descriptors: bool,
}

struct Guest {
    connection: OwnedFd,
    since: Nanos,
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
            guests: BTreeMap::new(),
            classes: ClassTable::default(),
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
        let mut round = Round::default();
        let mut events = Vec::with_capacity(64);
        loop {
            self.beat();
            self.parts.stats.count_round();
            let deadline = round.run(&self.parts.settings, &mut self.clients, monotonic);
            if self.parts.stop.load(Acquire) {
                break;
            }
            let until = deadline.unwrap_or(Nanos::MAX).min(self.next_beat);
            let timeout = until.since(monotonic());
            let timeout = Timespec {
                tv_sec: (timeout.0 / 1_000_000_000) as i64,
                tv_nsec: (timeout.0 % 1_000_000_000) as i64,
            };
            events.clear();
            let waited = epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timeout),
            );
            match waited {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => warn!("epoll: {e}"),
            }
            for event in &events {
                self.handle(Token::unpack(event.data));
            }
        }
        for client in self.clients.values() {
            for control in &client.shared.control.devices {
                gates::set_mode(control, GateMode::Open);
            }
        }
    }

    fn watch(&self, fd: impl AsFd, token: Token) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, fd, token.pack(), epoll::EventFlags::IN)
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Listener => self.admit_guests(),
            Token::Orders => self.obey(),
            Token::Guest(id) => self.hear_guest(id),
            Token::Bell(id) => {
                if let Some(client) = self.clients.get(&id) {
                    drain(&client.bell);
                }
            }
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
        self.parts.stats.heartbeat_late.record(late);
        self.next_beat = now + HEARTBEAT;
        for client in self.clients.values() {
            client.shared.control.heartbeat.fetch_add(1, Relaxed);
        }
        self.guests
            .retain(|_, guest| now.since(guest.since) < HELLO_TIMEOUT);
        if now >= self.next_prune {
            self.next_prune = now + PRUNE;
            let clients = &self.clients;
            self.classes.prune(|process| {
                clients
                    .values()
                    .any(|client| client.lineage.contains(&process))
            });
        }
        if !self.listening {
            self.listening = self.watch(&self.parts.listener, Token::Listener).is_ok();
        }
    }

    fn admit_guests(&mut self) {
        loop {
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
            if self.clients.len() >= MAX_CLIENTS {
                join::refuse(connection.as_fd(), Verdict::Busy);
                continue;
            }
            if self.guests.len() >= MAX_GUESTS
                && let Some((_, oldest)) = self.guests.pop_first()
            {
                join::refuse(oldest.connection.as_fd(), Verdict::Busy);
            }
            let id = self.fresh_id();
            match self.watch(&connection, Token::Guest(id)) {
                Ok(()) => {
                    self.guests.insert(
                        id,
                        Guest {
                            connection,
                            since: monotonic(),
                        },
                    );
                }
                Err(e) => warn!("a client could not be watched: {e}"),
            }
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn hear_guest(&mut self, id: u64) {
        let Some(guest) = self.guests.get(&id) else {
            return;
        };
        match join::read_hello(guest.connection.as_fd()) {
            Knock::Silent => {}
            Knock::Closed => {
                self.guests.remove(&id);
            }
            Knock::Malformed(e) => {
                debug!("refused a connection: {e}");
                self.guests.remove(&id);
            }
            Knock::Hello(hello) => {
                let Some(guest) = self.guests.remove(&id) else {
                    return;
                };
                match join::verdict(&hello) {
                    Verdict::Accepted => {}
                    refusal => {
                        info!(
                            "refused a shim with ABI {} (this agent speaks {}): install the same version of both",
                            hello.abi,
                            xsched_common::ABI
                        );
                        join::refuse(guest.connection.as_fd(), refusal);
                        return;
                    }
                }
                if let Err(e) = self.join(guest.connection) {
                    warn!("a client could not join: {e}");
                }
            }
        }
    }

    fn join(&mut self, connection: OwnedFd) -> io::Result<()> {
        let peer = join::peer(connection.as_fd())?;
        let process = match ProcessId::of(peer.pid) {
            Ok(process) => process,
            Err(e) => {
                join::refuse(connection.as_fd(), Verdict::Busy);
                return Err(io::Error::other(e));
            }
        };
        let of_this_process = |client: &&Client| client.shared.process == process;
        if self.clients.values().filter(of_this_process).count() >= MAX_PER_PROCESS {
            join::refuse(connection.as_fd(), Verdict::Busy);
            return Err(io::Error::other(format!(
                "process {process} has joined {MAX_PER_PROCESS} times already"
            )));
        }
        epoll::delete(&self.epoll, &connection)?;
        let pidfd = Pid::from_raw(peer.pid as i32)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).ok());
        let id = ClientId(self.fresh_id());
        let lineage: Vec<ProcessId> = classes::lineage(process).collect();
        let class = self.classes.of_lineage(&lineage);
        let client = Client::new(
            self.epoch,
            id,
            lineage,
            Terms::of_class(class),
            connection,
            pidfd,
        )?;
        self.parts
            .passthrough
            .write_to(&client.shared.control.passthrough);
        if let Err(e) = self
            .watch_client(id, &client)
            .and_then(|()| join::welcome(&client, self.epoch))
        {
            self.unwatch(&client);
            return Err(e);
        }
        info!(
            "process {process} (uid {}) has joined, class {class}",
            peer.uid
        );
        let _ = self
            .parts
            .roster
            .send(RosterEvent::Joined(client.shared.clone()));
        self.clients.insert(id, client);
        Ok(())
    }

    fn watch_client(&self, id: ClientId, client: &Client) -> io::Result<()> {
        self.watch(&client.bell, Token::Bell(id))?;
        self.watch(&client.connection, Token::Connection(id))?;
        if let Some(pidfd) = &client.pidfd {
            self.watch(pidfd, Token::Death(id))?;
        }
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
            info!("process {} {why}", client.shared.process);
            let _ = self.parts.roster.send(RosterEvent::Left(id));
        }
    }

    fn obey(&mut self) {
        drain(&self.parts.bell);
        while let Ok(order) = self.parts.orders.try_recv() {
            match order {
                Command::SetClass {
                    process,
                    class,
                    right,
                    reply,
                } => reply(self.set_class(process, class, right)),
                Command::Configure(settings) => self.parts.settings = settings,
            }
        }
    }

    fn set_class(&mut self, process: ProcessId, class: Class, right: Right) -> Outcome {
        let itself = |client: &&Client| client.shared.process == process;
        let joined = self.clients.values().find(itself);
        let from = joined.map_or_else(
            || self.classes.resolve(process),
            |client| client.shared.class(),
        );
        if right == Right::Lower && class > from {
            return Outcome::WouldRaise { from };
        }
        self.classes.give(process, class);
        let _ = self
            .parts
            .roster
            .send(RosterEvent::ClassGiven(process, class));
        for client in self.clients.values() {
            if client.lineage.contains(&process) {
                client.shared.set_terms(Terms {
                    class: self.classes.of_lineage(&client.lineage),
                    ..client.shared.terms()
                });
            }
        }
        match joined {
            Some(_) => Outcome::Applied,
            None => Outcome::Noted,
        }
    }
}

fn drain(bell: &OwnedFd) {
    let mut count = [0; 8];
    let _ = rustix::io::read(bell, &mut count);
}
