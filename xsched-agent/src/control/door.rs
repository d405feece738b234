//! The joining door: what is spent on whom before somebody is a client.
//!
//! A connection costs its acceptance and one look at whose it is; beyond its
//! user's pace it is closed and the user is kept away for a while
//! ([`super::lockout`]). Within it, its process is identified and may say
//! hello; and only one that fits finds pages made for it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tracing::{debug, info, warn};
use xsched_common::Abi;
use xsched_common::gate::GateMode;
use xsched_common::join::Verdict;
use xsched_common::page::StatusPage;
use xsched_common::units::Nanos;

use super::RosterEvent;
use super::admission::{Guest, NoPlace};
use super::bells::Hearing;
use super::clients::Client;
use super::event_loop::EventLoop;
use super::identity::Visitor;
use super::join::{self, Knock};
use super::newcomers::{Handout, Joiner, Newcomer};
use super::pages::SharedPage;
use super::token::Token;
use super::vitals::Vitals;
use crate::clock::monotonic;
use crate::policy::{self, ClientId, Terms};

/// Connections accepted before the clients are looked at again.
const ACCEPTS_AT_ONCE: usize = 16;

impl EventLoop {
    pub(super) fn admit_guests(&mut self) {
        let mut flood = BTreeMap::<u32, Vec<OwnedFd>>::new();
        self.accept_some(&mut flood);
        for (uid, connections) in flood {
            self.aside.drop(uid, connections);
        }
    }

