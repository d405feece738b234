//! What happened: the agent's own list, and what the difference between
//! snapshots shows besides.

use std::collections::{HashMap, VecDeque};

use xsched_common::api::{AgentInfo, EventKind as AgentKind, EventRow, Severity, ShimState};
use xsched_common::units::Class;

use super::row::{Identity, Row};

/// Events that are kept.
const MAX_EVENTS: usize = 1_000;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A process uses a runtime.
    Seen,
    /// A process joined: it is scheduled from now on.
    Joined,
    /// A process exited.
    Exited,
    /// A client is gone: it exited, or runs unscheduled from now on.
    Left,
    /// Terms of a process changed.
    Changed,
    /// A change was refused.
    Refused,
    /// The configuration was read, or could not be.
    Configuration,
    /// A latency target went out of reach, or came back.
    Slo,
    /// Events are missing from the counts.
    Drops,
    /// Diagnosis found something.
    Finding(Severity),
    /// The connection or the agent changed.
    Agent,
}

impl EventKind {
    /// The name on screen.
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Seen => "seen",
            EventKind::Joined => "joined",
            EventKind::Exited => "exited",
            EventKind::Left => "left",
            EventKind::Changed => "changed",
            EventKind::Refused => "refused",
            EventKind::Configuration => "config",
            EventKind::Slo => "slo",
            EventKind::Drops => "drops",
            EventKind::Finding(_) => "finding",
            EventKind::Agent => "agent",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time of day of the snapshot that shows it, ns since 1970.
    pub time_unix_ns: u64,
    /// What kind.
    pub kind: EventKind,
    /// The process, if it is about one.
    pub pid: Option<u32>,
    /// What.
    pub text: String,
    /// Who did it, where the agent says so.
    pub actor: Option<String>,
}

/// What the next snapshot is compared with.
#[derive(Clone, Debug)]
struct Known {
    command: String,
    class: Class,
    shim: ShimState,
}

/// The events, newest last.
#[derive(Clone, Debug, Default)]
pub struct Events {
    list: VecDeque<Event>,
    known: HashMap<Identity, Known>,
    agent: Option<(u32, u64)>,
    /// Class changes of this xtop that the next snapshots will show.
    own_changes: Vec<(u32, Class)>,
    time_unix_ns: u64,
    /// Number of the agent's last event; none from one that lists none.
    last_number: Option<u64>,
}

impl Events {
    /// Events, newest first.
    pub fn newest_first(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.list.iter().rev()
    }

    /// Whether nothing happened yet.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Remembers that a class is changed from here.
    pub fn changed_here(&mut self, pid: u32, class: Class) {
        // More are never on their way at once.
        if self.own_changes.len() >= 16 {
            self.own_changes.remove(0);
        }
        self.own_changes.push((pid, class));
    }

    /// Adds what the snapshots do not show.
    pub fn add(&mut self, kind: EventKind, pid: Option<u32>, text: String) {
        self.push(Event {
            time_unix_ns: self.time_unix_ns,
            kind,
            pid,
            text,
            actor: None,
        });
    }

    fn push(&mut self, event: Event) {
        if self.list.len() >= MAX_EVENTS {
            self.list.pop_front();
        }
        self.list.push_back(event);
    }

    /// Takes in a snapshot: what the agent lists of it, and what it shows
    /// compared with the one before; the first is compared with nothing.
    pub fn take_in(
        &mut self,
        time_unix_ns: u64,
        agent: &AgentInfo,
        events: Vec<EventRow>,
        rows: &[Row],
    ) {
        self.time_unix_ns = time_unix_ns;
        if self.agent.is_some_and(|(pid, _)| pid != agent.pid) {
            // Its successor counts anew.
            self.last_number = None;
        }
        for event in events {
            self.list_of_agent(event);
        }
        self.compare(agent, rows);
    }

