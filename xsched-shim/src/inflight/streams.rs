//! The table of streams.

use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use xsched_common::units::DeviceIndex;

use super::stream::{CLAIMED, Ordering, StreamInfo, StreamKey, StreamSlot};
use crate::packed::PackedCache;

/// Streams with incomplete work that can be told apart; those beyond are not
/// counted.
pub const STREAMS: usize = 512;

/// All streams of the process.
pub struct StreamTable {
    cache: PackedCache<1024>,
    /// Slots `[..high]` have been used.
    high: AtomicU32,
    slots: [StreamSlot; STREAMS],
}

impl StreamTable {
    /// An empty table; all bytes zero.
    pub const fn new() -> StreamTable {
        StreamTable {
            cache: PackedCache::new(),
            high: AtomicU32::new(0),
            slots: [const { StreamSlot::new() }; STREAMS],
        }
    }

    /// The slots in use so far.
    pub fn slots(&self) -> &[StreamSlot] {
        let high = (self.high.load(SeqCst) as usize).min(STREAMS);
        self.slots.get(..high).unwrap_or(&self.slots)
    }

    /// The stream's slot, if it has one.
    #[inline(always)]
    pub fn find(&self, key: StreamKey) -> Option<&StreamSlot> {
        if let Some(cached) = self.cache.get(key.0)
            && let Some(slot) = self.slots.get(usize::from(cached))
            && slot.key.load(Relaxed) == key.0
        {
            return Some(slot);
        }
        self.search(key)
    }

    #[cold]
    fn search(&self, key: StreamKey) -> Option<&StreamSlot> {
        let index = self.slots().iter().position(|slot| slot.holds(key))?;
        self.cache.put(key.0, index as u16);
        self.slots.get(index)
    }

    /// The stream's slot, made now if it has none; `None` when all slots
    /// have work in flight.
    #[inline(always)]
    pub fn find_or_insert(
        &self,
        key: StreamKey,
        info: impl FnOnce() -> StreamInfo,
    ) -> Option<&StreamSlot> {
        match self.find(key) {
            Some(slot) => Some(slot),
            None => self.insert(key, info()),
        }
    }

    /// Gives the stream a free slot, or that of a stream without work. Two
    /// threads may both insert one stream: then both slots count for it and
    /// a synchronisation completes both ([`StreamTable::all`]).
    #[cold]
    pub fn insert(&self, key: StreamKey, info: StreamInfo) -> Option<&StreamSlot> {
        let free = |slot: &StreamSlot| {
            slot.key
                .compare_exchange(0, CLAIMED, Acquire, Relaxed)
                .is_ok()
        };
        let idle = |slot: &StreamSlot| {
            let held = slot.key.load(Relaxed);
            held != CLAIMED
                && slot.in_flight() == 0
                && slot
                    .key
                    .compare_exchange(held, CLAIMED, Acquire, Relaxed)
                    .is_ok()
        };
        let index = self
            .slots
            .iter()
            .position(free)
            .or_else(|| self.slots.iter().position(idle))?;
        let slot = self.slots.get(index)?;
        slot.set_info(info);
        slot.key.store(key.0, Release);
        self.high.fetch_max(index as u32 + 1, SeqCst);
        self.cache.put(key.0, index as u16);
        Some(slot)
    }

    /// All slots of a stream: one, but for the race in [`StreamTable::insert`].
    pub fn all(&self, key: StreamKey) -> impl Iterator<Item = &StreamSlot> {
        self.slots().iter().filter(move |slot| slot.holds(key))
    }

    /// The stream is gone; its work counts as complete, for nobody can ask
    /// about it any more.
    pub fn remove(&self, slot: &StreamSlot) {
        slot.complete(u64::MAX);
        slot.key.store(0, Release);
    }

    /// Commands in flight on a device.
    pub fn in_flight(&self, device: DeviceIndex) -> u64 {
        self.of(device).map(StreamSlot::in_flight).sum()
    }

