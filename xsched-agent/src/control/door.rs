//! The joining door: what is spent on whom before somebody is a client.
//!
//! A connection costs its acceptance and one look at whose it is; beyond its
//! user's pace it is closed and the user is kept away for a while
//! ([`super::lockout`]). Within it, it may say hello; and only of one that
//! fits is the process identified and are pages made, by a thread apart.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tracing::{debug, info, warn};
use xsched_common::handshake::{Hello, HelloResult};
use xsched_common::page::StatusPage;
use xsched_common::units::Nanos;
use xsched_host::clock::monotonic;
use xsched_host::readers::Tenant;
use xsched_policy::{ClientId, first_gate};

use super::RosterEvent;
use super::admission::{NoPlace, PendingConnection};
use super::clients::Client;
use super::doorbells::Hearing;
use super::event_loop::EventLoop;
use super::identity::{PeerProcess, Unidentified};
use super::join::{self, FirstPacket};
use super::newcomers::{Identified, Joiner, Newcomer};
use super::pages::SharedPage;
use super::stats::Stats;
use super::token::Token;

/// Connections accepted before the clients are looked at again.
const ACCEPTS_AT_ONCE: usize = 16;

impl EventLoop {
    pub(super) fn accept_connections(&mut self) {
        let mut flood = BTreeMap::<u32, Vec<OwnedFd>>::new();
        self.accept_some(&mut flood);
        for (uid, connections) in flood {
            self.aside.close(&Tenant::known_by(uid), connections);
        }
    }

