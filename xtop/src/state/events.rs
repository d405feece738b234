//! What happened, from the difference between snapshots.

use std::collections::{HashMap, VecDeque};

use xsched_common::api::{AgentInfo, Severity, ShimState};
use xsched_common::units::Class;

use super::row::{Identity, Row};

/// Events that are kept.
const MAX_EVENTS: usize = 1_000;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A process uses HIP.
    Seen,
    /// A process joined: it is scheduled from now on.
    Joined,
    /// A process exited.
    Exited,
    /// A process has another class.
    Class,
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
            EventKind::Class => "class",
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
        let time_unix_ns = self.time_unix_ns;
        if self.list.len() >= MAX_EVENTS {
            self.list.pop_front();
        }
        self.list.push_back(Event {
            time_unix_ns,
            kind,
            pid,
            text,
        });
    }

    /// Compares a snapshot with the one before; the first is compared with
    /// nothing.
    pub fn compare(&mut self, time_unix_ns: u64, agent: &AgentInfo, rows: &[Row]) {
        self.time_unix_ns = time_unix_ns;
        match self.agent.replace((agent.pid, agent.drops.total)) {
            None => {
                let text = format!("agent {} (pid {})", agent.version, agent.pid);
                self.add(EventKind::Agent, None, text);
            }
            Some((pid, _)) if pid != agent.pid => {
                let text = format!("agent restarted: pid {pid} is now {}", agent.pid);
                self.add(EventKind::Agent, None, text);
            }
            Some((_, drops)) if agent.drops.total > drops => {
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
                let text = format!("{} uses HIP without the shim's gate", row.command);
                self.add(EventKind::Seen, pid, text);
            }
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
            self.add(EventKind::Class, pid, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{typical, users};

    fn said(events: &Events) -> Vec<(&'static str, Option<u32>)> {
        let list = events.list.iter();
        list.map(|event| (event.kind.name(), event.pid)).collect()
    }

    fn rows(processes: &[xsched_common::api::ProcessRow]) -> Vec<Row> {
        let users = users();
        processes
            .iter()
            .map(|p| Row::new(p.clone(), &users))
            .collect()
    }

    #[test]
    fn differences_become_events() {
        let mut snapshot = typical();
        let mut events = Events::default();
        events.compare(1, &snapshot.agent, &rows(&snapshot.processes));
        let first = [
            ("agent", None),
            ("joined", Some(977)),
            ("joined", Some(4242)),
            ("seen", Some(5100)),
        ];
        assert_eq!(said(&events), first);
        events.compare(2, &snapshot.agent, &rows(&snapshot.processes));
        assert_eq!(said(&events).len(), 4, "nothing happened");

        events.changed_here(977, Class::Normal);
        snapshot.processes[0].class = Class::Normal;
        snapshot.processes[1].class = Class::Realtime;
        snapshot.processes[2].start_time += 1;
        snapshot.agent.drops.total = 12;
        events.compare(3, &snapshot.agent, &rows(&snapshot.processes));
        let rest = [
            ("drops", None),
            ("class", Some(977)),
            ("class", Some(4242)),
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
}