    /// Those of them that hold a launch on `own` back at a cap, see
    /// [`StreamSlot::fenced_in_flight`].
    pub fn in_flight_before(&self, device: DeviceIndex, own: Option<&StreamSlot>) -> u64 {
        let is_own = |slot: &StreamSlot| own.is_some_and(|own| own.is(slot));
        self.of(device)
            .map(|slot| match slot.info().ordering {
                Ordering::Default if !is_own(slot) => slot.fenced_in_flight(),
                _ => slot.in_flight(),
            })
            .sum()
    }

    /// The streams of a device.
    pub fn of(&self, device: DeviceIndex) -> impl Iterator<Item = &StreamSlot> {
        self.slots()
            .iter()
            .filter(move |slot| slot.in_use() && slot.info().device == device)
    }

    /// Everything counts as complete: counting has stopped.
    pub fn complete_all(&self) {
        for slot in self.slots() {
            slot.complete(u64::MAX);
        }
    }

    /// A slot's number, for marks that must survive the stream.
    pub fn index_of(&self, slot: &StreamSlot) -> Option<u16> {
        self.slots.iter().position(|s| s.is(slot)).map(|i| i as u16)
    }

    /// The slot with this number.
    pub fn slot(&self, index: u16) -> Option<&StreamSlot> {
        self.slots.get(usize::from(index))
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::{Fence, Implied};
    use super::*;

    const D0: DeviceIndex = DeviceIndex(0);

    fn info(handle: u64) -> StreamInfo {
        StreamInfo {
            device: D0,
            ordering: Ordering::Blocking,
            handle: Some(handle),
        }
    }

    fn table() -> Box<StreamTable> {
        Box::new(StreamTable::new())
    }

    #[test]
    fn counts_what_was_launched_and_not_completed() {
        let table = table();
        let key = StreamKey::created(0x1000);
        let slot = table.find_or_insert(key, || info(0x1000)).expect("room");
        assert_eq!(slot.info(), info(0x1000));
        assert_eq!((slot.launch(), slot.launch(), slot.launch()), (1, 2, 3));
        assert_eq!(table.in_flight(D0), 3);
        assert_eq!(table.in_flight(DeviceIndex(1)), 0);
        assert_eq!(slot.complete(2), 2);
        assert_eq!(slot.complete(1), 0, "completions only advance");
        assert_eq!(slot.complete(100), 1, "and never beyond the launches");
        assert_eq!((slot.unpublished(), slot.unpublished()), (3, 0));
    }

    #[test]
    fn a_full_table_reuses_idle_streams_only() {
        let table = table();
        let key = |i: usize| StreamKey::created(0x1000 + 8 * i as u64);
        for i in 0..STREAMS {
            table.insert(key(i), info(8)).expect("room").launch();
        }
        assert!(table.insert(key(STREAMS), info(8)).is_none());
        table.find(key(7)).expect("in the table").complete(1);
        assert!(table.insert(key(STREAMS), info(8)).is_some());
        assert!(table.find(key(7)).is_none());
        // Late news about the evicted stream's work changes nothing.
        let slot = table.find(key(STREAMS)).expect("just inserted");
        slot.launch();
        assert_eq!((slot.complete(1), slot.in_flight()), (0, 1));
    }

    #[test]
    fn fences_come_back_oldest_first() {
        let table = table();
        let slot = table
            .insert(StreamKey::created(64), info(64))
            .expect("room");
        for _ in 0..10 {
            slot.launch();
        }
        slot.with_fences(|fences| {
            assert_eq!(fences.unfenced(), 10);
            for (event, sequence) in [(11, 2), (12, 4), (13, 6), (14, 8)] {
                assert!(fences.has_room());
                fences.push(Fence {
                    event,
                    sequence,
                    implied: Implied::NONE,
                });
            }
            assert!(!fences.has_room());
            assert_eq!(fences.unfenced(), 2);
            let oldest = fences.oldest().expect("four");
            assert_eq!(oldest.event, 11);
            fences.remove(oldest);
            assert_eq!(fences.oldest().map(|f| f.event), Some(12));
            assert!(slot.with_fences(|_| ()).is_none(), "one at a time");
            assert_eq!(fences.surely_enqueued(), 9, "the tenth may be on its way");
            assert_eq!(fences.surely_enqueued(), 10, "it would have moved on");
            slot.complete(10);
            assert_eq!(fences.surely_enqueued(), 0, "nothing to fence");
        });
    }
}
