//! What the rules say of each process, asked as seldom as possible.

use std::time::{Duration, Instant};

use xsched_host::process::ProcessId;
use xsched_host::readers::Tenant;

use super::Keeper;
use super::messages::Message;
use crate::rules::{Facts, Reach};
use crate::terms::resolve::Judged;

/// A judgement of an ancestor is used again for so long: a launcher that
/// starts a thousand processes is judged once.
const FRESH: Duration = Duration::from_secs(2);

/// What a reader found.
pub(in crate::terms) struct Answer {
    pub process: ProcessId,
    pub judged: Judged,
    /// The user that it was meanwhile, if it was one.
    pub user: Option<u32>,
    /// The configuration that it is by.
    pub generation: u64,
}

/// What the rules say of one process.
pub(super) struct Judgement {
    judged: Judged,
    /// As this user, if it is one.
    user: Option<u32>,
    /// When it was found, or a reader asked for it; `None` if no reader could
    /// take the question.
    at: Option<Instant>,
}

impl Judgement {
    fn now(judged: Judged, user: Option<u32>) -> Judgement {
        let at = Some(Instant::now());
        Judgement { judged, user, at }
    }
}

/// By the same look as the judgement: it may become another any time.
fn user_of(facts: &Facts) -> Option<u32> {
    facts.credentials().ok()?.user()
}

impl Keeper {
    /// Finds out what the rules say of a process, unless that was done just
    /// now. What its own memory tells comes later, as an answer.
    pub(super) fn judge(&mut self, process: ProcessId) {
        if self.config.rules.is_empty() {
            return;
        }
        let before = self.judged.get(&process);
        let at = before.and_then(|judgement| judgement.at);
        if at.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let facts = Facts::of(process.pid, Reach::Kernel);
        let judged = crate::terms::judge(process, &self.config.rules, &facts);
        if judged != Judged::Pending {
            let user = user_of(&facts);
            self.judged.insert(process, Judgement::now(judged, user));
            return;
        }
        let uid = facts.credentials().map_or(u32::MAX, |c| c.uid);
        let tenant = match facts.placement() {
            Ok(placement) => Tenant::at(uid, placement),
            Err(_) => Tenant::of(process.pid),
        };
        let (rules, generation) = (self.config.rules.clone(), self.generation);
        let inbox = self.inbox.clone();
        let question = move || {
            let facts = Facts::of(process.pid, Reach::Memory);
            let judged = crate::terms::judge(process, &rules, &facts);
            // Gone only when the agent stops.
            let _ = inbox.send(Message::Judged(Answer {
                process,
                judged,
                user: user_of(&facts),
                generation,
            }));
        };
        // Too many at once: the next who needs it, or prune, asks again.
        let asked = self.readers.ask(tenant, question).ok();
        let judgement = self.judged.entry(process).or_insert(Judgement {
            judged: Judged::Pending,
            user: user_of(&facts),
            at: None,
        });
        // Until the answer comes, what was found before holds.
        judgement.at = asked.map(|()| Instant::now());
    }

    pub(super) fn take_answer(&mut self, answer: Answer) {
        let Answer {
            process,
            judged,
            user,
            generation,
        } = answer;
        if generation == self.generation {
            self.judged.insert(process, Judgement::now(judged, user));
            self.update(|lineage| lineage.contains(&process));
        }
    }

    pub(super) fn judged_of(&self, process: ProcessId) -> &Judged {
        match self.judged.get(&process) {
            Some(judgement) => &judgement.judged,
            None => &Judged::NoRule,
        }
    }

    /// The user that a process was when it was judged, if it was one.
    pub(super) fn user_when_judged(&self, process: ProcessId) -> Option<u32> {
        self.judged.get(&process)?.user
    }

    /// Asks again about those of whom nothing is known yet.
    pub(super) fn judge_the_undecided(&mut self) {
        let undecided: Vec<ProcessId> = self
            .judged
            .iter()
            .filter(|(_, judgement)| judgement.judged == Judged::Pending)
            .map(|(process, _)| *process)
            .collect();
        for process in undecided {
            self.judge(process);
        }
    }
}
