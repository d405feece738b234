//! Terms: which class, weight and target each process has, and why.
//!
//! One thread, the keeper, knows what was given by hand, what the rules say
//! and who descends from whom; control hears the outcome for joined
//! processes, the model and the API read it from the [`Board`]. A process
//! that has just joined has the default terms until the keeper has looked,
//! usually for less than a millisecond.

mod board;
mod explain;
mod given;
mod keeper;
mod lineage;
mod resolve;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use xsched_common::api::{ChangeWay, Settled, Term};
use xsched_common::units::{Class, Nanos, Weight};
use xsched_host::process::ProcessId;
use xsched_policy::{Hold, HoldKind, Terms};

pub use board::{Board, Standing};
pub use explain::{Ancestor, Explained};
pub use given::{Given, Right};
pub use store::{Store, StoreError};

use crate::config::Config;
use crate::control::{ControlHandle, RosterEvent};
use crate::events::EventLog;
use crate::rules::{self, Facts, Match, Rule, TermsPatch};
use keeper::{Keeper, Message, Order, Parts};
use resolve::{Judged, RuleApplied, Share};

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// [`Right::Lower`] does not allow it.
    #[error(
        "only root and the authorised group may raise a class ({from} to {to}): use sudo, or ask \
         for a lower class"
    )]
    Class {
        /// The highest that the process may have.
        from: Class,
        /// The class asked for.
        to: Class,
    },
    /// As above.
    #[error(
        "only root and the authorised group may raise a weight ({from} to {to}): use sudo, or ask \
         for a lower weight"
    )]
    Weight {
        /// The highest that the process may have.
        from: Weight,
        /// The weight asked for.
        to: Weight,
    },
    /// As above: a target holds back others.
    #[error("only root and the authorised group may give a target: use sudo")]
    Target,
    /// Somebody with more rights has suspended it, or boosted an ancestor.
    #[error("{} by {by}: only root and the authorised group may change that (sudo)", .kind.name())]
    HeldByOther {
        /// What they have done.
        kind: HoldKind,
        /// Who.
        by: String,
    },
    /// The keeper's memory is bounded.
    #[error("too many processes (of this user) are known: try again when some have ended")]
    TooMany,
}

/// Whether a patch stays below what a process may have.
fn within(patch: TermsPatch, ceiling: Terms) -> Result<(), Refused> {
    if let Some(to) = patch.class
        && to > ceiling.class
    {
        let from = ceiling.class;
        return Err(Refused::Class { from, to });
    }
    if let Some(to) = patch.weight
        && to > ceiling.weight
    {
        let from = ceiling.weight;
        return Err(Refused::Weight { from, to });
    }
    match patch.slo_p99 {
        Some(target) if target > Nanos::ZERO => Err(Refused::Target),
        _ => Ok(()),
    }
}

/// What `rules` say of a process. A process that is gone, or whose pid is
/// another's now, gets nothing.
fn judge(process: ProcessId, rules: &[Rule], facts: &Facts) -> Judged {
    let judged = match rules::first_match(rules, facts) {
        Match::None => Judged::NoRule,
        Match::Undecided => Judged::Pending,
        Match::Rule(rule) => Judged::Rule(RuleApplied {
            name: rule.name.as_str().into(),
            line: rule.line,
            share: match rule.conditions.is_chosen_by_users() {
                true => Share::OfUser,
                false => Share::OfRule,
            },
            terms: rule.terms,
            passthrough: rule.passthrough.clone(),
        }),
    };
    // After the reading: it may have met another process.
    if process.is_alive() {
        judged
    } else {
        Judged::NoRule
    }
}

/// A way to the keeper that exists before it.
pub struct Inbox {
    handle: TermsHandle,
    messages: Receiver<Message>,
}

impl Default for Inbox {
    fn default() -> Inbox {
        let (inbox, messages) = channel();
        let handle = TermsHandle {
            inbox,
            board: Arc::default(),
        };
        Inbox { handle, messages }
    }
}

impl Inbox {
    /// Takes what control says about clients.
    pub fn roster(&self) -> impl Fn(RosterEvent) + Send + 'static {
        let sender = self.handle.inbox.clone();
        move |event| {
            let _ = sender.send(Message::Roster(event));
        }
    }

    /// For the parts that ask and order: the keeper answers once it runs.
    pub fn handle(&self) -> TermsHandle {
        self.handle.clone()
    }
}

/// The running keeper.
pub struct TermsKeeper {
    handle: TermsHandle,
    thread: Option<JoinHandle<()>>,
}