    /// Those of users beyond their pace go into `flood`, unanswered: they
    /// are many, and each costs as little as can be.
    fn accept_some(&mut self, flood: &mut BTreeMap<u32, Vec<OwnedFd>>) {
        for _ in 0..ACCEPTS_AT_ONCE {
            let accepted = match self.aside.is_full() {
                true => Err(io::Error::other("too many connections wait to be closed")),
                false => join::accept(self.parts.listener.as_fd()),
            };
            let connection = match accepted {
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
            self.accept_connection(connection, flood);
        }
    }

    /// Lets a connection in, whose process must say hello now.
    fn accept_connection(&mut self, connection: OwnedFd, flood: &mut BTreeMap<u32, Vec<OwnedFd>>) {
        let now = monotonic();
        let peer = match join::peer(connection.as_fd()) {
            Ok(peer) => peer,
            Err(e) => return self.refuse(&Tenant::known_by(Tenant::NOBODY), connection, &e),
        };
        let uid = peer.uid;
        let tenant = Tenant::known_by(uid);
        let heard = match self.aside.is_behind(&tenant) {
            true => Err(NoPlace::Pace(uid)),
            false => self.admission.hear(uid, now),
        };
        if let Err(e) = heard {
            // The first is told why, and whoever is not kept away.
            let is_ours = uid == 0 || uid == self.own_uid;
            if is_ours || self.keep_away(uid, now) {
                return self.refuse(&tenant, connection, &e);
            }
            Stats::count(&self.parts.stats.joins_refused);
            flood.entry(uid).or_default().push(connection);
            return;
        }
        if self.aside.is_crowded() && !tenant.is_ours() {
            // Not this user's doing: it may try again, and is not kept away.
            return self.refuse(&tenant, connection, &"too much is left undone");
        }
        let peer_process = match PeerProcess::of(connection.as_fd(), peer) {
            Ok(peer_process) => peer_process,
            Err(e) => return self.refuse(&tenant, connection, &e),
        };
        let id = self.fresh_id();
        if let Err(e) = self.watch(&connection, Token::Connection(id)) {
            self.aside.drop(&tenant, peer_process);
            return self.refuse(&tenant, connection, &e);
        }
        let pending = PendingConnection {
            connection,
            peer_process,
            since: now,
        };
        if let Some(evicted) = self.pending.admit(id, pending) {
            join::refuse(evicted.connection.as_fd(), HelloResult::Busy);
            self.dismiss(evicted);
        }
    }

    /// Hangs up on one that is not answered any more.
    pub(super) fn dismiss(&mut self, pending: PendingConnection) {
        let tenant = Tenant::known_by(pending.peer_process.peer.uid);
        self.aside.hang_up(&tenant, pending.connection);
        self.aside.drop(&tenant, pending.peer_process);
    }

    /// Whoever is refused runs as native and may try again.
    fn refuse(&mut self, tenant: &Tenant, connection: OwnedFd, why: &dyn std::fmt::Display) {
        join::refuse(connection.as_fd(), HelloResult::Busy);
        self.aside.hang_up(tenant, connection);
        Stats::count(&self.parts.stats.joins_refused);
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

    /// Lets in again whose time is up, unless what it has left to be done
    /// would have it turned away at once.
    pub(super) fn let_in_again(&mut self, now: Nanos) {
        let last = std::mem::replace(&mut self.unlocked, now);
        let aside = &self.aside;
        let behind = |uid| aside.is_behind(&Tenant::known_by(uid));
        self.lockout.prolong(last, now, behind);
        if self.lockout.has_ended(last, now) {
            self.change_lock(now);
        }
    }

    /// By a thread apart: the file system may wait. The last list wins, since
    /// what is given there is done in order.
    fn change_lock(&mut self, now: Nanos) {
        let Some(file) = self.parts.door.clone() else {
            return;
        };
        let users = self.lockout.list(now);
        self.aside.give_own(move || {
            if let Err(e) = file.keep_away(&users) {
                debug!("nobody can be kept away from {}: {e}", file.0.display());
            }
        });
    }

    pub(super) fn read_hello(&mut self, id: ClientId) {
        let Some(pending) = self.pending.get(id) else {
            return;
        };
        let first_packet = join::peek_hello(pending.connection.as_fd());
        if let FirstPacket::Silent = first_packet {
            return;
        }
        let Some(pending) = self.pending.remove(id) else {
            return;
        };
        match first_packet {
            FirstPacket::Hello(hello) => match join::verdict(&hello) {
                HelloResult::Accepted => self.identify(id, pending, hello),
                refusal => {
                    if self.may_complain(monotonic()) {
                        info!(
                            "refused a shim with ABI {} (this agent speaks {}): install the same version of both",
                            hello.abi,
                            xsched_common::ABI
                        );
                    }
                    join::refuse(pending.connection.as_fd(), refusal);
                    self.dismiss(pending);
                }
            },
            FirstPacket::Malformed(e) => {
                debug!("refused a connection: {e}");
                self.dismiss(pending);
            }
            FirstPacket::Silent | FirstPacket::Closed => self.dismiss(pending),
        }
    }

    /// Has a thread apart find out which process it is and make its pages.
    fn identify(&mut self, id: ClientId, pending: PendingConnection, hello: Hello) {
        let again = match pending.peer_process.again() {
            Ok(again) => again,
            Err(e) => {
                let tenant = Tenant::known_by(pending.peer_process.peer.uid);
                self.aside.drop(&tenant, pending.peer_process);
                return self.refuse(&tenant, pending.connection, &e);
            }
        };
        let (to_us, epoch) = (self.parts.handle.clone(), self.epoch);
        self.aside.identify(again, move |peer_process, tenant| {
            to_us.identified(id, tenant, Identified::find(peer_process, epoch, id));
        });
        self.candidates.insert(id, pending, hello);
    }

    /// One that has said hello is identified, or cannot be.
    pub(super) fn welcome(
        &mut self,
        id: ClientId,
        tenant: Tenant,
        found: Result<Identified, Unidentified>,
    ) {
        let Some((pending, hello)) = self.candidates.remove(id) else {
            return self.aside.drop(&tenant, found);
        };
        let PendingConnection {
            connection,
            peer_process,
            ..
        } = pending;
        let Identified { process, handout } = match found {
            Ok(found) => found,
            Err(e) => {
                self.aside.drop(&tenant, peer_process);
                return self.refuse(&tenant, connection, &e);
            }
        };
        let present = self.clients.values().map(|client| client.shared.class());
        handout.begin_with(first_gate(present));
        let joiner = Joiner {
            process,
            uid: peer_process.peer.uid,
            tenant: Arc::new(tenant),
            abi: hello.abi,
            part: hello.part,
        };
        let newcomer = Newcomer {
            joiner,
            handout,
            connection,
            pidfd: peer_process.into_pidfd(),
        };
        if let Err(e) = self.find_place(&newcomer.joiner) {
            return self.turn_away(newcomer, &e);
        }
        if let Err(e) = self.hand_over(id, &newcomer) {
            self.forget_doorbell(&newcomer.handout.doorbell);
            return self.turn_away(newcomer, &e);
        }
        self.newcomers.insert(id, newcomer, monotonic());
    }

    fn find_place(&self, joiner: &Joiner) -> Result<(), NoPlace> {
        if self.aside.is_behind(&joiner.tenant) {
            return Err(NoPlace::Pace(joiner.uid));
        }
        let clients = self.clients.values().map(|client| &client.joiner);
        let newcomers = self.newcomers.values().map(|newcomer| &newcomer.joiner);
        self.admission.place(joiner, clients.chain(newcomers))
    }

    fn turn_away(&mut self, newcomer: Newcomer, why: &dyn std::fmt::Display) {
        let Newcomer {
            joiner,
            handout,
            connection,
            pidfd,
        } = newcomer;
        self.aside.drop(&joiner.tenant, (handout, pidfd));
        self.refuse(&joiner.tenant, connection, why);
    }

    fn hand_over(&self, id: ClientId, newcomer: &Newcomer) -> io::Result<()> {
        let handout = &newcomer.handout;
        self.parts
            .passthrough
            .write_to(&handout.control, newcomer.joiner.abi);
        self.watch(&handout.doorbell, Token::Doorbell(id))?;
        self.watch(&newcomer.pidfd, Token::Death(id))?;
        join::welcome(newcomer.connection.as_fd(), handout, id, self.epoch)
    }

    /// A newcomer has rung, so its page is mapped where it is to be written:
    /// it is sealed, by a thread apart. Until that is done it is not heard.
    pub(super) fn seal(&mut self, id: ClientId) {
        let Some((tenant, draft)) = self.newcomers.take_draft(id) else {
            return;
        };
        if let Some(newcomer) = self.newcomers.get(id) {
            let _ = self.hear(&newcomer.handout.doorbell, id, Hearing::Muted);
        }
        let to_us = self.parts.handle.clone();
        let whose = Arc::clone(&tenant);
        let seal = move || to_us.sealed(id, whose, draft.seal());
        self.aside.give(&tenant, seal);
    }

    /// Seals the pages of those who have not rung, and gives up those who
    /// could not be identified or whose pages could not be sealed.
    pub(super) fn hurry_newcomers(&mut self, now: Nanos) {
        for pending in self.candidates.overdue(now) {
            self.dismiss(pending);
        }
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
        tenant: &Tenant,
        page: rustix::io::Result<SharedPage<StatusPage>>,
    ) {
        let page = match page {
            Ok(page) if self.newcomers.get(id).is_some() => page,
            Ok(page) => return self.aside.drop(tenant, page),
            Err(e) => {
                debug!("a newcomer's page: {e}");
                return self.part(id, "is not joined: its page could not be sealed");
            }
        };
        let Some(newcomer) = self.newcomers.remove(id) else {
            return self.aside.drop(tenant, page);
        };
        let client = Client::new(id, newcomer, page);
        let Joiner {
            process, uid, abi, ..
        } = client.joiner;
        // Told anew: it may have changed.
        self.parts.passthrough.write_to(&client.shared.control, abi);
        if let Err(e) = self.hear(&client.doorbell, id, Hearing::Heard) {
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