    /// Takes in an event of the agent's list, which comes whole with every
    /// snapshot.
    fn list_of_agent(&mut self, event: EventRow) {
        let missed = match self.last_number {
            Some(last) if event.number <= last => return,
            Some(last) => event.number - last - 1,
            // Older ones were before xtop's time.
            None => 0,
        };
        if missed > 0 {
            let text = format!("{missed} events missed: more than the agent keeps");
            self.add(EventKind::Drops, None, text);
        }
        self.last_number = Some(event.number);
        let kind = match event.kind {
            AgentKind::Joined => EventKind::Joined,
            AgentKind::Left => EventKind::Left,
            AgentKind::Changed => EventKind::Changed,
            AgentKind::Refused => EventKind::Refused,
            AgentKind::Configuration => EventKind::Configuration,
            AgentKind::Finding(severity) => EventKind::Finding(severity),
            AgentKind::Dropped => EventKind::Drops,
            AgentKind::Slo => EventKind::Slo,
        };
        self.push(Event {
            time_unix_ns: event.time_unix_ns,
            kind,
            pid: event.pid,
            text: event.text,
            actor: event.actor,
        });
    }

    /// Whether the agent keeps a list of its own: what is on it is not
    /// guessed from differences.
    fn is_listed(&self) -> bool {
        self.last_number.is_some()
    }

    fn compare(&mut self, agent: &AgentInfo, rows: &[Row]) {
        match self.agent.replace((agent.pid, agent.drops.total)) {
            None => {
                let text = format!("agent {} (pid {})", agent.version, agent.pid);
                self.add(EventKind::Agent, None, text);
            }
            Some((pid, _)) if pid != agent.pid => {
                let text = format!("agent restarted: pid {pid} is now {}", agent.pid);
                self.add(EventKind::Agent, None, text);
            }
            Some((_, drops)) if agent.drops.total > drops && !self.is_listed() => {
                let more = agent.drops.total - drops;
                let text = format!("{more} events dropped: counts are too low by these");
                self.add(EventKind::Drops, None, text);
            }
            Some(_) => {}
        }
        let mut before = std::mem::take(&mut self.known);
        for row in rows {
            let known = before.remove(&row.identity());
            self.compare_row(known.as_ref(), row);
            let (class, shim) = (row.process.class, row.process.shim);
            let command = row.command.clone();
            let now = Known {
                command,
                class,
                shim,
            };
            self.known.insert(row.identity(), now);
        }
        let mut gone: Vec<_> = before.into_iter().collect();
        gone.sort_by_key(|(identity, _)| (identity.pid, identity.start_time));
        for (identity, known) in gone {
            if self.is_listed() && known.shim == ShimState::Joined {
                continue;
            }
            self.add(EventKind::Exited, Some(identity.pid), known.command);
        }
    }

