//! Doorbells: heard without being read, and not listened to for a while if
//! they ring too often.
//!
//! A doorbell is an open file that its client shares: the client can empty
//! it, fill it, and clear its O_NONBLOCK, so reading it may wait for ever.
//! Nobody needs to: an edge-triggered epoll tells of every write to an
//! eventfd, read or not (epoll(7); Linux, fs/eventfd.c), and the count of
//! 2^64 - 2 rings is a client's own to exhaust. One that empties it unheard
//! has not rung.
//!
//! Every ring costs a look at its client's page. A client that rings in a
//! tight loop must not take the control thread's time from the others; what
//! it says is still seen at the heartbeat.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::epoll;
use tracing::warn;
use xsched_common::units::Nanos;
use xsched_host::clock::monotonic;
use xsched_policy::ClientId;

use super::event_loop::EventLoop;
use super::rate::Rate;
use super::stats::Stats;
use super::token::Token;

/// Rings of one client. A service rings twice per burst that its linger does
/// not cover, so more than 1,000 such bursts a second are heard late.
pub(super) const RINGS: Rate = Rate {
    interval: Nanos::from_micros(500),
    burst: 1000,
};

/// How long a doorbell that rang too often is not listened to. In that time a
/// few rings' worth of the rate comes back.
const MUTED: Nanos = Nanos::from_millis(5);

/// The doorbells that are not listened to, and until when.
#[derive(Default)]
pub(super) struct Muted {
    until: BTreeSet<(Nanos, ClientId)>,
}

impl Muted {
    /// Not listened to from now on.
    pub fn add(&mut self, id: ClientId, now: Nanos) {
        self.until.insert((now + MUTED, id));
    }

    /// When the next is listened to again.
    pub fn next(&self) -> Option<Nanos> {
        self.until.first().map(|(until, _)| *until)
    }

    /// One that is to be listened to again, if its time has come.
    pub fn pop(&mut self, now: Nanos) -> Option<ClientId> {
        self.next().filter(|until| *until <= now)?;
        self.until.pop_first().map(|(_, id)| id)
    }
}

/// Whether a doorbell's rings wake the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// They do; one that has rung before does so at once.
    Heard,
    /// They cost nothing here: the kernel drops them.
    Muted,
}

impl EventLoop {
    /// Changes whether a doorbell is heard. Takes no lock that its client can
    /// hold, as removing it from the epoll would.
    pub(super) fn hear(
        &self,
        doorbell: &OwnedFd,
        id: ClientId,
        hearing: Hearing,
    ) -> rustix::io::Result<()> {
        let events = match hearing {
            Hearing::Heard => epoll::EventFlags::IN | epoll::EventFlags::ET,
            Hearing::Muted => epoll::EventFlags::ET,
        };
        epoll::modify(
            &self.epoll,
            doorbell.as_fd(),
            Token::Doorbell(id).pack(),
            events,
        )
    }

    /// epoll forgets a descriptor when its last copy closes, and the peer
    /// holds a copy.
    pub(super) fn forget_doorbell(&self, doorbell: &OwnedFd) {
        let _ = epoll::delete(&self.epoll, doorbell);
    }

    pub(super) fn hear_doorbell(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return self.seal(id);
        };
        self.news.add(id);
        let now = monotonic();
        if client.rings.take(&RINGS, now) {
            return;
        }
        let process = client.shared.process;
        if let Some(client) = self.clients.get(&id)
            && self.hear(&client.doorbell, id, Hearing::Muted).is_ok()
        {
            self.muted.add(id, now);
            Stats::count(&self.parts.stats.bells_muted);
            if self.may_complain(now) {
                warn!("process {process} rings more than 2,000 times a second: it is heard late");
            }
        }
    }

    /// Listens again to doorbells that have been quiet by force.
    pub(super) fn unmute(&mut self) {
        let now = monotonic();
        while let Some(id) = self.muted.pop(now) {
            if let Some(client) = self.clients.get(&id)
                && let Err(e) = self.hear(&client.doorbell, id, Hearing::Heard)
            {
                warn!("process {} is not heard: {e}", client.shared.process);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_turn_and_not_before_their_time() {
        let mut muted = Muted::default();
        let now = Nanos::from_secs(1);
        muted.add(ClientId(2), now);
        muted.add(ClientId(1), now + Nanos(1));
        assert_eq!(muted.next(), Some(now + MUTED));
        assert_eq!(muted.pop(now), None);
        assert_eq!(muted.pop(now + MUTED), Some(ClientId(2)));
        assert_eq!(muted.pop(now + MUTED), None);
        assert_eq!(muted.pop(now + MUTED + Nanos(1)), Some(ClientId(1)));
        assert_eq!(muted.next(), None);
    }
}
