//! Which work an event stands behind: when the program learns that an event
//! is complete, so do we.

use std::sync::atomic::AtomicU64;

use super::seqlock::Entry;

const EVENTS: usize = 1024;

/// A stream's slot and the number of its last command before the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMark {
    /// The slot's number in the table of streams.
    pub slot: u16,
    /// Commands before the event, modulo 2^48.
    pub sequence: u64,
}

/// Direct-mapped and best effort: events that share an entry forget each
/// other, and forgetting only means learning of a completion later.
pub struct EventTable([Entry; EVENTS]);

impl EventTable {
    /// An empty table; all bytes zero.
    pub const fn new() -> EventTable {
        EventTable(
            [const {
                Entry {
                    version: AtomicU64::new(0),
                    key: AtomicU64::new(0),
                    value: AtomicU64::new(0),
                }
            }; EVENTS],
        )
    }

    fn entry(&self, event: u64) -> Option<&Entry> {
        let hash = event.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - EVENTS.ilog2());
        self.0.get(hash as usize)
    }

    /// The event was recorded behind `mark`.
    pub fn record(&self, event: u64, mark: EventMark) {
        if let Some(entry) = self.entry(event) {
            entry.write(event, mark.sequence << 16 | u64::from(mark.slot));
        }
    }

    /// What the event stands behind.
    pub fn mark(&self, event: u64) -> Option<EventMark> {
        let raw = self.entry(event)?.read(event)?;
        Some(EventMark {
            slot: raw as u16,
            sequence: raw >> 16,
        })
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
        let mark = |sequence| EventMark { slot: 3, sequence };
        assert_eq!(table.mark(0x10), None);
        table.record(0x10, mark(5));
        table.record(0x10, mark(6));
        assert_eq!(table.mark(0x10), Some(mark(6)));
        table.forget(0x10);
        assert_eq!(table.mark(0x10), None);
        for event in 1..10_000u64 {
            table.record(event * 8, mark(event));
        }
        assert_eq!(table.mark(9_999 * 8), Some(mark(9_999)));
        for event in 1..10_000u64 {
            if let Some(found) = table.mark(event * 8) {
                assert_eq!(found.sequence, event);
            }
        }
    }
}