    /// Those of users beyond their pace go into `flood`, unanswered: they
    /// are many, and each costs as little as can be.
    fn accept_some(&mut self, flood: &mut BTreeMap<u32, Vec<OwnedFd>>) {
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
                    self.unlisten();
                    return;
                }
            };
            self.short_of_descriptors = false;
            self.admit_guest(connection, flood);
        }
    }

    /// Lets a connection in, whose process must say hello now.
    fn admit_guest(&mut self, connection: OwnedFd, flood: &mut BTreeMap<u32, Vec<OwnedFd>>) {
        let now = monotonic();
        let peer = match join::peer(connection.as_fd()) {
            Ok(peer) => peer,
            Err(e) => return self.refuse(self.own_uid, connection, &e),
        };
        let uid = peer.uid;
        let heard = match self.aside.is_behind(uid) {
            true => Err(NoPlace::Pace(uid)),
            false => self.admission.hear(uid, now),
        };
        if let Err(e) = heard {
            // The first is told why, and whoever is not kept away.
            let is_ours = uid == 0 || uid == self.own_uid;
            if is_ours || self.keep_away(uid, now) {
                return self.refuse(uid, connection, &e);
            }
            Vitals::count(&self.parts.vitals.joins_refused);
            flood.entry(uid).or_default().push(connection);
            return;
        }
        let visitor = match Visitor::of(connection.as_fd(), peer) {
            Ok(visitor) => visitor,
            Err(e) => return self.refuse(uid, connection, &e),
        };
        let id = self.fresh_id();
        if let Err(e) = self.watch(&connection, Token::Connection(id)) {
            return self.refuse(uid, connection, &e);
        }
        let guest = Guest {
            connection,
            visitor,
            since: now,
        };
        if let Some(evicted) = self.guests.admit(id, guest) {
            join::refuse(evicted.connection.as_fd(), Verdict::Busy);
            let uid = evicted.visitor.peer.uid;
            self.aside.hang_up(uid, evicted.connection);
        }
    }

    /// Whoever is refused runs as native and may try again.
    fn refuse(&mut self, uid: u32, connection: OwnedFd, why: &dyn std::fmt::Display) {
        join::refuse(connection.as_fd(), Verdict::Busy);
        self.aside.hang_up(uid, connection);
        Vitals::count(&self.parts.vitals.joins_refused);
        if self.may_complain(monotonic()) {
            warn!("a process could not join: {why}");
        }
    }

    /// Not for root and the agent's own user, who come in whatever the list
    /// says. Whether that is new.
    fn keep_away(&mut self, uid: u32, now: Nanos) -> bool {
        let is_new = self.lockout.shut(uid, now);
        if is_new {
            self.change_lock(now);
        }
        is_new
    }

    /// Lets in again whose time is up.
    pub(super) fn let_in_again(&mut self, now: Nanos) {
        let last = std::mem::replace(&mut self.unlocked, now);
        if self.lockout.has_ended(last, now) {
            self.change_lock(now);
        }
    }

    /// By a thread apart: the file system may wait.
    fn change_lock(&mut self, now: Nanos) {
        let Some(file) = self.parts.door.clone() else {
            return;
        };
        let users = self.lockout.list(now);
        self.aside.give(self.own_uid, move || {
            if let Err(e) = file.keep_away(&users) {
                debug!("nobody can be kept away from {}: {e}", file.0.display());
            }
        });
    }

    pub(super) fn hear_guest(&mut self, id: ClientId) {
        let Some(guest) = self.guests.get(id) else {
            return;
        };
        let knock = join::peek_hello(guest.connection.as_fd());
        if let Knock::Silent = knock {
            return;
        }
        let Some(guest) = self.guests.remove(id) else {
            return;
        };
        let uid = guest.visitor.peer.uid;
        match knock {
            Knock::Hello(hello) => match join::verdict(&hello) {
                Verdict::Accepted => self.welcome(id, guest, hello.abi),
                refusal => {
                    if self.may_complain(monotonic()) {
                        info!(
                            "refused a shim with ABI {} (this agent speaks {}): install the same version of both",
                            hello.abi,
                            xsched_common::ABI
                        );
                    }
                    join::refuse(guest.connection.as_fd(), refusal);
                    self.aside.hang_up(uid, guest.connection);
                }
            },
            Knock::Malformed(e) => {
                debug!("refused a connection: {e}");
                self.aside.hang_up(uid, guest.connection);
            }
            Knock::Silent | Knock::Closed => self.aside.hang_up(uid, guest.connection),
        }
    }

    fn welcome(&mut self, id: ClientId, guest: Guest, abi: Abi) {
        let uid = guest.visitor.peer.uid;
        let joiner = match guest.visitor.identify() {
            Ok(process) => Joiner { process, uid, abi },
            Err(e) => return self.refuse(uid, guest.connection, &e),
        };
        let clients = self.clients.values();
        let clients = clients.map(|client| (client.shared.uid, client.shared.process));
        let newcomers = self.newcomers.values();
        let newcomers = newcomers.map(|new| (new.joiner.uid, new.joiner.process));
        let taken = clients.chain(newcomers);
        if let Err(e) = self.admission.place(uid, joiner.process, taken) {
            return self.refuse(uid, guest.connection, &e);
        }
        let handout = match Handout::new(self.epoch, id, self.first_gate()) {
            Ok(handout) => handout,
            Err(e) => return self.refuse(uid, guest.connection, &e),
        };
        let newcomer = Newcomer {
            joiner,
            handout,
            connection: guest.connection,
            pidfd: guest.visitor.into_pidfd(),
        };
        if let Err(e) = self.hand_over(id, &newcomer) {
            self.forget_bell(&newcomer.handout.bell);
            self.refuse(uid, newcomer.connection, &e);
            return self.aside.drop(uid, (newcomer.handout, newcomer.pidfd));
        }
        self.newcomers.insert(id, newcomer, monotonic());
    }

    fn hand_over(&self, id: ClientId, newcomer: &Newcomer) -> io::Result<()> {
        let handout = &newcomer.handout;
        self.parts
            .passthrough
            .write_to(&handout.control, newcomer.joiner.abi);
        self.watch(&handout.bell, Token::Bell(id))?;
        self.watch(&newcomer.pidfd, Token::Death(id))?;
        join::welcome(newcomer.connection.as_fd(), handout, id, self.epoch)
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

    /// A newcomer has rung, so its page is mapped where it is to be written:
    /// it is sealed, by a thread apart. Until that is done it is not heard.
    pub(super) fn seal(&mut self, id: ClientId) {
        let Some((uid, draft)) = self.newcomers.take_draft(id) else {
            return;
        };
        if let Some(newcomer) = self.newcomers.get(id) {
            let _ = self.hear(&newcomer.handout.bell, id, Hearing::Muted);
        }
        let to_us = self.parts.handle.clone();
        self.aside.give(uid, move || to_us.sealed(id, draft.seal()));
    }

    /// Seals the pages of those who have not rung, and gives up those whose
    /// pages cannot be.
    pub(super) fn hurry_newcomers(&mut self, now: Nanos) {
        for id in self.newcomers.silent(now) {
            self.seal(id);
        }
        for id in self.newcomers.overdue(now) {
            self.part(id, "is not joined: its page could not be sealed in time");
        }
    }

    /// The newcomer is a client now.
    pub(super) fn settle_in(
        &mut self,
        id: ClientId,
        page: rustix::io::Result<SharedPage<StatusPage>>,
    ) {
        let page = match page {
            Ok(page) if self.newcomers.get(id).is_some() => page,
            Ok(page) => return self.aside.drop(self.own_uid, page),
            Err(e) => {
                debug!("a newcomer's page: {e}");
                return self.part(id, "is not joined: its page could not be sealed");
            }
        };
        let Some(newcomer) = self.newcomers.remove(id) else {
            return;
        };
        let client = Client::new(id, newcomer, page);
        let Joiner { process, uid, abi } = client.joiner;
        // Told anew: it may have changed.
        self.parts.passthrough.write_to(&client.shared.control, abi);
        if let Err(e) = self.hear(&client.bell, id, Hearing::Heard) {
            warn!("process {process} is not heard: {e}");
        }
        if self.journal.may_tell(uid, monotonic()) {
            info!("process {process} (uid {uid}) has joined");
        }
        (self.parts.roster)(RosterEvent::Joined(Arc::clone(&client.shared)));
        self.clients.insert(id, client);
        self.count_clients();
    }
}
