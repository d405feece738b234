//! What the API asks for: changes of attributes, explanations, a new
//! configuration.

use std::sync::Arc;

use tracing::debug;
use xsched_common::api::{Attr, ChangeWay, OverrideRow, Settled};
use xsched_host::clock::monotonic;
use xsched_host::process::{self, ProcessId};
use xsched_policy::Override;

use super::messages::{Order, Reply};
use super::{Because, Keeper};
use crate::attr::explain::{Ancestor, Explained};
use crate::attr::given::Right;
use crate::attr::{Ordered, Refused};
use crate::config::Config;
use crate::rules::SchedAttrPatch;

impl Keeper {
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Change {
                ordered,
                patch,
                way,
                reply,
            } => {
                let process = ordered.process;
                let changed = self.change(ordered, patch, way);
                self.answer(process, changed, reply);
            }
            Order::Unset {
                ordered,
                attr,
                reply,
            } => {
                let process = ordered.process;
                let unset = self.unset(ordered, &attr);
                self.answer(process, unset, reply);
            }
            Order::Override {
                ordered,
                hold,
                reply,
            } => {
                let process = ordered.process;
                let held = self.hold(ordered, hold);
                self.answer(process, held, reply);
            }
            Order::Explain {
                process,
                right,
                reply,
            } => {
                let explained = self.explain(process, right);
                self.outbox.replies.push(Box::new(move || reply(explained)));
            }
            Order::Configure { config, reply } => {
                let changed = self.configure(config);
                self.outbox.replies.push(Box::new(move || reply(changed)));
            }
        }
    }

    /// Whoever hears that it is done can rely on it: replies once it is kept
    /// and control has taken it in.
    fn answer(
        &mut self,
        process: ProcessId,
        done: Result<(), Refused>,
        reply: Reply<Result<Settled, Refused>>,
    ) {
        match done {
            Ok(()) => {
                let settled = self.settled(process);
                self.outbox
                    .replies
                    .push(Box::new(move || reply(Ok(settled))));
            }
            Err(refused) => reply(Err(refused)),
        }
    }

    fn change(
        &mut self,
        ordered: Ordered,
        patch: SchedAttrPatch,
        way: ChangeWay,
    ) -> Result<(), Refused> {
        let Ordered { process, right, by } = ordered;
        self.make_known(process, right)?;
        if matches!(right, Right::Lower { .. }) {
            let ceiling = self.resolved(process).ceiling;
            crate::attr::within(patch, ceiling)?;
        }
        let given = self.given.entry(process).or_default();
        given.change(patch, way, right, by);
        self.unsaved = true;
        self.update(|ancestry| ancestry.contains(&process));
        Ok(())
    }

    /// Takes back what was set on the process itself; what it inherits stays.
    fn unset(&mut self, ordered: Ordered, attr: &[Attr]) -> Result<(), Refused> {
        let Ordered { process, right, by } = ordered;
        self.make_known(process, right)?;
        if let Some(given) = self.given.get_mut(&process) {
            given.unset(attr, right, by);
            if given.is_empty() {
                self.given.remove(&process);
            }
            self.unsaved = true;
            self.update(|ancestry| ancestry.contains(&process));
        }
        Ok(())
    }

    pub(super) fn make_known(&mut self, process: ProcessId, right: Right) -> Result<(), Refused> {
        match self.known.get_mut(&process) {
            None => {
                let because = match right {
                    Right::Full => Because::Counts,
                    Right::Lower { .. } => Because::Seen,
                };
                self.find_place(process, right)?;
                self.know(process, Vec::new(), because);
            }
            Some(known) => {
                if right == Right::Full {
                    self.unsaved |= known.because < Because::Counts;
                    known.because = Because::Counts;
                }
                // Whoever began as root may run as somebody else by now.
                known.uid = process::uid(process.pid).ok().or(known.uid);
                if known.clients > 0 {
                    return Ok(());
                }
                // It may have become another program since: only of those
                // that have joined the agent would have heard.
                self.evaluate(process);
            }
        }
        self.update_one(process);
        Ok(())
    }

    /// Returns how many joined processes have other attributes now.
    fn configure(&mut self, config: Arc<Config>) -> u32 {
        self.config = config;
        self.generation += 1;
        self.evaluated.clear();
        for process in self.needed() {
            self.evaluate(process);
        }
        self.update(|_| true)
    }

    fn explain(&mut self, process: ProcessId, right: Right) -> Explained {
        if self.make_known(process, right).is_err() {
            debug!("too many processes are known: {process} is explained without its own entry");
        }
        let hold = self.hold_of(process).map(|(_, given)| given);
        let known = self.known.get(&process);
        let own = [process];
        let ancestry = known.map_or(&own[..], |known| &known.ancestry);
        Explained {
            settled: self.settled(process),
            uid: known.and_then(|known| known.uid),
            hold,
            ancestry: ancestry
                .iter()
                .map(|ancestor| Ancestor {
                    asked: self.asked_of(*ancestor).cloned(),
                    process: *ancestor,
                    command: process::stat(ancestor.pid).ok().map(|stat| stat.comm),
                    given: self.given.get(ancestor).cloned(),
                    evaluated: self.evaluated_of(*ancestor).clone(),
                    user: known.and_then(|known| self.user_of(*ancestor, known)),
                })
                .collect(),
            config: self.config.clone(),
        }
    }

    fn settled(&self, process: ProcessId) -> Settled {
        let known = self.known.get(&process);
        let standing = known.map_or_else(|| self.nothing_known(), |known| known.standing.clone());
        let now = monotonic();
        Settled {
            pid: process.pid,
            class: standing.attr.class,
            weight: standing.attr.weight,
            slo_p99_ns: standing.attr.slo_p99,
            hold: Override::in_force(standing.hold, now).map(|hold| OverrideRow {
                hold: hold.kind,
                remaining_ns: hold.until.since(now),
            }),
            joined: known.is_some_and(|known| known.clients > 0),
            ..Settled::default()
        }
    }
}
