//! The keeper: the thread that knows what was given to whom, evaluates
//! processes by the rules, and tells control the attributes of joined ones.
//!
//! Messages are handled in order and change what is known at once. What they
//! mean for the file and for control is gathered and goes out when none is
//! waiting: a launcher that starts a thousand processes costs one file.

mod evaluating;
mod holds;
mod messages;
mod orders;
mod places;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};
use xsched_common::handshake::Part;
use xsched_host::clock::monotonic;
use xsched_host::process::{self, ProcessId};
use xsched_host::readers::{Readers, Tenant};
use xsched_policy::ClientId;

pub(super) use holds::OverrideGiven;
pub(super) use messages::{Message, Order};

use self::evaluating::Evaluation;
use super::ancestry;
use super::given::Given;
use super::resolve::{Link, Resolved, resolve};
use super::store::{Kept, Store};
use super::table::{AttrTable, Standing};
use crate::config::Config;
use crate::control::{AttrUpdate, ControlHandle, Journal, RosterEvent};
use crate::events::EventLog;
use crate::workloads::Workloads;

/// Time between two looks for dead processes and undecided ones.
const PRUNE: Duration = Duration::from_secs(10);

/// Messages that are handled before what they mean goes out, although more
/// are waiting: nobody may keep others from their replies.
const BATCH: u32 = 256;

/// What the keeper works with.
pub(super) struct Parts {
    pub messages: Receiver<Message>,
    pub control: ControlHandle,
    pub table: Arc<AttrTable>,
    pub workloads: Workloads,
    pub config: Arc<Config>,
    pub store: Store,
    pub events: EventLog,
    /// For the readers' answers.
    pub inbox: Sender<Message>,
}

pub(super) struct Keeper {
    messages: Receiver<Message>,
    /// Messages handled since the outbox went out.
    handled: u32,
    outbox: Outbox,
    control: ControlHandle,
    table: Arc<AttrTable>,
    workloads: Workloads,
    config: Arc<Config>,
    /// Counts configurations: answers of readers to an earlier one are void.
    generation: u64,
    store: Store,
    events: EventLog,
    readers: Readers,
    /// For their answers.
    inbox: Sender<Message>,
    given: HashMap<ProcessId, Given>,
    holds: HashMap<ProcessId, OverrideGiven>,
    known: HashMap<ProcessId, Known>,
    clients: HashMap<ClientId, ProcessId>,
    evaluated: HashMap<ProcessId, Evaluation>,
    /// Seen since the last prune, when there was no place.
    refused: HashSet<ProcessId>,
    journal: Journal,
    unsaved: bool,
    /// Whether the last saving failed; said once.
    cannot_save: bool,
    next_prune: Instant,
}

/// What control is to be told, and who is to be told afterwards.
#[derive(Default)]
struct Outbox {
    updates: Vec<AttrUpdate>,
    replies: Vec<Box<dyn FnOnce() + Send>>,
}

/// A process whose attributes somebody may want.
struct Known {
    /// It and its ancestors when it was first seen or last joined: an
    /// ancestor that exits later takes nothing away.
    ancestry: Vec<ProcessId>,
    uid: Option<u32>,
    /// Who connected, if it is joined: several users are nobody.
    connected: Option<u32>,
    /// Times that it is joined.
    clients: u32,
    /// Whose it is, as far as places go.
    tenant: Tenant,
    because: Because,
    standing: Standing,
}

/// Why a process is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Because {
    /// The model shows it, or its user asked about it.
    Seen,
    /// It joined, or somebody with full rights asked about it: what it
    /// inherits outlives the agent.
    Counts,
}

impl Keeper {
    pub fn new(parts: Parts) -> Keeper {
        let Parts {
            messages,
            control,
            table,
            workloads,
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
            handled: 0,
            outbox: Outbox::default(),
            control,
            table,
            workloads,
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
            evaluated: HashMap::new(),
            refused: HashSet::new(),
            journal: Journal::new(Journal::LINES),
            unsaved: false,
            cannot_save: false,
            next_prune: Instant::now(),
        };
        for ancestry in kept.ancestries {
            let Some(&process) = ancestry.first() else {
                continue;
            };
            if process.is_alive() {
                keeper.know(process, ancestry, Because::Counts);
                keeper.update_one(process);
            }
        }
        keeper.prune();
        if !keeper.given.is_empty() {
            info!(
                "{} processes have attributes from before",
                keeper.given.len()
            );
        }
        keeper
    }

