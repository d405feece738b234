//! Doorbells that ring too often are not listened to for a while.
//!
//! Every ring costs a look at all clients' pages. A client that rings in a
//! tight loop must not take the control thread's time from the others; what
//! it says is still seen whenever anybody else rings, and at the heartbeat.

use std::collections::BTreeSet;

use xsched_common::units::Nanos;

use super::rate::Rate;
use crate::policy::ClientId;

/// Rings of one client. A service rings twice per burst that its linger does
/// not cover, so more than 1,000 such bursts a second are heard late.
pub(super) const RINGS: Rate = Rate {
    interval: Nanos::from_micros(500),
    burst: 1000,
};

/// How long a bell that rang too often is not listened to. In that time a
/// few rings' worth of the rate comes back.
const MUTED: Nanos = Nanos::from_millis(5);

/// The bells that are not listened to, and until when.
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
