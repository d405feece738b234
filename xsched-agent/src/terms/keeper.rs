//! The keeper: the thread that knows what was given to whom, judges
//! processes by the rules, and tells control the terms of joined ones.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};
use xsched_common::api::{EventKind, Hold as HoldKind, HoldRow, Settled};

use super::board::{Board, Standing};
use super::explain::{Ancestor, Explained};
use super::given::{Given, Right, Way};
use super::resolve::{Judged, Link, Resolved, resolve};
use super::store::{Kept, Store};
use super::{Refused, lineage};
use crate::clock::monotonic;
use crate::config::Config;
use crate::control::{ControlHandle, RosterEvent, Settlement};
use crate::model::{Event, EventLog};
use crate::policy::{ClientId, Hold};
use crate::process::{self, ProcessId};
use crate::readers::{Readers, Tenant};
use crate::rules::{Facts, Reach, TermsPatch};

/// Time between two looks for dead processes and undecided ones.
const PRUNE: Duration = Duration::from_secs(10);

/// A judgement of an ancestor is used again for so long: a launcher that
/// starts a thousand processes is judged once.
const FRESH: Duration = Duration::from_secs(2);

/// Processes that are known without having joined: more show the defaults.
const MAX_KNOWN: usize = 16_384;

/// Of these, those of one user without full rights.
const MAX_OF_USER: usize = 1024;

/// To the keeper.
pub(super) enum Message {
    /// From control.
    Roster(RosterEvent),
    /// The model shows these.
    Seen(Vec<ProcessId>),
    /// From a reader.
    Judged(Answer),
    /// From the API.
    Order(Order),
    /// The agent stops.
    Stop,
}

/// From somebody; replies come once control has taken it in.
pub(super) enum Order {
    Change {
        process: ProcessId,
        patch: TermsPatch,
        way: Way,
        right: Right,
        by: String,
        reply: Reply<Result<Settled, Refused>>,
    },
    Hold {
        process: ProcessId,
        /// `None` ends the one in force.
        hold: Option<Hold>,
        right: Right,
        by: String,
        reply: Reply<Result<Settled, Refused>>,
    },
    Explain {
        process: ProcessId,
        right: Right,
        reply: Reply<Explained>,
    },
    Configure {
        config: Arc<Config>,
        /// Told how many joined processes have other terms now.
        reply: Reply<u32>,
    },
}

pub(super) type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What the keeper works with.
pub(super) struct Parts {
    pub messages: Receiver<Message>,
    pub control: ControlHandle,
    pub board: Arc<Board>,
    pub config: Arc<Config>,
    pub store: Store,
    pub events: EventLog,
    /// For the readers' answers.
    pub inbox: Sender<Message>,
}

pub(super) struct Keeper {
    messages: Receiver<Message>,
    control: ControlHandle,
    board: Arc<Board>,
    config: Arc<Config>,
    /// Counts configurations: answers of readers to an earlier one are void.
    generation: u64,
    store: Store,
    events: EventLog,
    readers: Readers,
    /// For their answers.
    inbox: Sender<Message>,
    given: HashMap<ProcessId, Given>,
    holds: HashMap<ProcessId, HoldGiven>,
    known: HashMap<ProcessId, Known>,
    clients: HashMap<ClientId, ProcessId>,
    judged: HashMap<ProcessId, Judgement>,
    unsaved: bool,
    /// Whether the last saving failed; said once.
    cannot_save: bool,
    next_prune: Instant,
}

/// A process whose terms somebody may want.
struct Known {
    /// It and its ancestors when it was first seen or last joined: an
    /// ancestor that exits later takes nothing away.
    lineage: Vec<ProcessId>,
    uid: Option<u32>,
    /// Times that it is joined.
    clients: u32,
    standing: Standing,
}

/// What a reader found.
pub(super) struct Answer {
    process: ProcessId,
    judged: Judged,
    /// The configuration that it is by.
    generation: u64,
}

struct Judgement {
    judged: Judged,
    at: Instant,
}

#[derive(Clone, Debug)]
pub(super) struct HoldGiven {
    pub hold: Hold,
    pub right: Right,
    pub by: String,
}