    pub fn run(mut self) {
        loop {
            match self.next() {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.send_out();
    }

    /// The next message. Where none is waiting, what is due is done first.
    fn next(&mut self) -> Result<Message, RecvTimeoutError> {
        if self.handled < BATCH
            && let Ok(message) = self.messages.try_recv()
        {
            self.handled += 1;
            return Ok(message);
        }
        self.handled = 0;
        self.end_holds();
        if Instant::now() >= self.next_prune {
            self.prune();
        }
        self.send_out();
        self.messages.recv_timeout(self.rest())
    }

    /// How long nothing is due.
    fn rest(&self) -> Duration {
        let until_prune = self.next_prune.saturating_duration_since(Instant::now());
        let now = monotonic();
        let until_end = self.next_end();
        let until_end = until_end.map(|end| Duration::from_nanos(end.since(now).0));
        until_end.map_or(until_prune, |end| end.min(until_prune))
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Roster(RosterEvent::Joined(client)) => {
                self.clients.insert(client.id, client.process);
                self.joined(client.process, client.uid, client.part);
            }
            Message::Roster(RosterEvent::Left(id)) => {
                if let Some(process) = self.clients.remove(&id)
                    && let Some(known) = self.known.get_mut(&process)
                {
                    known.clients = known.clients.saturating_sub(1);
                    known.connected = known.connected.filter(|_| known.clients > 0);
                }
            }
            Message::Seen(processes) => self.seen(processes),
            Message::Evaluated(answer) => self.take_answer(answer),
            Message::Pods(uids) => self.pods_changed(&uids),
            Message::Order(order) => self.obey(order),
            // For the model.
            Message::Roster(RosterEvent::Shared(..) | RosterEvent::Target(..)) | Message::Stop => {}
        }
    }

    /// `part` of a process has joined, as user `uid`.
    fn joined(&mut self, process: ProcessId, uid: u32, part: Part) {
        // exec makes another program of a process: evaluate it anew. Threads
        // make no other program of one that is joined.
        let known = self.known.get(&process);
        if part == Part::Process || known.is_none_or(|known| known.clients == 0) {
            self.evaluated.remove(&process);
            self.know(process, Vec::new(), Because::Counts);
        }
        if let Some(known) = self.known.get_mut(&process) {
            known.connected = Some(match known.connected {
                Some(other) if other != uid => Tenant::NOBODY,
                _ => uid,
            });
        }
        self.update_one(process);
        // Its new page has the defaults, even if nothing has changed.
        if let Some(known) = self.known.get_mut(&process) {
            known.clients += 1;
            let standing = &known.standing;
            debug!(
                "process {process}: class {} ({})",
                standing.attr.class, standing.from
            );
            self.outbox.updates.push(known.standing.update(process));
        }
    }

    /// Learns a process's ancestors and evaluates them all.
    fn know(&mut self, process: ProcessId, earlier: Vec<ProcessId>, because: Because) {
        let before = self.known.remove(&process);
        let remembered = before
            .as_ref()
            .map_or(earlier.as_slice(), |known| &known.ancestry);
        let mut ancestors: Vec<ProcessId> = ancestry::of(process).collect();
        for ancestor in remembered {
            if !ancestors.contains(ancestor) {
                ancestors.push(*ancestor);
            }
        }
        // What is inherited must outlive the ancestor and the agent.
        let new = before
            .as_ref()
            .is_none_or(|known| known.because < because || ancestors != known.ancestry);
        let new = new && ancestors != earlier;
        self.unsaved |= new && because == Because::Counts && self.inherits(&ancestors);
        for ancestor in &ancestors {
            self.evaluate(*ancestor);
        }
        let known = Known {
            ancestry: ancestors,
            uid: process::uid(process.pid).ok(),
            tenant: Tenant::of(process.pid),
            because: before
                .as_ref()
                .map_or(because, |known| known.because.max(because)),
            connected: before.as_ref().and_then(|known| known.connected),
            clients: before.as_ref().map_or(0, |known| known.clients),
            standing: before.map_or_else(|| self.nothing_known(), |known| known.standing),
        };
        self.known.insert(process, known);
    }

    /// Whether something was given to an ancestor that must outlive it. What
    /// its user lowered is the user's own matter.
    fn inherits(&self, ancestry: &[ProcessId]) -> bool {
        let given = |ancestor: &ProcessId| {
            let given = self.given.get(ancestor);
            given.is_some_and(|given| !given.set.is_empty() || !given.run.is_empty())
        };
        ancestry.iter().skip(1).any(given)
    }

    fn nothing_known(&self) -> Standing {
        Standing {
            attr: self.config.defaults,
            from: Arc::from(""),
            hold: None,
            passthrough: None,
            weight_rule: None,
            time_slices: self.config.time_slices,
            queue_priority: self.config.queue_priority,
            threads: self.config.threads.clone(),
            highest: None,
        }
    }

    fn resolved(&self, process: ProcessId) -> Resolved {
        let Some(known) = self.known.get(&process) else {
            return resolve(&[], None, self.config.defaults);
        };
        let links: Vec<Link<'_>> = known
            .ancestry
            .iter()
            .map(|ancestor| Link {
                process: *ancestor,
                given: self.given.get(ancestor),
                evaluated: self.evaluated_of(*ancestor),
                asked: self.asked_of(*ancestor),
                user: self.user_of(*ancestor, known),
            })
            .collect();
        resolve(&links, known.uid, self.config.defaults)
    }

    /// As whom one of `known`'s ancestry was evaluated. Of a joined process only
    /// the user counts that connected.
    fn user_of(&self, ancestor: ProcessId, known: &Known) -> Option<u32> {
        let is_own = known.ancestry.first() == Some(&ancestor);
        let connected = known.connected.filter(|_| is_own);
        self.user_when_evaluated(ancestor)
            .filter(|user| connected.is_none_or(|connected| connected == *user))
    }

    /// Works out anew the attributes of all known processes whose ancestry
    /// `concerned` accepts; returns of how many joined ones they are others.
    fn update(&mut self, concerned: impl Fn(&[ProcessId]) -> bool) -> u32 {
        let concerned: Vec<ProcessId> = self
            .known
            .iter()
            .filter(|(_, known)| concerned(&known.ancestry))
            .map(|(process, _)| *process)
            .collect();
        let before = self.outbox.updates.len();
        for process in concerned {
            self.update_one(process);
        }
        (self.outbox.updates.len() - before) as u32
    }

    /// Works out anew the attributes of one; control hears what is new of a joined
    /// process.
    fn update_one(&mut self, process: ProcessId) {
        let resolved = self.resolved(process);
        let hold = self.hold_of(process).map(|(_, given)| given.hold);
        let Some(known) = self.known.get_mut(&process) else {
            return;
        };
        let standing = Standing {
            attr: resolved.attr,
            from: Arc::from(resolved.from),
            hold,
            passthrough: resolved.passthrough,
            weight_rule: resolved.weight_rule,
            time_slices: resolved.time_slices.unwrap_or(self.config.time_slices),
            queue_priority: self.config.queue_priority,
            threads: resolved
                .threads
                .unwrap_or_else(|| self.config.threads.clone()),
            highest: resolved.highest,
        };
        if known.standing == standing {
            return;
        }
        let settled = standing.update(process);
        if known.clients > 0 && settled != known.standing.update(process) {
            // A user's processes may come in a loop.
            let uid = known.uid.unwrap_or(u32::MAX);
            if self.journal.may_tell(uid, monotonic()) {
                info!(
                    "process {process}: class {}, weight {} ({})",
                    standing.attr.class, standing.attr.weight, standing.from
                );
            }
            self.outbox.updates.push(settled);
        }
        known.standing = standing.clone();
        self.table.put(process, standing);
    }

    /// Forgets the dead, and asks again for those who are undecided.
    fn prune(&mut self) {
        self.next_prune = Instant::now() + PRUNE;
        self.refused.clear();
        for (uid, lines) in self.journal.untold(monotonic()) {
            info!("{lines} more times processes of user {uid} were given attributes");
        }
        self.known
            .retain(|process, known| known.clients > 0 || process.is_alive());
        let known = &self.known;
        self.table.retain(|process| known.contains_key(&process));
        let needed = self.needed();
        let before = self.given.len();
        self.given
            .retain(|process, _| needed.contains(process) || process.is_alive());
        self.unsaved |= self.given.len() != before || self.cannot_save;
        self.holds.retain(|process, _| needed.contains(process));
        self.evaluated.retain(|process, _| needed.contains(process));
        self.evaluate_the_undecided();
    }

    /// All known processes and their ancestors.
    fn needed(&self) -> HashSet<ProcessId> {
        let ancestries = self.known.values().flat_map(|known| &known.ancestry);
        ancestries.copied().collect()
    }

    /// Keeps what was given, has control take in what is new, and then tells
    /// everybody who waits for that.
    fn send_out(&mut self) {
        self.save();
        let Outbox { updates, replies } = std::mem::take(&mut self.outbox);
        if !updates.is_empty() || !replies.is_empty() {
            self.control.apply(updates, move || {
                for reply in replies {
                    reply();
                }
            });
        }
    }

    fn save(&mut self) {
        if !self.unsaved {
            return;
        }
        let inherits =
            |known: &&Known| known.because == Because::Counts && self.inherits(&known.ancestry);
        let kept = Kept {
            given: self.given.clone(),
            ancestries: self
                .known
                .values()
                .filter(inherits)
                .map(|known| known.ancestry.clone())
                .collect(),
        };
        match self.store.save(&kept) {
            Ok(()) => (self.unsaved, self.cannot_save) = (false, false),
            Err(e) => {
                if !self.cannot_save {
                    warn!("attributes given by hand will not survive a restart of the agent: {e}");
                }
                // The next change or prune tries again.
                (self.unsaved, self.cannot_save) = (false, true);
            }
        }
    }
}