    fn compare_row(&mut self, known: Option<&Known>, row: &Row) {
        let process = &row.process;
        let pid = Some(process.pid);
        let joined = process.shim == ShimState::Joined;
        let was = known.map(|known| known.shim);
        match (was, joined) {
            (None, false) => {
                let text = format!("{} uses the GPU without the shim's gate", row.command);
                self.add(EventKind::Seen, pid, text);
            }
            _ if self.is_listed() => return,
            (None, true) | (Some(ShimState::Absent | ShimState::Mapped), true) => {
                let text = format!("{} is scheduled as {}", row.command, process.class);
                self.add(EventKind::Joined, pid, text);
            }
            (Some(ShimState::Joined), false) => {
                let text = format!("{} left the agent: it runs unscheduled", row.command);
                self.add(EventKind::Joined, pid, text);
            }
            _ => {}
        }
        if let Some(known) = known.filter(|known| known.class != process.class) {
            let own = (process.pid, process.class);
            let place = self.own_changes.iter().position(|change| *change == own);
            let by = match place {
                Some(place) => {
                    self.own_changes.remove(place);
                    "by this xtop"
                }
                None => "by another client",
            };
            let text = format!("{} {} to {}, {by}", row.command, known.class, process.class);
            self.add(EventKind::Changed, pid, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::typical;

    fn said(events: &Events) -> Vec<(&'static str, Option<u32>)> {
        let list = events.list.iter();
        list.map(|event| (event.kind.name(), event.pid)).collect()
    }

    fn rows(processes: &[xsched_common::api::ProcessRow]) -> Vec<Row> {
        processes.iter().cloned().map(Row::new).collect()
    }

    #[test]
    fn differences_become_events() {
        let mut snapshot = typical();
        let mut events = Events::default();
        let take_in = |events: &mut Events, at, snapshot: &xsched_common::api::Snapshot| {
            events.take_in(at, &snapshot.agent, Vec::new(), &rows(&snapshot.processes));
        };
        take_in(&mut events, 1, &snapshot);
        let first = [
            ("agent", None),
            ("joined", Some(977)),
            ("joined", Some(4242)),
            ("seen", Some(5100)),
        ];
        assert_eq!(said(&events), first);
        take_in(&mut events, 2, &snapshot);
        assert_eq!(said(&events).len(), 4, "nothing happened");

        events.changed_here(977, Class::Normal);
        snapshot.processes[0].class = Class::Normal;
        snapshot.processes[1].class = Class::Realtime;
        snapshot.processes[2].start_time += 1;
        snapshot.agent.drops.total = 12;
        take_in(&mut events, 3, &snapshot);
        let rest = [
            ("drops", None),
            ("changed", Some(977)),
            ("changed", Some(4242)),
            ("seen", Some(5100)),
            ("exited", Some(5100)),
        ];
        assert_eq!(said(&events)[4..], rest);
        assert!(events.list[5].text.ends_with("low to normal, by this xtop"));
        assert!(
            events.list[6]
                .text
                .ends_with("high to realtime, by another client")
        );
    }

    #[test]
    fn the_list_is_bounded() {
        let mut events = Events::default();
        for n in 0..2 * MAX_EVENTS {
            events.add(EventKind::Agent, None, n.to_string());
        }
        assert_eq!(events.newest_first().len(), MAX_EVENTS);
        assert!(
            events
                .newest_first()
                .next()
                .is_some_and(|e| e.text == "1999")
        );
    }

    #[test]
    fn the_agents_list_comes_first_and_once() {
        let row = |number, kind| EventRow {
            number,
            time_unix_ns: number,
            pid: Some(4242),
            actor: Some("anna (uid 1000, pid 7)".into()),
            kind,
            text: "high to low".into(),
        };
        let mut snapshot = typical();
        let mut events = Events::default();
        let mut take_in = |snapshot: &xsched_common::api::Snapshot, list| {
            events.take_in(9, &snapshot.agent, list, &rows(&snapshot.processes));
            let said = said(&events);
            events = Events {
                list: VecDeque::new(),
                ..events.clone()
            };
            said
        };
        let joined = row(6, AgentKind::Joined);
        let first = take_in(&snapshot, vec![joined.clone()]);
        let expected = [
            ("joined", Some(4242)),
            ("agent", None),
            ("seen", Some(5100)),
        ];
        assert_eq!(first, expected, "joins are the agent's to tell");

        snapshot.processes[1].class = Class::Low;
        let list = vec![joined, row(7, AgentKind::Changed)];
        assert_eq!(take_in(&snapshot, list.clone()), [("changed", Some(4242))]);
        assert!(take_in(&snapshot, list).is_empty(), "once");

        snapshot.processes.remove(1);
        let late = vec![row(10, AgentKind::Left)];
        let gap = [("drops", None), ("left", Some(4242))];
        assert_eq!(take_in(&snapshot, late), gap);

        snapshot.agent.pid += 1;
        let anew = vec![row(1, AgentKind::Configuration)];
        let restarted = [("config", Some(4242)), ("agent", None)];
        assert_eq!(take_in(&snapshot, anew), restarted);
    }
}
