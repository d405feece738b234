//! Which work an event stands behind: when the program learns that an event
//! is complete, so do we.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

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
pub struct EventTable([[AtomicU64; 2]; EVENTS]);

impl EventTable {
    /// An empty table; all bytes zero.
    pub const fn new() -> EventTable {
        EventTable([const { [const { AtomicU64::new(0) }; 2] }; EVENTS])
    }

    fn entry(&self, event: u64) -> Option<&[AtomicU64; 2]> {
        let hash = event.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - EVENTS.ilog2());
        self.0.get(hash as usize)
    }

    /// The event was recorded behind `mark`.
    pub fn record(&self, event: u64, mark: EventMark) {
        if let Some([key, value]) = self.entry(event) {
            key.store(0, Release);
            value.store(mark.sequence << 16 | u64::from(mark.slot), Release);
            key.store(event, Release);
        }
    }

    /// What the event stands behind.
    pub fn mark(&self, event: u64) -> Option<EventMark> {
        let [key, value] = self.entry(event)?;
        let matches = || event != 0 && key.load(Acquire) == event;
        let raw = matches().then(|| value.load(Acquire))?;
        // Unchanged key: the value belongs to it, or to a later recording of
        // the same event.
        matches().then_some(EventMark {
            slot: raw as u16,
            sequence: raw >> 16,
        })
    }

    /// The event is gone, or stands behind unknown work.
    pub fn forget(&self, event: u64) {
        if let Some([key, _]) = self.entry(event) {
            let _ = key.compare_exchange(event, 0, Release, Relaxed);
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
