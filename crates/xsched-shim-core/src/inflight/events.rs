//! Which work an event stands behind: when the program learns that an event
//! is complete, so do we.

use std::sync::atomic::AtomicU64;

use super::past::{Past, REACH};
use super::seqlock::Entry;

const EVENTS: usize = 1024;

/// Direct-mapped and best effort: events that share an entry forget each
/// other, and forgetting only means learning of a completion later.
pub struct EventTable([Entry<REACH>; EVENTS]);

impl EventTable {
    /// An empty table; all bytes zero.
    pub const fn new() -> EventTable {
        EventTable(
            [const {
                Entry {
                    version: AtomicU64::new(0),
                    key: AtomicU64::new(0),
                    value: [const { AtomicU64::new(0) }; REACH],
                }
            }; EVENTS],
        )
    }

    fn entry(&self, event: u64) -> Option<&Entry<REACH>> {
        let hash = event.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - EVENTS.ilog2());
        self.0.get(hash as usize)
    }

    /// The event was recorded behind all of `past`.
    pub fn record(&self, event: u64, past: Past) {
        if let Some(entry) = self.entry(event) {
            entry.write(event, past.words());
        }
    }

    /// What the event stands behind.
    pub fn past(&self, event: u64) -> Option<Past> {
        self.entry(event)?.read(event).map(Past::of_words)
    }

    /// The event is gone, or stands behind unknown work.
    pub fn forget(&self, event: u64) {
        if let Some(entry) = self.entry(event) {
            entry.remove(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_remembered_until_it_is_forgotten_or_displaced() {
        let table = Box::new(EventTable::new());
        let past = |sequence| {
            let mut past = Past::NONE;
            past.add(3, sequence);
            past
        };
        assert_eq!(table.past(0x10), None);
        table.record(0x10, past(5));
        table.record(0x10, past(6));
        assert_eq!(table.past(0x10), Some(past(6)));
        table.forget(0x10);
        assert_eq!(table.past(0x10), None);
        for event in 1..10_000u64 {
            table.record(event * 8, past(event));
        }
        assert_eq!(table.past(9_999 * 8), Some(past(9_999)));
        for event in 1..10_000u64 {
            if let Some(found) = table.past(event * 8) {
                assert_eq!(found, past(event));
            }
        }
    }
}
