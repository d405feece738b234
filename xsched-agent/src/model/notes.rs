//! What the model notes as events.

use xsched_common::api::{EventKind, SloState};
use xsched_common::units::Nanos;
use xsched_policy::{ClientId, SloVerdict};

use super::{Model, targets};
use crate::control::ClientShared;
use crate::events::Event;

/// Time between two events about drops: they come in floods.
const DROPS_NOTED_EVERY: Nanos = Nanos::from_secs(10);

/// Time between two events about those that were not told.
const UNTOLD_NOTED_EVERY: Nanos = Nanos::from_secs(60);

/// Drops that an event has told of.
#[derive(Default)]
pub(super) struct DropsNoted {
    total: u64,
    again: Nanos,
}

impl Model {
    /// An event when a target goes out of reach, and when it is met again.
    pub(super) fn note_target(&mut self, id: ClientId, verdict: SloVerdict) {
        let before = self.targets.insert(id, verdict).map(|before| before.state);
        let Some(client) = self.clients.get(&id).cloned() else {
            self.targets.remove(&id);
            return;
        };
        let out_of_reach = |state| state == Some(SloState::Impossible);
        let text = match (out_of_reach(before), out_of_reach(Some(verdict.state))) {
            (false, true) => format!(
                "cannot reach its latency target: {}",
                targets::reason(&verdict, self.blame(client.process).as_ref())
            ),
            (true, false) => "may reach its latency target again".to_owned(),
            _ => return,
        };
        self.note_client(EventKind::Slo, &client, &text);
    }

    /// One user's processes may come and go all the time.
    pub(super) fn note_coming(&mut self, kind: EventKind, client: &ClientShared, text: &str) {
        if self
            .comings
            .may_tell(client.uid, xsched_host::clock::monotonic())
        {
            self.note_client(kind, client, text);
        }
    }

    /// Says once what [`Model::note_coming`] did not.
    pub(super) fn note_untold(&mut self, now: Nanos) {
        if now < self.untold_noted {
            return;
        }
        self.untold_noted = now + UNTOLD_NOTED_EVERY;
        for (uid, times) in self.comings.untold(now) {
            let text = format!("processes of user {uid} have joined or left {times} more times");
            self.log.note(Event::new(EventKind::Joined, text));
        }
    }

    pub(super) fn note_client(&mut self, kind: EventKind, client: &ClientShared, text: &str) {
        let pid = client.process.pid;
        let known = self
            .processes
            .get(&client.process)
            .map(|p| p.command.clone());
        let command = known.or_else(|| Some(xsched_host::process::stat(pid).ok()?.comm));
        let text = match command {
            Some(command) => format!("{command} {text}"),
            None => text.to_owned(),
        };
        self.log.note(Event::new(kind, text).about(pid));
    }

    pub(super) fn note_drops(&mut self, now: Nanos) {
        let new = self.drops.total.saturating_sub(self.drops_noted.total);
        if new == 0 || now < self.drops_noted.again {
            return;
        }
        self.drops_noted = DropsNoted {
            total: self.drops.total,
            again: now + DROPS_NOTED_EVERY,
        };
        let reasons: Vec<&str> = self
            .drops
            .by_reason
            .iter()
            .map(|drop| drop.reason.as_str())
            .collect();
        let text = match new {
            1 => "1 event was not counted".to_owned(),
            n => format!("{n} events were not counted"),
        };
        let text = format!("{text} ({})", reasons.join(", "));
        self.log.note(Event::new(EventKind::Dropped, text));
    }
}
