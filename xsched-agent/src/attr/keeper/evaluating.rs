//! What the rules say of each process, asked as seldom as possible.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use xsched_host::cgroup::Workload;
use xsched_host::process::ProcessId;
use xsched_host::readers::Tenant;

use super::Keeper;
use super::messages::Message;
use crate::attr::asked::Asked;
use crate::attr::resolve::Evaluated;
use crate::rules::{Facts, Reach};

/// An evaluation of an ancestor is used again for so long: a launcher that
/// starts a thousand processes is evaluated once.
const FRESH: Duration = Duration::from_secs(2);

/// What a reader found.
pub(in crate::attr) struct Answer {
    pub process: ProcessId,
    pub evaluated: Evaluated,
    /// What its pod or job asks for.
    pub asked: Option<Asked>,
    /// Its pod's uid, and the pods that were known when it was looked at.
    pub pod: Option<String>,
    pub pods: u64,
    /// The user that it was meanwhile, if it was one.
    pub user: Option<u32>,
    /// The configuration that it is by.
    pub generation: u64,
}

/// What the rules say of one process.
pub(super) struct Evaluation {
    evaluated: Evaluated,
    asked: Option<Asked>,
    /// Its pod's uid: what is known of that may change.
    pod: Option<String>,
    /// As this user, if it is one.
    user: Option<u32>,
    /// When it was found, or a reader asked for it; `None` if no reader could
    /// take the question.
    at: Option<Instant>,
}

/// By the same look as the evaluation: it may become another any time.
fn user_of(facts: &Facts) -> Option<u32> {
    facts.credentials().ok()?.user()
}

fn pod_of(facts: &Facts) -> Option<String> {
    match facts.workload() {
        Ok(Some(Workload::Pod(place))) => Some(place.uid.clone()),
        _ => None,
    }
}

impl Keeper {
    /// Finds out what the rules say of a process, unless that was done just
    /// now. What its own memory tells comes later, as an answer.
    pub(super) fn evaluate(&mut self, process: ProcessId) {
        if self.config.rules.is_empty() && !self.workloads.are_watched() {
            return;
        }
        let before = self.evaluated.get(&process);
        let at = before.and_then(|evaluation| evaluation.at);
        if at.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let facts = Facts::of(process.pid, Reach::Kernel, &self.workloads);
        let (evaluated, asked) = crate::attr::evaluate(process, &self.config.rules, &facts);
        if evaluated != Evaluated::Pending {
            let evaluation = Evaluation {
                evaluated,
                asked,
                pod: pod_of(&facts),
                user: user_of(&facts),
                at: Some(Instant::now()),
            };
            self.evaluated.insert(process, evaluation);
            return;
        }
        let uid = facts.credentials().map_or(u32::MAX, |c| c.uid);
        let tenant = match facts.placement() {
            Ok(placement) => Tenant::at(uid, placement),
            Err(_) => Tenant::of(process.pid),
        };
        let (rules, generation) = (self.config.rules.clone(), self.generation);
        let (inbox, workloads) = (self.inbox.clone(), self.workloads.clone());
        let question = move || {
            let pods = workloads.version();
            let facts = Facts::of(process.pid, Reach::Memory, &workloads);
            let (evaluated, asked) = crate::attr::evaluate(process, &rules, &facts);
            // Gone only when the agent stops.
            let _ = inbox.send(Message::Evaluated(Answer {
                process,
                evaluated,
                asked,
                pod: pod_of(&facts),
                pods,
                user: user_of(&facts),
                generation,
            }));
        };
        // Too many at once: the next who needs it, or prune, asks again.
        let asked = self.readers.ask(tenant, question).ok();
        let evaluation = self.evaluated.entry(process).or_insert(Evaluation {
            evaluated: Evaluated::Pending,
            asked: None,
            pod: pod_of(&facts),
            user: user_of(&facts),
            at: None,
        });
        // Until the answer comes, what was found before holds.
        evaluation.at = asked.map(|()| Instant::now());
    }

    pub(super) fn take_answer(&mut self, answer: Answer) {
        let Answer {
            process,
            evaluated,
            asked,
            pod,
            pods,
            user,
            generation,
        } = answer;
        if generation != self.generation {
            return;
        }
        let is_outdated = pod.is_some() && pods != self.workloads.version();
        let evaluation = Evaluation {
            evaluated,
            asked,
            pod,
            user,
            at: Some(Instant::now()),
        };
        self.evaluated.insert(process, evaluation);
        if is_outdated {
            self.evaluate_anew(process);
        }
        self.update(|ancestry| ancestry.contains(&process));
    }

    /// Pods became known, changed, or are gone: asks again about their processes.
    pub(super) fn pods_changed(&mut self, uids: &HashSet<String>) {
        let theirs = |evaluation: &Evaluation| {
            let pod = evaluation.pod.as_ref();
            pod.is_some_and(|uid| uids.contains(uid))
        };
        let concerned: HashSet<ProcessId> = self
            .evaluated
            .iter()
            .filter(|(_, evaluation)| theirs(evaluation))
            .map(|(process, _)| *process)
            .collect();
        for process in &concerned {
            self.evaluate_anew(*process);
        }
        self.update(|ancestry| ancestry.iter().any(|ancestor| concerned.contains(ancestor)));
    }

    /// Until an answer comes, what was found before holds.
    fn evaluate_anew(&mut self, process: ProcessId) {
        if let Some(evaluation) = self.evaluated.get_mut(&process) {
            evaluation.at = None;
        }
        self.evaluate(process);
    }

    pub(super) fn evaluated_of(&self, process: ProcessId) -> &Evaluated {
        match self.evaluated.get(&process) {
            Some(evaluation) => &evaluation.evaluated,
            None => &Evaluated::NoRule,
        }
    }

    /// What its pod or job asked for when it was evaluated.
    pub(super) fn asked_of(&self, process: ProcessId) -> Option<&Asked> {
        self.evaluated.get(&process)?.asked.as_ref()
    }

    /// The user that a process was when it was evaluated, if it was one.
    pub(super) fn user_when_evaluated(&self, process: ProcessId) -> Option<u32> {
        self.evaluated.get(&process)?.user
    }

    /// Asks again about those of whom nothing is known yet.
    pub(super) fn evaluate_the_undecided(&mut self) {
        let undecided: Vec<ProcessId> = self
            .evaluated
            .iter()
            .filter(|(_, evaluation)| evaluation.evaluated == Evaluated::Pending)
            .map(|(process, _)| *process)
            .collect();
        for process in undecided {
            self.evaluate(process);
        }
    }
}
