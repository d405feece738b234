//! The control thread: epoll over the joining socket, the orders, and each
//! client's doorbell, connection and death.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::sync::mpsc::Receiver;

use rustix::event::{Timespec, epoll};
use tracing::{info, warn};
use xsched_common::handshake::Part;
use xsched_common::page::Ceilings;
use xsched_common::units::Nanos;
use xsched_host::clock::monotonic;
use xsched_host::process::ProcessId;
use xsched_policy::{ClientId, Owner, Strangers};

use super::admission::{Admission, PendingConnections};
use super::aside::Aside;
use super::clients::Client;
use super::device;
use super::doorbells::Muted;
use super::gates::{DecisionPass, News, Rules};
use super::journal::Journal;
use super::lockout::{DoorFile, Lockout};
use super::newcomers::{Candidates, Newcomers};
use super::rate::{Meter, Rate};
use super::scheduling::{self, Scheduling};
use super::stats::Stats;
use super::threads::ThreadClasses;
use super::token::Token;
use super::waiting;
use super::{AttrUpdate, Command, ControlHandle, Passthrough, RosterEvent};

/// Time between two heartbeats: five fit into a client's lease, so one lost
/// to scheduling is no harm.
const HEARTBEAT: Nanos = Nanos::from_millis(50);

/// Refusals that are logged: a flood of them must not become one of lines.
const COMPLAINTS: Rate = Rate {
    interval: Nanos::from_secs(10),
    burst: 10,
};

/// Time between two looks for users who are gone.
const PRUNE: Nanos = Nanos::from_secs(10);

pub(super) struct Parts {
    pub listener: OwnedFd,
    /// The listener's file, if it has one.
    pub door: Option<DoorFile>,
    /// Of this thread, for those that work for it.
    pub handle: ControlHandle,
    pub orders: Receiver<Command>,
    pub roster: Box<dyn Fn(RosterEvent) + Send>,
    pub rules: Rules,
    pub passthrough: Passthrough,
    pub scheduling: Scheduling,
    pub stats: Arc<Stats>,
    pub stop: Arc<AtomicBool>,
}

pub(super) struct EventLoop {
    pub(super) parts: Parts,
    pub(super) epoll: OwnedFd,
    pub(super) epoch: u64,
    /// The agent's user.
    pub(super) own_uid: u32,
    next_id: u64,
    pub(super) clients: BTreeMap<ClientId, Client>,
    pub(super) candidates: Candidates,
    pub(super) newcomers: Newcomers,
    /// What has happened since the last pass.
    pub(super) news: News,
    pub(super) pending: PendingConnections,
    pub(super) admission: Admission,
    pub(super) lockout: Lockout,
    /// When it was last looked whose lockout is over.
    pub(super) unlocked: Nanos,
    pub(super) aside: Aside,
    pub(super) muted: Muted,
    pub(super) journal: Journal,
    complaints: Meter,
    next_beat: Nanos,
    next_prune: Nanos,
    /// Whether the listener is watched: not while descriptors are short.
    listening: bool,
    /// Whether the last connection could not be accepted; said once.
    pub(super) short_of_descriptors: bool,
}

