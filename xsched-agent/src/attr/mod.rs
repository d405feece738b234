//! Attributes: which class, weight and target each process has, and why.
//!
//! One thread, the keeper, knows what was given by hand, what the rules say
//! and who descends from whom; control hears the outcome for joined
//! processes, the model and the API read it from the [`AttrTable`]. A process
//! that has just joined has the default attributes until the keeper has looked,
//! usually for less than a millisecond.

mod ancestry;
mod asked;
mod explain;
mod given;
mod keeper;
mod resolve;
mod store;
mod table;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use xsched_common::api::{Attr, ChangeWay, Settled};
use xsched_common::units::{Class, Nanos, Weight};
use xsched_host::process::ProcessId;
use xsched_policy::{Override, OverrideKind, SchedAttr};

pub use explain::{Ancestor, Explained};
pub use given::{Given, Right};
pub use store::{Store, StoreError};
pub use table::{AttrTable, Standing};

use crate::config::Config;
use crate::control::{ControlHandle, RosterEvent};
use crate::events::EventLog;
use crate::rules::{self, Facts, Match, Rule, SchedAttrPatch, Unknown};
use crate::workloads::Workloads;
use asked::Asked;
use keeper::{Keeper, Message, Order, Parts};
use resolve::{Evaluated, RuleApplied, Share};

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
        kind: OverrideKind,
        /// Who.
        by: String,
    },
    /// The keeper's memory is bounded.
    #[error("too many processes (of this user) are known: try again when some have ended")]
    TooMany,
}

/// Whether a patch stays below what a process may have.
fn within(patch: SchedAttrPatch, ceiling: SchedAttr) -> Result<(), Refused> {
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

/// What `rules` say of a process, and what its pod or job asks for. A process that
/// is gone, or whose pid is another's now, gets nothing.
fn evaluate(process: ProcessId, rules: &[Rule], facts: &Facts) -> (Evaluated, Option<Asked>) {
    let asked = match asked::of(facts, rules) {
        Ok(asked) => asked,
        Err(Unknown::NotRead) => return (Evaluated::Pending, None),
        Err(Unknown::Unreadable(_)) => None,
    };
    let raise = |rule: &Rule| match &asked {
        Some(asked) => asked.raise(rule.attr, rule.may_ask),
        None => rule.attr,
    };
    let evaluated = match rules::first_match(rules, facts) {
        Match::None => Evaluated::NoRule,
        Match::Undecided => Evaluated::Pending,
        Match::Rule(rule) => Evaluated::Rule(RuleApplied {
            name: rule.name.as_str().into(),
            line: rule.line,
            share: match rule.conditions.is_chosen_by_users() {
                true => Share::OfUser,
                false => Share::OfRule,
            },
            attr: raise(rule),
            passthrough: rule.passthrough.clone(),
            time_slices: rule.time_slices,
            threads: rule.threads.clone(),
        }),
    };
    // After the reading: it may have met another process.
    if process.is_alive() {
        (evaluated, asked)
    } else {
        (Evaluated::NoRule, None)
    }
}

/// A way to the keeper that exists before it.
pub struct Inbox {
    handle: AttrHandle,
    messages: Receiver<Message>,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox::new(Workloads::default())
    }
}

impl Inbox {
    /// Of a keeper that knows these pods and jobs.
    pub fn new(workloads: Workloads) -> Inbox {
        let (inbox, messages) = channel();
        let handle = AttrHandle {
            inbox,
            table: Arc::default(),
            workloads,
        };
        Inbox { handle, messages }
    }

    /// Takes the uids of pods that are others now.
    pub fn pods_changed(&self) -> impl Fn(HashSet<String>) + Send + 'static {
        let sender = self.handle.inbox.clone();
        move |uids| {
            let _ = sender.send(Message::Pods(uids));
        }
    }

    /// Takes what control says about clients.
    pub fn roster(&self) -> impl Fn(RosterEvent) + Send + 'static {
        let sender = self.handle.inbox.clone();
        move |event| {
            let _ = sender.send(Message::Roster(event));
        }
    }

    /// For the parts that ask and order: the keeper answers once it runs.
    pub fn handle(&self) -> AttrHandle {
        self.handle.clone()
    }
}

