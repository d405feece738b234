//! The table of streams.

use std::hint::cold_path;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use xsched_common::units::DeviceIndex;

use super::past::Past;
use super::stream::{CLAIMED, Ordering, STREAM, StreamInfo, StreamKey, StreamSlot};
use crate::cache::SetAssociativeCache;
use crate::groups::Group;
use crate::thread;

/// Streams with incomplete work that can be told apart; those beyond are not
/// counted.
pub const STREAMS: usize = 512;

/// All streams of the process.
pub struct StreamTable {
    /// Room for twice as many.
    cache: SetAssociativeCache<128>,
    /// Slots `[..high]` have been used.
    high: AtomicU32,
    slots: [StreamSlot; STREAMS],
}

impl StreamTable {
    /// An empty table; all bytes zero.
    pub const fn new() -> StreamTable {
        StreamTable {
            cache: SetAssociativeCache::new(),
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
        let last = thread::with(|thread| {
            (thread.last_stream.get() == key.0).then(|| thread.last_slot.get())
        });
        match last.and_then(|slot| self.at(slot, key)) {
            Some(slot) => Some(slot),
            None => {
                cold_path();
                self.look_up(key)
            }
        }
    }

    /// The slot with this number, if it holds the stream.
    #[inline(always)]
    fn at(&self, slot: u32, key: StreamKey) -> Option<&StreamSlot> {
        let slot = self.slots.get(slot as usize)?;
        (slot.key.load(Relaxed) == key.0).then_some(slot)
    }

    /// Another stream than the thread's last one.
    #[inline(never)]
    fn look_up(&self, key: StreamKey) -> Option<&StreamSlot> {
        let cached = self.cache.get(key.0).map(u32::from);
        let Some(slot) = cached.and_then(|slot| self.at(slot, key)) else {
            return self.search(key);
        };
        thread::with(|thread| {
            thread.last_stream.set(key.0);
            thread.last_slot.set(cached.unwrap_or_default());
        });
        Some(slot)
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
        let before = slot.info().device;
        slot.set_info(info);
        slot.forget_waits();
        slot.paced.with(|paced| {
            // Their events are of another device: a few are lost.
            if before != info.device {
                paced.clear().count();
            }
            paced.move_in();
        });
        slot.key.store(key.0, Release);
        self.high.fetch_max(index as u32 + 1, SeqCst);
        self.cache.put(key.0, index as u16);
        Some(slot)
    }

    /// All slots of a stream: one for each group that uses it, but for the race
    /// in [`StreamTable::insert`].
    pub fn all(&self, key: StreamKey) -> impl Iterator<Item = &StreamSlot> {
        let stream = key.0 & STREAM;
        self.slots()
            .iter()
            .filter(move |slot| slot.holds_any(stream))
    }

    /// The stream is gone; its work counts as complete, for nobody can ask
    /// about it any more.
    pub fn remove(&self, slot: &StreamSlot) {
        slot.complete(u64::MAX);
        slot.key.store(0, Release);
    }

    /// Commands in flight on a device, of all groups.
    pub fn in_flight(&self, device: DeviceIndex) -> u64 {
        self.of(device).map(StreamSlot::in_flight).sum()
    }

    /// Those of one group.
    pub fn in_flight_of(&self, group: Group, device: DeviceIndex) -> u64 {
        self.of_group(group, device)
            .map(StreamSlot::in_flight)
            .sum()
    }

    /// Those of them that hold a launch on `own` back at a cap, see
    /// [`StreamSlot::fenced_in_flight`].
    pub fn in_flight_before(
        &self,
        group: Group,
        device: DeviceIndex,
        own: Option<&StreamSlot>,
    ) -> u64 {
        let is_own = |slot: &StreamSlot| own.is_some_and(|own| own.is(slot));
        self.of_group(group, device)
            .map(|slot| match slot.info().ordering {
                Ordering::Default if !is_own(slot) => slot.fenced_in_flight(),
                // Nobody but its own thread fences it, either.
                Ordering::Blocking if !is_own(slot) && self.waits_for_default(slot) => {
                    slot.fenced_in_flight()
                }
                _ => slot.in_flight(),
            })
            .sum()
    }

    /// Whether what is put at the end of the stream now waits for work on the
    /// default stream.
    pub fn waits_for_default(&self, slot: &StreamSlot) -> bool {
        let info = slot.info();
        info.ordering == Ordering::Blocking
            && self
                .all(StreamKey::default_of(info.device))
                .any(|default| default.in_flight() > 0)
    }

    /// Of the streams of a device, those that count for a group.
    pub fn of_group(&self, group: Group, device: DeviceIndex) -> impl Iterator<Item = &StreamSlot> {
        self.of(device)
            .filter(move |slot| slot.info().group == group)
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
        let begin = self.slots.as_ptr() as usize;
        let index =
            (std::ptr::from_ref(slot) as usize).checked_sub(begin)? / size_of::<StreamSlot>();
        (index < STREAMS).then_some(index as u16)
    }

    /// Adds to `past` what has been put on the stream so far: its commands and
    /// what it waited for. All of that is complete once the stream is empty.
    pub fn add_contents(&self, slot: &StreamSlot, past: &mut Past) {
        let Some(index) = self.index_of(slot) else {
            return;
        };
        past.add(index, slot.launched());
        let pending = slot.waited().filter(|&(of, n)| !self.has_completed(of, n));
        for (of, sequence) in pending {
            past.add(of, sequence);
        }
    }

    fn has_completed(&self, index: u16, sequence: u64) -> bool {
        let slot = self.slot(index);
        slot.is_none_or(|slot| slot.has_completed(sequence))
    }

    /// What comes before whatever is put at the end of the stream now. The
    /// default stream and the blocking ones wait for each other.
    pub fn past(&self, slot: &StreamSlot) -> Past {
        let mut past = Past::NONE;
        self.add_contents(slot, &mut past);
        let stream = StreamKey(slot.stream());
        for other in self.all(stream).filter(|other| !other.is(slot)) {
            self.add_contents(other, &mut past);
        }
        let device = slot.info().device;
        match slot.info().ordering {
            Ordering::Independent => {}
            Ordering::Blocking => {
                for default in self.all(StreamKey::default_of(device)) {
                    self.add_contents(default, &mut past);
                }
            }
            Ordering::Default => {
                let blocking = self.of(device).filter(|other| {
                    other.info().ordering == Ordering::Blocking && other.in_flight() != 0
                });
                for other in blocking {
                    self.add_contents(other, &mut past);
                }
            }
        }
        past
    }

    /// The stream of `slot` waits for all of `past` before it goes on.
    pub fn wait(&self, slot: &StreamSlot, past: &Past) {
        let is_over = |index, sequence| self.has_completed(index, sequence);
        for (index, sequence) in past.parts() {
            if self.index_of(slot) != Some(index) && !is_over(index, sequence) {
                slot.wait_for(index, sequence, is_over);
            }
        }
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
    use crate::owner::Role;

    const D0: DeviceIndex = DeviceIndex(0);

    fn info(handle: u64) -> StreamInfo {
        StreamInfo {
            device: D0,
            group: Group::PROCESS,
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
        assert_eq!(
            (
                slot.launch(Role::Other),
                slot.launch(Role::Other),
                slot.launch(Role::Other)
            ),
            (1, 2, 3)
        );
        assert_eq!(table.in_flight(D0), 3);
        assert_eq!(table.in_flight(DeviceIndex(1)), 0);
        assert_eq!(slot.complete(2), 2);
        assert_eq!(slot.complete(1), 0, "completions only advance");
        assert_eq!(slot.complete(100), 1, "and never beyond the launches");
        assert_eq!((slot.unpublished(), slot.unpublished()), (3, 0));
    }

    /// Two groups on one stream: each counts its own, and whoever waits for
    /// the stream waits for both.
    #[test]
    fn groups_count_apart_on_a_stream_that_they_share() {
        let table = table();
        let key = StreamKey::created(0x1000);
        let low = Group(1);
        let of = |group| {
            let info = StreamInfo {
                group,
                ..info(0x1000)
            };
            let slot = table.find_or_insert(key.of(group), || info);
            slot.expect("room")
        };
        let (process, group) = (of(Group::PROCESS), of(low));
        assert!(!process.is(group));
        process.launch(Role::Other);
        group.launch(Role::Other);
        group.launch(Role::Other);
        assert_eq!(table.in_flight_of(low, D0), 2);
        assert_eq!(table.in_flight_of(Group::PROCESS, D0), 1);
        assert_eq!(table.in_flight(D0), 3);
        assert_eq!(table.all(key.of(low)).count(), 2);
        assert_eq!(parts(table.past(process)), [(0, 1), (1, 2)]);
        assert_eq!(parts(table.past(group)), [(1, 2), (0, 1)]);
    }

    #[test]
    fn a_full_table_reuses_idle_streams_only() {
        let table = table();
        let key = |i: usize| StreamKey::created(0x1000 + 8 * i as u64);
        for i in 0..STREAMS {
            table
                .insert(key(i), info(8))
                .expect("room")
                .launch(Role::Other);
        }
        assert!(table.insert(key(STREAMS), info(8)).is_none());
        table.find(key(7)).expect("in the table").complete(1);
        assert!(table.insert(key(STREAMS), info(8)).is_some());
        assert!(table.find(key(7)).is_none());
        // Late news about the evicted stream's work changes nothing.
        let slot = table.find(key(STREAMS)).expect("just inserted");
        slot.launch(Role::Other);
        assert_eq!((slot.complete(1), slot.in_flight()), (0, 1));
    }

    fn parts(past: Past) -> Vec<(u16, u64)> {
        past.parts().collect()
    }

    /// Compute, an event, another stream that waits for it, a host function
    /// there: how XLA learns that a request is done.
    #[test]
    fn a_wait_passes_on_what_came_before_the_event() {
        let table = table();
        let independent = |n: u64| StreamInfo {
            ordering: Ordering::Independent,
            ..info(n)
        };
        let stream = |n| {
            table
                .insert(StreamKey::created(n), independent(n))
                .expect("room")
        };
        let (compute, between, callbacks) = (stream(64), stream(128), stream(192));
        compute.launch(Role::Other);
        compute.launch(Role::Other);
        table.wait(between, &table.past(compute));
        // Work behind the event is not waited for.
        compute.launch(Role::Other);
        table.wait(callbacks, &table.past(between));
        assert_eq!(parts(table.past(callbacks)), [(0, 2)]);
        // Asked for what it held, it says the same.
        let mut contents = Past::NONE;
        table.add_contents(callbacks, &mut contents);
        assert_eq!(parts(contents), [(0, 2)]);
        compute.complete(2);
        assert_eq!(parts(table.past(callbacks)), []);
        // One slot waits for many in turn without filling up.
        for n in 4..100 {
            compute.launch(Role::Other);
            table.wait(callbacks, &table.past(compute));
            assert_eq!(parts(table.past(callbacks)), [(0, n)]);
            compute.complete(n);
        }
        compute.launch(Role::Other);
        table.wait(callbacks, &table.past(compute));
        table.remove(callbacks);
        let next = stream(256);
        assert_eq!(table.index_of(next), Some(2), "in the same slot");
        assert_eq!(parts(table.past(next)), [], "knows nothing of its waits");
    }

    #[test]
    fn the_default_stream_and_the_blocking_ones_stand_behind_each_other() {
        let table = table();
        let of = |key, ordering| {
            let stream = StreamInfo {
                ordering,
                ..info(64)
            };
            table.insert(key, stream).expect("room")
        };
        let default = of(StreamKey::default_of(D0), Ordering::Default);
        let blocking = of(StreamKey::created(64), Ordering::Blocking);
        let other = of(StreamKey::created(128), Ordering::Independent);
        for stream in [default, blocking, other] {
            stream.launch(Role::Other);
        }
        assert_eq!(parts(table.past(default)), [(0, 1), (1, 1)]);
        assert_eq!(parts(table.past(blocking)), [(1, 1), (0, 1)]);
        assert_eq!(parts(table.past(other)), [(2, 1)]);
    }

    #[test]
    fn fences_come_back_oldest_first() {
        let table = table();
        let slot = table
            .insert(StreamKey::created(64), info(64))
            .expect("room");
        for _ in 0..10 {
            slot.launch(Role::Other);
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