impl TermsKeeper {
    /// Starts it; what was given by hand is kept in `directory`.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn start(
        inbox: Inbox,
        control: ControlHandle,
        config: Arc<Config>,
        directory: &Path,
        events: EventLog,
    ) -> std::io::Result<TermsKeeper> {
        let Inbox { handle, messages } = inbox;
        let parts = Parts {
            messages,
            control,
            board: handle.board.clone(),
            config,
            store: Store::in_directory(directory),
            events,
            inbox: handle.inbox.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("terms".into())
            .spawn(move || Keeper::new(parts).run())?;
        Ok(TermsKeeper {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for TermsKeeper {
    /// Stops it once what was ordered is kept.
    fn drop(&mut self) {
        let _ = self.handle.inbox.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A way to ask and order the keeper. Where the agent stops, replies are
/// dropped.
#[derive(Clone)]
pub struct TermsHandle {
    inbox: Sender<Message>,
    board: Arc<Board>,
}

/// An order about one process, and whose it is.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The process; its children to come as well.
    pub process: ProcessId,
    /// What whoever orders may do to it.
    pub right: Right,
    /// Whoever orders, for people.
    pub by: String,
}

impl TermsHandle {
    /// Gives a process terms; replies once they are in force.
    pub fn change(
        &self,
        ordered: Ordered,
        patch: TermsPatch,
        way: ChangeWay,
        reply: impl FnOnce(Result<Settled, Refused>) + Send + 'static,
    ) {
        let reply = Box::new(reply);
        self.order(Order::Change {
            ordered,
            patch,
            way,
            reply,
        });
    }

    /// Takes back what was set on a process by hand; replies once that is so.
    pub fn unset(
        &self,
        ordered: Ordered,
        terms: Vec<Term>,
        reply: impl FnOnce(Result<Settled, Refused>) + Send + 'static,
    ) {
        let reply = Box::new(reply);
        self.order(Order::Unset {
            ordered,
            terms,
            reply,
        });
    }

    /// Begins a boost or suspension, or with `None` ends the one in force;
    /// replies once that is so.
    pub fn hold(
        &self,
        ordered: Ordered,
        hold: Option<Hold>,
        reply: impl FnOnce(Result<Settled, Refused>) + Send + 'static,
    ) {
        let reply = Box::new(reply);
        self.order(Order::Hold {
            ordered,
            hold,
            reply,
        });
    }

    /// Replies with everything that bears on a process's terms.
    /// `right` is what whoever asks may do to it.
    pub fn explain(
        &self,
        process: ProcessId,
        right: Right,
        reply: impl FnOnce(Explained) + Send + 'static,
    ) {
        let reply = Box::new(reply);
        self.order(Order::Explain {
            process,
            right,
            reply,
        });
    }

    /// Judges everybody by this configuration; replies with the number of
    /// joined processes that have other terms now.
    pub fn configure(&self, config: Arc<Config>, reply: impl FnOnce(u32) + Send + 'static) {
        let reply = Box::new(reply);
        self.order(Order::Configure { config, reply });
    }

    /// Has the terms of these processes on the board soon.
    pub fn seen(&self, processes: Vec<ProcessId>) {
        let _ = self.inbox.send(Message::Seen(processes));
    }

    /// The terms of known processes.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    fn order(&self, order: Order) {
        // A closed channel means that the agent stops: nobody to tell.
        let _ = self.inbox.send(Message::Order(order));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Conditions, Reach};

    #[test]
    fn processes_are_judged_by_their_arguments() {
        let rule = Rule {
            name: "tests".into(),
            line: 1,
            conditions: Conditions {
                arg: vec!["*xsched_agent*".parse().expect("a pattern")],
                ..Conditions::default()
            },
            terms: TermsPatch {
                class: Some(Class::Low),
                ..TermsPatch::default()
            },
            passthrough: None,
        };
        let judged = |process: ProcessId| {
            let facts = Facts::of(process.pid, Reach::Memory);
            judge(process, std::slice::from_ref(&rule), &facts)
        };
        let me = ProcessId::of(std::process::id()).expect("I exist");
        assert!(matches!(judged(me), Judged::Rule(_)));
        let earlier = ProcessId {
            start_time: me.start_time + 1,
            ..me
        };
        assert_eq!(judged(earlier), Judged::NoRule, "another had my pid");
    }

    #[test]
    fn users_stay_below_their_ceiling() {
        let ceiling = Terms::default();
        let patch = |class, weight, slo_p99| TermsPatch {
            class,
            weight,
            slo_p99,
        };
        let heavy = Weight::new(101).expect("a weight");
        assert_eq!(
            within(patch(Some(Class::Normal), Some(Weight::MIN), None), ceiling),
            Ok(())
        );
        assert_eq!(
            within(patch(None, None, Some(Nanos::ZERO)), ceiling),
            Ok(())
        );
        assert!(matches!(
            within(patch(Some(Class::High), None, None), ceiling),
            Err(Refused::Class { .. })
        ));
        assert!(matches!(
            within(patch(None, Some(heavy), None), ceiling),
            Err(Refused::Weight { .. })
        ));
        assert_eq!(
            within(patch(None, None, Some(Nanos(1))), ceiling),
            Err(Refused::Target)
        );
    }
}