/// The running keeper.
pub struct AttrKeeper {
    handle: AttrHandle,
    thread: Option<JoinHandle<()>>,
}

impl AttrKeeper {
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
    ) -> std::io::Result<AttrKeeper> {
        let Inbox { handle, messages } = inbox;
        let parts = Parts {
            messages,
            control,
            table: handle.table.clone(),
            workloads: handle.workloads.clone(),
            config,
            store: Store::in_directory(directory),
            events,
            inbox: handle.inbox.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("terms".into())
            .spawn(move || Keeper::new(parts).run())?;
        Ok(AttrKeeper {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for AttrKeeper {
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
pub struct AttrHandle {
    inbox: Sender<Message>,
    table: Arc<AttrTable>,
    workloads: Workloads,
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

impl AttrHandle {
    /// Gives a process attributes; replies once they are in force.
    pub fn change(
        &self,
        ordered: Ordered,
        patch: SchedAttrPatch,
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
        attr: Vec<Attr>,
        reply: impl FnOnce(Result<Settled, Refused>) + Send + 'static,
    ) {
        let reply = Box::new(reply);
        self.order(Order::Unset {
            ordered,
            attr,
            reply,
        });
    }

    /// Begins a boost or suspension, or with `None` ends the one in force;
    /// replies once that is so.
    pub fn hold(
        &self,
        ordered: Ordered,
        hold: Option<Override>,
        reply: impl FnOnce(Result<Settled, Refused>) + Send + 'static,
    ) {
        let reply = Box::new(reply);
        self.order(Order::Override {
            ordered,
            hold,
            reply,
        });
    }

    /// Replies with everything that bears on a process's attributes.
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

    /// Evaluates everybody by this configuration; replies with the number of
    /// joined processes that have other attributes now.
    pub fn configure(&self, config: Arc<Config>, reply: impl FnOnce(u32) + Send + 'static) {
        let reply = Box::new(reply);
        self.order(Order::Configure { config, reply });
    }

    /// Has the attributes of these processes in the table soon.
    pub fn seen(&self, processes: Vec<ProcessId>) {
        let _ = self.inbox.send(Message::Seen(processes));
    }

    /// The attributes of known processes.
    pub fn table(&self) -> &Arc<AttrTable> {
        &self.table
    }

    /// What is known of pods and jobs.
    pub fn workloads(&self) -> &Workloads {
        &self.workloads
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
    fn processes_are_evaluated_by_their_arguments() {
        let rule = Rule {
            name: "tests".into(),
            line: 1,
            conditions: Conditions {
                arg: vec!["*xsched_agent*".parse().expect("a pattern")],
                ..Conditions::default()
            },
            attr: SchedAttrPatch {
                class: Some(Class::Low),
                ..SchedAttrPatch::default()
            },
            may_ask: SchedAttrPatch::default(),
            passthrough: None,
            time_slices: None,
            threads: None,
        };
        let evaluated = |process: ProcessId| {
            let facts = Facts::of(process.pid, Reach::Memory, &Workloads::default());
            evaluate(process, std::slice::from_ref(&rule), &facts).0
        };
        let me = ProcessId::of(std::process::id()).expect("I exist");
        assert!(matches!(evaluated(me), Evaluated::Rule(_)));
        let earlier = ProcessId {
            start_time: me.start_time + 1,
            ..me
        };
        assert_eq!(evaluated(earlier), Evaluated::NoRule, "another had my pid");
    }

    #[test]
    fn users_stay_below_their_ceiling() {
        let ceiling = SchedAttr::default();
        let patch = |class, weight, slo_p99| SchedAttrPatch {
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
