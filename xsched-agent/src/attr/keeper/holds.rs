//! Boosts and suspensions: whose counts for whom, who may end it, and that
//! each ends by itself.

use tracing::info;
use xsched_common::api::{EventKind, Override as OverrideKind};
use xsched_common::units::Nanos;
use xsched_host::clock::monotonic;
use xsched_host::process::ProcessId;
use xsched_policy::Override;

use super::Keeper;
use crate::attr::given::Right;
use crate::attr::{Ordered, Refused};
use crate::events::Event;

/// A boost or suspension, and who began it.
#[derive(Clone, Debug)]
pub(in crate::attr) struct OverrideGiven {
    pub hold: Override,
    pub right: Right,
    pub by: String,
}

impl Keeper {
    pub(super) fn hold(&mut self, ordered: Ordered, hold: Option<Override>) -> Result<(), Refused> {
        let Ordered { process, right, by } = ordered;
        self.make_known(process, right)?;
        let before = self.hold_of(process);
        // Nor may a user end what others of an ancestor's children have, too.
        if let Some((holder, before)) = &before
            && right != Right::Full
            && before.right == Right::Full
            && (before.hold.kind == OverrideKind::Suspended
                || (hold.is_none() && *holder != process))
        {
            return Err(Refused::HeldByOther {
                kind: before.hold.kind,
                by: before.by.clone(),
            });
        }
        let holder = match hold {
            Some(hold) => {
                self.holds
                    .insert(process, OverrideGiven { hold, right, by });
                process
            }
            // It may be an ancestor's: everybody whom it holds goes on.
            None => {
                let holder = before.map_or(process, |(holder, _)| holder);
                self.holds.remove(&holder);
                holder
            }
        };
        self.update(|ancestry| ancestry.contains(&holder));
        Ok(())
    }

    /// The nearest hold on a process or its ancestors that counts for it, and
    /// whose it is.
    pub(super) fn hold_of(&self, process: ProcessId) -> Option<(ProcessId, OverrideGiven)> {
        let known = self.known.get(&process)?;
        known.ancestry.iter().find_map(|ancestor| {
            let given = self.holds.get(ancestor)?;
            match given.right {
                Right::Full => true,
                // As with attributes: not what sudo started.
                Right::Lower { uid } => known.uid == Some(uid),
            }
            .then(|| (*ancestor, given.clone()))
        })
    }

    /// When the next one ends by itself.
    pub(super) fn next_end(&self) -> Option<Nanos> {
        self.holds.values().map(|given| given.hold.until).min()
    }

    pub(super) fn end_holds(&mut self) {
        let now = monotonic();
        let ended: Vec<(ProcessId, OverrideKind)> = self
            .holds
            .iter()
            .filter(|(_, given)| given.hold.until <= now)
            .map(|(process, given)| (*process, given.hold.kind))
            .collect();
        for (process, kind) in ended {
            self.holds.remove(&process);
            let what = match kind {
                OverrideKind::Boosted => "the boost has ended",
                OverrideKind::Suspended => "the suspension has ended",
            };
            info!("process {process}: {what} by itself");
            self.events.note(
                Event::new(EventKind::Changed, format!("{what} by itself")).about(process.pid),
            );
            self.update(|ancestry| ancestry.contains(&process));
        }
    }
}
