//! What happened lately: noted by any part of the agent, kept by the model.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use xsched_common::api::{EventKind, EventRow};
use xsched_host::clock;
use xsched_host::text::printable;

/// Events that snapshots carry.
const KEPT: usize = 256;

/// Events that may wait for the model's next tick.
const WAITING: usize = 1024;

/// Longest text of an event, bytes.
const MAX_TEXT: usize = 512;

/// Something that happened now.
#[derive(Clone, Debug)]
pub struct Event {
    time_unix_ns: u64,
    pid: Option<u32>,
    actor: Option<String>,
    kind: EventKind,
    text: String,
}

impl Event {
    /// An event; `text` is one line for people, whatever is in it.
    pub fn new(kind: EventKind, text: impl AsRef<str>) -> Event {
        let text = text.as_ref();
        Event {
            time_unix_ns: clock::unix().0,
            pid: None,
            actor: None,
            kind,
            text: printable(&text[..text.floor_char_boundary(MAX_TEXT)]),
        }
    }

    /// Names the process that it is about.
    pub fn about(mut self, pid: u32) -> Event {
        self.pid = Some(pid);
        self
    }

    /// Names who did it.
    pub fn by(mut self, actor: impl std::fmt::Display) -> Event {
        self.actor = Some(printable(&actor.to_string()));
        self
    }
}

/// A way to note events, for any thread. Noting never waits and takes no
/// lock.
#[derive(Clone, Debug)]
pub struct EventLog {
    queue: SyncSender<Event>,
    lost: Arc<AtomicU64>,
}

impl EventLog {
    /// A log and its keeper.
    pub fn new() -> (EventLog, Events) {
        let (queue, waiting) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let events = Events {
            waiting,
            lost: lost.clone(),
            kept: VecDeque::new(),
            next: 1,
            counts: EventCounts::default(),
        };
        (EventLog { queue, lost }, events)
    }

    /// Notes an event. More than can wait for the next tick are lost, which
    /// shows as a gap in the numbers.
    pub fn note(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// Events since the start, by kind; those that were lost are in `lost` only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// In the order of [`EventKind::NAMES`].
    pub by_kind: [u64; 8],
    /// Too many to be noted.
    pub lost: u64,
}

/// The keeper of a log: numbers events and forgets old ones.
#[derive(Debug)]
pub struct Events {
    waiting: Receiver<Event>,
    lost: Arc<AtomicU64>,
    kept: VecDeque<EventRow>,
    next: u64,
    counts: EventCounts,
}

impl Events {
    /// Takes in what was noted since the last call.
    pub fn collect(&mut self) {
        while let Ok(event) = self.waiting.try_recv() {
            self.keep(event);
        }
        let lost = self.lost.swap(0, Relaxed);
        self.next += lost;
        self.counts.lost += lost;
    }

    fn keep(&mut self, event: Event) {
        let Event {
            time_unix_ns,
            pid,
            actor,
            kind,
            text,
        } = event;
        self.counts.by_kind[kind.index()] += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(EventRow {
            number: self.next,
            time_unix_ns,
            pid,
            actor,
            kind,
            text,
        });
        self.next += 1;
    }

    /// The latest, oldest first.
    pub fn rows(&self) -> Vec<EventRow> {
        self.kept.iter().cloned().collect()
    }

    /// How many there were.
    pub fn counts(&self) -> EventCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        Event::new(EventKind::Changed, text)
    }

    #[test]
    fn the_latest_are_kept_and_numbers_go_on() {
        let (log, mut events) = EventLog::new();
        for i in 1..=KEPT + 10 {
            log.note(event(&format!("number {i}")));
        }
        events.collect();
        let rows = events.rows();
        assert_eq!(rows.len(), KEPT);
        assert_eq!((rows[0].number, rows[0].text.as_str()), (11, "number 11"));
        assert_eq!(rows[KEPT - 1].number, KEPT as u64 + 10);
        assert_eq!(events.counts().by_kind[2], KEPT as u64 + 10);
    }

    #[test]
    fn a_flood_is_lost_and_shows_as_a_gap() {
        let (log, mut events) = EventLog::new();
        for _ in 0..WAITING + 7 {
            log.note(event("flood"));
        }
        events.collect();
        log.note(event("after"));
        events.collect();
        let rows = events.rows();
        let [before, after] = [&rows[rows.len() - 2], &rows[rows.len() - 1]];
        assert_eq!(after.number - before.number, 8);
        assert_eq!(events.counts().lost, 7);
    }

    #[test]
    fn an_event_is_one_bounded_line() {
        let (log, mut events) = EventLog::new();
        let peer = "uid 1000 (pid 9)";
        let long = format!("evil\n\x1b[2J{}", "é".repeat(MAX_TEXT));
        log.note(event(&long).about(7).by(peer));
        events.collect();
        let row = &events.rows()[0];
        assert!(row.text.len() <= MAX_TEXT && !row.text.chars().any(char::is_control));
        assert_eq!(row.pid, Some(7));
        assert_eq!(row.actor.as_deref(), Some("uid 1000 (pid 9)"));
    }
}