impl Keeper {
    pub fn new(parts: Parts) -> Keeper {
        let Parts {
            messages,
            control,
            board,
            config,
            store,
            events,
            inbox,
        } = parts;
        let kept = store.load().unwrap_or_else(|e| {
            warn!("what was given before is lost: {e}");
            Kept::default()
        });
        let mut keeper = Keeper {
            messages,
            control,
            board,
            config,
            generation: 0,
            store,
            events,
            readers: Readers::default(),
            inbox,
            given: kept.given,
            holds: HashMap::new(),
            known: HashMap::new(),
            clients: HashMap::new(),
            judged: HashMap::new(),
            unsaved: false,
            cannot_save: false,
            next_prune: Instant::now(),
        };
        for lineage in kept.lineages {
            let Some(&process) = lineage.first() else {
                continue;
            };
            if process.is_alive() {
                keeper.know(process, lineage);
            }
        }
        keeper.prune();
        if !keeper.given.is_empty() {
            info!("{} processes have terms from before", keeper.given.len());
        }
        keeper
    }

    pub fn run(mut self) {
        loop {
            let now = monotonic();
            let next_end = self.holds.values().map(|given| given.hold.until).min();
            let until_end = next_end.map(|end| Duration::from_nanos(end.since(now).0));
            let until_prune = self.next_prune.saturating_duration_since(Instant::now());
            let wait = until_end.map_or(until_prune, |end| end.min(until_prune));
            match self.messages.recv_timeout(wait) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.end_holds();
            if Instant::now() >= self.next_prune {
                self.prune();
            }
            self.save();
        }
        self.save();
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Roster(RosterEvent::Joined(client)) => {
                self.clients.insert(client.id, client.process);
                self.joined(client.process);
            }
            Message::Roster(RosterEvent::Left(id)) => {
                if let Some(process) = self.clients.remove(&id)
                    && let Some(known) = self.known.get_mut(&process)
                {
                    known.clients = known.clients.saturating_sub(1);
                }
            }
            Message::Seen(processes) => {
                for process in processes {
                    if !self.known.contains_key(&process) && self.known.len() < MAX_KNOWN {
                        self.know(process, Vec::new());
                        self.update(&|at, _| at == process);
                    }
                }
            }
            Message::Judged(answer) => self.take_answer(answer),
            Message::Order(order) => self.obey(order),
            // For the model.
            Message::Roster(RosterEvent::Shared(..) | RosterEvent::Target(..)) | Message::Stop => {}
        }
    }

    fn joined(&mut self, process: ProcessId) {
        // exec makes another program of a process: judge it anew.
        self.judged.remove(&process);
        self.know(process, Vec::new());
        if let Some(known) = self.known.get_mut(&process) {
            known.clients += 1;
        }
        self.update(&|at, _| at == process);
        // Its new page has the defaults, even if nothing has changed.
        if let Some(known) = self.known.get(&process) {
            let Standing { terms, from, hold } = known.standing.clone();
            debug!("process {process}: class {} ({from})", terms.class);
            let settlement = Settlement {
                process,
                terms,
                hold,
            };
            self.control.settle(vec![settlement], || {});
        }
    }

    /// Learns a process's ancestors and judges them all.
    fn know(&mut self, process: ProcessId, earlier: Vec<ProcessId>) {
        let before = self.known.remove(&process);
        let mut ancestors: Vec<ProcessId> = lineage::of(process).collect();
        let remembered = before
            .as_ref()
            .map_or(earlier, |known| known.lineage.clone());
        for ancestor in remembered {
            if !ancestors.contains(&ancestor) {
                ancestors.push(ancestor);
            }
        }
        for ancestor in &ancestors {
            self.judge(*ancestor);
        }
        // What is inherited must outlive the ancestor and the agent.
        let given = |ancestor: &ProcessId| self.given.contains_key(ancestor);
        self.unsaved |= ancestors.iter().skip(1).any(given);
        let known = Known {
            lineage: ancestors,
            uid: process::uid(process.pid).ok(),
            clients: before.as_ref().map_or(0, |known| known.clients),
            standing: before.map_or_else(|| self.nothing_known(), |known| known.standing),
        };
        self.known.insert(process, known);
    }

    fn nothing_known(&self) -> Standing {
        Standing {
            terms: self.config.defaults,
            from: Arc::from(""),
            hold: None,
        }
    }

    fn judge(&mut self, process: ProcessId) {
        if self.config.rules.is_empty() {
            return;
        }
        let fresh = self.judged.get(&process).is_some_and(|judgement| {
            judgement.judged != Judged::Pending && judgement.at.elapsed() < FRESH
        });
        if fresh {
            return;
        }
        let facts = Facts::of(process.pid, Reach::Kernel);
        let judged = super::judge(process, &self.config.rules, &facts);
        if judged == Judged::Pending {
            let tenant = Tenant {
                uid: facts.credentials().map_or(u32::MAX, |c| c.uid),
                cgroup: facts.cgroup().unwrap_or_default().to_owned(),
            };
            let (rules, generation) = (self.config.rules.clone(), self.generation);
            let inbox = self.inbox.clone();
            // Too many at once: the next prune asks again.
            let _ = self.readers.ask(tenant, move || {
                let facts = Facts::of(process.pid, Reach::Memory);
                // Gone only when the agent stops.
                let _ = inbox.send(Message::Judged(Answer {
                    process,
                    judged: super::judge(process, &rules, &facts),
                    generation,
                }));
            });
            // Until the answer comes, what was found before holds.
            if self.judged.contains_key(&process) {
                return;
            }
        }
        let at = Instant::now();
        self.judged.insert(process, Judgement { judged, at });
    }

    fn take_answer(&mut self, answer: Answer) {
        let Answer {
            process,
            judged,
            generation,
        } = answer;
        if generation != self.generation {
            return;
        }
        let at = Instant::now();
        self.judged.insert(process, Judgement { judged, at });
        let settlements = self.update(&|_, lineage| lineage.contains(&process));
        self.control.settle(settlements, || {});
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Change {
                process,
                patch,
                way,
                right,
                by,
                reply,
            } => match self.change(process, patch, way, right, by) {
                Ok(settlements) => {
                    // Whoever hears that it is done can rely on it.
                    self.save();
                    self.settle_and(settlements, process, reply);
                }
                Err(refused) => reply(Err(refused)),
            },
            Order::Hold {
                process,
                hold,
                right,
                by,
                reply,
            } => match self.hold(process, hold, right, by) {
                Ok(settlements) => self.settle_and(settlements, process, reply),
                Err(refused) => reply(Err(refused)),
            },
            Order::Explain {
                process,
                right,
                reply,
            } => {
                let explained = self.explain(process, right);
                self.save();
                reply(explained);
            }
            Order::Configure { config, reply } => {
                let settlements = self.configure(config);
                let changed = settlements.len() as u32;
                self.control.settle(settlements, move || reply(changed));
            }
        }
    }

    /// Replies once control has taken it in.
    fn settle_and(
        &mut self,
        settlements: Vec<Settlement>,
        process: ProcessId,
        reply: Reply<Result<Settled, Refused>>,
    ) {
        let settled = self.settled(process);
        self.control.settle(settlements, move || reply(Ok(settled)));
    }

    fn change(
        &mut self,
        process: ProcessId,
        patch: TermsPatch,
        way: Way,
        right: Right,
        by: String,
    ) -> Result<Vec<Settlement>, Refused> {
        self.make_known(process, right)?;
        if matches!(right, Right::Lower { .. }) {
            let ceiling = self.resolved(process).ceiling;
            super::within(patch, ceiling)?;
        }
        let given = self.given.entry(process).or_default();
        given.change(patch, way, right, by);
        self.unsaved = true;
        Ok(self.update(&|_, lineage| lineage.contains(&process)))
    }

    fn hold(
        &mut self,
        process: ProcessId,
        hold: Option<Hold>,
        right: Right,
        by: String,
    ) -> Result<Vec<Settlement>, Refused> {
        self.make_known(process, right)?;
        let before = self.hold_of(process);
        // Nor may a user end what others of an ancestor's children have, too.
        if let Some((holder, before)) = &before
            && right != Right::Full
            && before.right == Right::Full
            && (before.hold.kind == HoldKind::Suspended || (hold.is_none() && *holder != process))
        {
            return Err(Refused::HeldByOther {
                kind: before.hold.kind,
                by: before.by.clone(),
            });
        }
        let holder = match hold {
            Some(hold) => {
                self.holds.insert(process, HoldGiven { hold, right, by });
                process
            }
            // It may be an ancestor's: everybody whom it holds goes on.
            None => {
                let holder = before.map_or(process, |(holder, _)| holder);
                self.holds.remove(&holder);
                holder
            }
        };
        Ok(self.update(&|_, lineage| lineage.contains(&holder)))
    }

    fn make_known(&mut self, process: ProcessId, right: Right) -> Result<(), Refused> {
        match self.known.get_mut(&process) {
            None => {
                self.find_place(right)?;
                self.know(process, Vec::new());
            }
            Some(known) => {
                // Whoever began as root may run as somebody else by now.
                known.uid = process::uid(process.pid).ok().or(known.uid);
                if known.clients > 0 {
                    return Ok(());
                }
                // It may have become another program since: only of those
                // that have joined the agent would have heard.
                self.judge(process);
            }
        }
        // It has not joined: control need not hear.
        self.update(&|at, _| at == process);
        Ok(())
    }

    /// Whether one more process that has not joined can be known. Users must
    /// not take all places by asking about each of their processes.
    fn find_place(&self, right: Right) -> Result<(), Refused> {
        let full = self.known.len() >= MAX_KNOWN;
        let user_full = match right {
            Right::Full => false,
            Right::Lower { uid } => {
                let of_user = |known: &&Known| known.uid == Some(uid) && known.clients == 0;
                self.known.values().filter(of_user).count() >= MAX_OF_USER
            }
        };
        if full || user_full {
            return Err(Refused::TooMany);
        }
        Ok(())
    }

    fn configure(&mut self, config: Arc<Config>) -> Vec<Settlement> {
        self.config = config;
        self.generation += 1;
        self.judged.clear();
        let lineages: Vec<ProcessId> = self
            .known
            .values()
            .flat_map(|known| known.lineage.iter().copied())
            .collect();
        for process in lineages {
            self.judge(process);
        }
        self.update(&|_, _| true)
    }

    fn explain(&mut self, process: ProcessId, right: Right) -> Explained {
        if self.make_known(process, right).is_err() {
            debug!("too many processes are known: {process} is explained without its own entry");
        }
        let hold = self.hold_of(process).map(|(_, given)| given);
        let known = self.known.get(&process);
        let own = [process];
        let lineage = known.map_or(&own[..], |known| &known.lineage);
        Explained {
            settled: self.settled(process),
            uid: known.and_then(|known| known.uid),
            hold,
            lineage: lineage
                .iter()
                .map(|ancestor| Ancestor {
                    process: *ancestor,
                    command: process::stat(ancestor.pid).ok().map(|stat| stat.comm),
                    given: self.given.get(ancestor).cloned(),
                    judged: self.judged_of(*ancestor).clone(),
                })
                .collect(),
            config: self.config.clone(),
        }
    }

    fn judged_of(&self, process: ProcessId) -> &Judged {
        match self.judged.get(&process) {
            Some(judgement) => &judgement.judged,
            None => &Judged::NoRule,
        }
    }

    fn resolved(&self, process: ProcessId) -> Resolved {
        let Some(known) = self.known.get(&process) else {
            return resolve(&[], None, self.config.defaults);
        };
        let links: Vec<Link<'_>> = known
            .lineage
            .iter()
            .map(|ancestor| Link {
                process: *ancestor,
                given: self.given.get(ancestor),
                judged: self.judged_of(*ancestor),
            })
            .collect();
        resolve(&links, known.uid, self.config.defaults)
    }

    /// The nearest hold on a process or its ancestors that counts for it, and
    /// whose it is.
    fn hold_of(&self, process: ProcessId) -> Option<(ProcessId, HoldGiven)> {
        let known = self.known.get(&process)?;
        known.lineage.iter().find_map(|ancestor| {
            let given = self.holds.get(ancestor)?;
            match given.right {
                Right::Full => true,
                // As with terms: not what sudo started.
                Right::Lower { uid } => known.uid == Some(uid),
            }
            .then(|| (*ancestor, given.clone()))
        })
    }

    fn settled(&self, process: ProcessId) -> Settled {
        let known = self.known.get(&process);
        let standing = known.map_or_else(|| self.nothing_known(), |known| known.standing.clone());
        let now = monotonic();
        Settled {
            pid: process.pid,
            class: standing.terms.class,
            weight: standing.terms.weight,
            slo_p99_ns: standing.terms.slo_p99,
            hold: Hold::in_force(standing.hold, now).map(|hold| HoldRow {
                hold: hold.kind,
                remaining_ns: hold.until.since(now),
            }),
            joined: known.is_some_and(|known| known.clients > 0),
        }
    }

    /// Works out anew the terms of all known processes that `concerned`
    /// accepts; returns what control must hear.
    fn update(&mut self, concerned: &dyn Fn(ProcessId, &[ProcessId]) -> bool) -> Vec<Settlement> {
        let concerned: Vec<ProcessId> = self
            .known
            .iter()
            .filter(|(process, known)| concerned(**process, &known.lineage))
            .map(|(process, _)| *process)
            .collect();
        let mut settlements = Vec::new();
        for process in concerned {
            let resolved = self.resolved(process);
            let hold = self.hold_of(process).map(|(_, given)| given.hold);
            let Some(known) = self.known.get_mut(&process) else {
                continue;
            };
            let standing = Standing {
                terms: resolved.terms,
                from: Arc::from(resolved.from),
                hold,
            };
            if known.standing == standing {
                continue;
            }
            let changed = (known.standing.terms, known.standing.hold) != (standing.terms, hold);
            if known.clients > 0 && changed {
                info!(
                    "process {process}: class {}, weight {} ({})",
                    standing.terms.class, standing.terms.weight, standing.from
                );
                settlements.push(Settlement {
                    process,
                    terms: standing.terms,
                    hold,
                });
            }
            known.standing = standing.clone();
            self.board.put(process, standing);
        }
        settlements
    }

    fn end_holds(&mut self) {
        let now = monotonic();
        let ended: Vec<(ProcessId, HoldKind)> = self
            .holds
            .iter()
            .filter(|(_, given)| given.hold.until <= now)
            .map(|(process, given)| (*process, given.hold.kind))
            .collect();
        for (process, kind) in ended {
            self.holds.remove(&process);
            let what = match kind {
                HoldKind::Boosted => "the boost has ended",
                HoldKind::Suspended => "the suspension has ended",
            };
            info!("process {process}: {what} by itself");
            self.events.note(
                Event::new(EventKind::Changed, format!("{what} by itself")).about(process.pid),
            );
            let settlements = self.update(&|_, lineage| lineage.contains(&process));
            self.control.settle(settlements, || {});
        }
    }

    /// Forgets the dead, and asks again for those who are undecided.
    fn prune(&mut self) {
        self.next_prune = Instant::now() + PRUNE;
        self.known
            .retain(|process, known| known.clients > 0 || process.is_alive());
        let known = &self.known;
        self.board.retain(|process| known.contains_key(&process));
        let lineages = known.values().flat_map(|known| &known.lineage);
        let needed: HashSet<ProcessId> = lineages.copied().collect();
        let before = self.given.len();
        self.given
            .retain(|process, _| needed.contains(process) || process.is_alive());
        self.unsaved |= self.given.len() != before || self.cannot_save;
        self.holds.retain(|process, _| needed.contains(process));
        self.judged.retain(|process, _| needed.contains(process));
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

    fn save(&mut self) {
        if !self.unsaved {
            return;
        }
        let inherits = |known: &&Known| {
            let mut ancestors = known.lineage.iter().skip(1);
            ancestors.any(|ancestor| self.given.contains_key(ancestor))
        };
        let kept = Kept {
            given: self.given.clone(),
            lineages: self
                .known
                .values()
                .filter(inherits)
                .map(|known| known.lineage.clone())
                .collect(),
        };
        match self.store.save(&kept) {
            Ok(()) => (self.unsaved, self.cannot_save) = (false, false),
            Err(e) => {
                if !self.cannot_save {
                    warn!("terms given by hand will not survive a restart of the agent: {e}");
                }
                // The next change or prune tries again.
                (self.unsaved, self.cannot_save) = (false, true);
            }
        }
    }
}