impl EventLoop {
    pub fn new(parts: Parts) -> io::Result<EventLoop> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let now = monotonic();
        let own_uid = rustix::process::geteuid().as_raw();
        let event_loop = EventLoop {
            epoll,
            // Any two starts differ in it; zero is never used.
            epoch: now.0.max(1),
            next_id: 1,
            own_uid,
            clients: BTreeMap::new(),
            candidates: Candidates::default(),
            newcomers: Newcomers::default(),
            news: News::OfAll,
            pending: PendingConnections::default(),
            admission: Admission::new(own_uid),
            lockout: Lockout::default(),
            unlocked: now,
            aside: Aside::start(own_uid)?,
            muted: Muted::default(),
            journal: Journal::new(Journal::LINES),
            complaints: Meter::default(),
            next_beat: now,
            next_prune: now + PRUNE,
            listening: true,
            short_of_descriptors: false,
            parts,
        };
        event_loop.listen()?;
        event_loop.watch(&*event_loop.parts.handle.doorbell, Token::Orders)?;
        Ok(event_loop)
    }

    pub fn run(mut self) {
        // Lingers are as short as 100 us; the default slack is 50 us.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000));
        scheduling::apply(self.parts.scheduling);
        let mut pass = DecisionPass::default();
        let mut events = Vec::with_capacity(64);
        let mut woken = monotonic();
        loop {
            self.beat();
            self.unmute();
            if self.parts.stats.opened.swap(false, AcqRel) {
                // By the watchdog, while this thread stood still.
                pass.mistrust();
                self.news = News::OfAll;
            }
            pass.strangers = match self.parts.stats.strangers.load(Relaxed) {
                0 => Strangers::None,
                _ => Strangers::AtWork,
            };
            let deadline = pass.run(
                std::mem::replace(&mut self.news, News::NONE),
                &self.parts.rules,
                &mut self.clients,
                &*self.parts.roster,
                monotonic,
            );
            for id in pass.crowded() {
                if let Some(client) = self.clients.get(&id) {
                    let shared = Arc::clone(&client.shared);
                    let wake = move || device::wake_rest(&shared);
                    self.aside.give(&client.joiner.tenant, wake);
                }
            }
            if self.parts.stop.load(Acquire) || self.parts.stats.ended.load(Acquire) {
                break;
            }
            let unmute = self.muted.next().unwrap_or(Nanos::MAX);
            let until = deadline
                .unwrap_or(Nanos::MAX)
                .min(self.next_beat)
                .min(unmute);
            let now = monotonic();
            self.parts.stats.pass(now.since(woken));
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
                self.handle(Token::unpack(event.data), event.flags);
            }
        }
        for client in self.clients.values() {
            device::open_all(&client.shared.control);
        }
        for newcomer in self.newcomers.values() {
            device::open_all(&newcomer.handout.control);
        }
        if let Some(door) = &self.parts.door {
            // One that cannot be changed keeps nobody away.
            let _ = door.keep_away(&[]);
        }
    }

    /// Tells once of whatever happens, whether it is seen to or not.
    pub(super) fn watch(&self, fd: impl AsFd, token: Token) -> rustix::io::Result<()> {
        use epoll::EventFlags as Flags;
        let events = Flags::IN | Flags::RDHUP | Flags::ET;
        epoll::add(&self.epoll, fd, token.pack(), events)
    }

    /// Tells of connections for as long as there are any.
    fn listen(&self) -> rustix::io::Result<()> {
        let (listener, token) = (&self.parts.listener, Token::Listener.pack());
        epoll::add(&self.epoll, listener, token, epoll::EventFlags::IN)
    }

    /// Until the next heartbeat.
    pub(super) fn unlisten(&mut self) {
        self.listening = epoll::delete(&self.epoll, &self.parts.listener).is_err();
    }

    fn handle(&mut self, token: Token, flags: epoll::EventFlags) {
        match token {
            Token::Listener => self.accept_connections(),
            Token::Orders => {
                self.news = News::OfAll;
                self.obey();
            }
            Token::Doorbell(id) => self.hear_doorbell(id),
            // One that only says hello is found by the heartbeat.
            Token::Connection(id) if self.pending.get(id).is_some() => self.read_hello(id),
            Token::Connection(id) => {
                self.news = News::OfAll;
                self.hear_client(id, flags);
            }
            Token::Death(id) => {
                self.news = News::OfAll;
                self.part(id, "has exited");
            }
        }
    }

    fn beat(&mut self) {
        let now = monotonic();
        if now < self.next_beat {
            return;
        }
        let late = now.since(self.next_beat);
        self.parts.stats.beats_late.record(late);
        self.next_beat = now + HEARTBEAT;
        self.parts.stats.beat_due.store(self.next_beat.0, Relaxed);
        for client in self.clients.values() {
            client.shared.control.heartbeat.fetch_add(1, Relaxed);
        }
        for newcomer in self.newcomers.values() {
            newcomer.handout.control.heartbeat.fetch_add(1, Relaxed);
        }
        self.parts.stats.beats.beat();
        for pending in self.pending.prune(now) {
            self.dismiss(pending);
        }
        self.hurry_newcomers(now);
        self.let_in_again(now);
        if now >= self.next_prune {
            self.next_prune = now + PRUNE;
            self.admission.prune(now);
            self.aside.prune();
            for (uid, lines) in self.journal.untold(now) {
                info!("{lines} more times processes of user {uid} have joined or left");
            }
        }
        if !self.listening {
            self.listening = self.listen().is_ok();
        }
    }

    pub(super) fn fresh_id(&mut self) -> ClientId {
        self.next_id += 1;
        ClientId(self.next_id)
    }

    pub(super) fn may_complain(&mut self, now: Nanos) -> bool {
        self.complaints.take(&COMPLAINTS, now)
    }

    /// A client has nothing to say after its hello: this is its end, or noise,
    /// which is not even read.
    fn hear_client(&mut self, id: ClientId, flags: epoll::EventFlags) {
        use epoll::EventFlags as Flags;
        match flags.intersects(Flags::HUP | Flags::RDHUP | Flags::ERR) {
            true => self.part(id, "has left"),
            false => self.part(id, "sent noise after joining"),
        }
    }

    /// A process that is still there runs free when its lease ends.
    pub(super) fn part(&mut self, id: ClientId, why: &str) {
        let joiner = if let Some(client) = self.clients.remove(&id) {
            self.forget_doorbell(&client.doorbell);
            self.count_clients();
            (self.parts.roster)(RosterEvent::Left(id));
            let joiner = client.joiner.clone();
            let shared = Arc::clone(&client.shared);
            self.aside.drop(&joiner.tenant, client);
            self.aside.retire(&joiner.tenant, shared);
            joiner
        } else if let Some(newcomer) = self.newcomers.remove(id) {
            self.forget_doorbell(&newcomer.handout.doorbell);
            let joiner = newcomer.joiner.clone();
            self.aside.drop(&joiner.tenant, newcomer);
            joiner
        } else {
            if let Some((pending, _)) = self.candidates.remove(id) {
                self.dismiss(pending);
            }
            return;
        };
        if self.journal.may_tell(joiner.uid, monotonic()) {
            info!("process {} {why}", joiner.process);
        }
    }

    pub(super) fn count_clients(&self) {
        let clients = self.clients.len() as u64;
        self.parts.stats.clients.store(clients, Relaxed);
    }

    fn obey(&mut self) {
        while let Ok(order) = self.parts.orders.try_recv() {
            // There may be thousands, and clients live by the heart.
            self.beat();
            match order {
                Command::Settle { updates, then } => {
                    self.apply(&updates);
                    then();
                }
                Command::Configure(settings) => self.parts.rules.settings = settings,
                Command::TakeTurns(processes) => self.parts.rules.in_turns = processes,
                Command::Passthrough(passthrough) => {
                    let common = |client: &&Client| client.passthrough.is_none();
                    for client in self.clients.values().filter(common) {
                        passthrough.write_to(&client.shared.control, client.joiner.abi);
                    }
                    self.parts.passthrough = passthrough;
                }
                Command::Identified(id, tenant, found) => self.welcome(id, tenant, found),
                Command::Sealed(id, tenant, page) => self.settle_in(id, &tenant, page),
            }
        }
    }

    fn apply(&mut self, updates: &[AttrUpdate]) {
        let by_process: HashMap<ProcessId, &AttrUpdate> = updates
            .iter()
            .map(|update| (update.process, update))
            .collect();
        for client in self.clients.values_mut() {
            let Some(update) = by_process.get(&client.shared.process) else {
                continue;
            };
            let (attr, hold) = update.of(client.shared.part);
            client.shared.set_attr(attr);
            client.shared.set_hold(hold);
            if client.shared.part == Part::Process {
                let ThreadClasses {
                    rules,
                    hints,
                    hints_up_to,
                } = &*update.threads;
                let ceilings = Ceilings {
                    of_hints: *hints_up_to,
                    of_all: update.highest,
                };
                let control = &client.shared.control;
                control.threads.write(rules, *hints, ceilings);
                let queues = update.queue_priority as u32;
                control.queue_priority.store(queues, Relaxed);
            }
            client.owner = Owner::of(client.joiner.payer(), update.weight_rule);
            if client.passthrough != update.passthrough {
                client.passthrough = update.passthrough.clone();
                let passthrough = client.passthrough.as_deref();
                passthrough
                    .unwrap_or(&self.parts.passthrough)
                    .write_to(&client.shared.control, client.joiner.abi);
            }
        }
    }
}
