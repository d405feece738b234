//! One stream: its name, its counts and its fences.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use xsched_common::gate::FENCES;
use xsched_common::units::DeviceIndex;

use super::paced::Paced;
use super::past::{REACH, pack};
use crate::groups::Group;
use crate::owner::{Role, Tally};

/// Names a stream within the process, as one group uses it: never zero, and
/// below 2^48 but for the group above that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey(pub(super) u64);

/// Of a key, what names the stream whoever uses it.
pub(super) const STREAM: u64 = (1 << 48) - 1;

impl StreamKey {
    /// A stream that the program created.
    pub const fn created(handle: u64) -> StreamKey {
        // Handles are addresses in every runtime known; whatever else they
        // may be is hashed into the space that aligned addresses leave free.
        if handle & 7 == 0 && handle >> 48 == 0 {
            StreamKey(handle)
        } else {
            StreamKey((handle.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) | 4)
        }
    }

    /// The same stream as a group uses it: each counts for itself.
    #[inline(always)]
    pub const fn of(self, group: Group) -> StreamKey {
        match group {
            Group::PROCESS => self,
            group => StreamKey(self.0 & STREAM | (group.0 as u64) << 48),
        }
    }

    /// A device's default stream.
    pub const fn default_of(device: DeviceIndex) -> StreamKey {
        StreamKey((device.0 as u64) << 3 | 1)
    }

    /// A thread's default stream on a device; `thread` is unique to the
    /// thread while it lives.
    pub const fn per_thread(thread: u64, device: DeviceIndex) -> StreamKey {
        StreamKey(((thread ^ (device.0 as u64) << 40) & ((1 << 48) - 1) & !7) | 2)
    }
}

/// How a stream is ordered against its device's default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ordering {
    /// Not known, or known to be independent.
    Independent = 0,
    /// Waits for the default stream, and the default stream for it.
    Blocking = 1,
    /// The default stream itself.
    Default = 2,
}

/// What is fixed about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Whom its work runs on.
    pub device: DeviceIndex,
    /// Whose work is counted here.
    pub group: Group,
    /// Its order against the default stream.
    pub ordering: Ordering,
    /// As the platform passes it, for fences; `None` when only the calling
    /// thread could use it.
    pub handle: Option<u64>,
}

/// A recorded fence: complete when the platform says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The platform's event.
    pub event: u64,
    /// Commands of the stream that stand before it.
    pub sequence: u64,
    /// Commands of the device's default stream that do.
    pub implied: Implied,
}

/// Another stream's commands that are complete once a fence is: that
/// stream's slot and how many, packed into one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Implied(u64);

impl Implied {
    /// None.
    pub const NONE: Implied = Implied(0);

    /// The first `sequence` of the stream in this slot.
    pub fn new(slot: u16, sequence: u64) -> Implied {
        Implied(sequence << 16 | u64::from(slot))
    }

    /// The slot and the number, unless that is zero.
    pub fn get(self) -> Option<(u16, u64)> {
        (self.0 >> 16 != 0).then_some((self.0 as u16, self.0 >> 16))
    }
}

/// One stream's counts.
#[repr(C, align(64))]
pub struct StreamSlot {
    pub(super) key: AtomicU64,
    launched: Tally,
    completed: AtomicU64,
    published: AtomicU64,
    handle: AtomicU64,
    /// Device, [`Ordering`], whether there is a handle, group.
    info: AtomicU32,
    /// Held while fences are recorded, read or given up.
    fence_lock: AtomicU32,
    fenced: AtomicU64,
    /// What `launched` was when another thread last looked.
    looked: AtomicU64,
    fences: [[AtomicU64; 3]; FENCES],
    /// Work of other streams that this one waited for, packed.
    waited: [AtomicU64; REACH - 1],
    /// How long its work takes, while that is asked for.
    pub paced: Paced,
}

/// A slot whose key is being replaced.
pub(super) const CLAIMED: u64 = u64::MAX;
const HAS_HANDLE: u32 = 1 << 16;

impl StreamSlot {
    pub(super) const fn new() -> StreamSlot {
        StreamSlot {
            key: AtomicU64::new(0),
            launched: Tally::new(),
            completed: AtomicU64::new(0),
            published: AtomicU64::new(0),
            handle: AtomicU64::new(0),
            info: AtomicU32::new(0),
            fence_lock: AtomicU32::new(0),
            fenced: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            fences: [const { [const { AtomicU64::new(0) }; 3] }; FENCES],
            waited: [const { AtomicU64::new(0) }; REACH - 1],
            paced: Paced::new(),
        }
    }

    /// Counts a command; its number on this stream. It forms a Dekker pair with
    /// the activity: the launcher counts and then looks whether the device is
    /// active, the drainer says idle and then looks at the counts
    /// ([`Owner::order`](crate::owner::Owner::order)).
    #[inline(always)]
    pub fn launch(&self, role: Role) -> u64 {
        self.launched.raise(role)
    }

    /// The number of the last command.
    pub fn launched(&self) -> u64 {
        self.launched.get()
    }

    /// Commands not known to be complete.
    pub fn in_flight(&self) -> u64 {
        // In this order a concurrent launch and completion cannot make the
        // difference negative.
        let completed = self.completed.load(Acquire);
        self.launched().saturating_sub(completed)
    }

    /// Whether the first `sequence` commands are known to be complete.
    pub fn has_completed(&self, sequence: u64) -> bool {
        self.completed.load(Acquire) >= sequence
    }

    /// Whether there is work on it whose end nobody knows.
    pub fn is_unknown(&self) -> bool {
        let last = self.paced.unknown();
        last != 0 && !self.has_completed(last)
    }

    /// Those of them that somebody may ask about by and by. On a default
    /// stream only its own thread puts fences: what has none, and is not
    /// launched upon again, would hold others up for ever.
    pub fn fenced_in_flight(&self) -> u64 {
        let completed = self.completed.load(Acquire);
        let fenced = self.fenced.load(Relaxed).min(self.launched());
        fenced.saturating_sub(completed)
    }

    /// All commands up to `sequence` are complete; how many of them are news.
    pub fn complete(&self, sequence: u64) -> u64 {
        // A number from an earlier use of the slot is never ahead, because
        // the counts survive the change of streams.
        let sequence = sequence.min(self.launched());
        sequence.saturating_sub(self.completed.fetch_max(sequence, Release))
    }

    /// Commands launched since the last call: what the status page has not
    /// yet heard of. Concurrent calls may each get a wrapped part; their sum
    /// is right.
    pub fn unpublished(&self) -> u64 {
        let launched = self.launched();
        launched.wrapping_sub(self.published.swap(launched, Relaxed))
    }

    /// The stream's device.
    #[inline(always)]
    pub fn device(&self) -> DeviceIndex {
        DeviceIndex(self.info.load(Relaxed) as u8)
    }

    /// What is fixed about the stream.
    pub fn info(&self) -> StreamInfo {
        let raw = self.info.load(Relaxed);
        StreamInfo {
            device: self.device(),
            group: Group((raw >> 24) as u8),
            ordering: match raw >> 8 & 0xff {
                1 => Ordering::Blocking,
                2 => Ordering::Default,
                _ => Ordering::Independent,
            },
            handle: (raw & HAS_HANDLE != 0).then(|| self.handle.load(Relaxed)),
        }
    }

    pub(super) fn set_info(&self, info: StreamInfo) {
        self.handle.store(info.handle.unwrap_or(0), Relaxed);
        let flag = if info.handle.is_some() { HAS_HANDLE } else { 0 };
        let raw = u32::from(info.device.0)
            | (info.ordering as u32) << 8
            | u32::from(info.group.0) << 24
            | flag;
        self.info.store(raw, Relaxed);
    }

    /// The stream waits for the first `sequence` commands of the stream in
    /// `slot` before it goes on; `is_over` tells of such a wait whether it has
    /// ended. Without room, or with another thread at the same place, it is
    /// forgotten: then the completion is learnt later.
    pub fn wait_for(&self, slot: u16, sequence: u64, is_over: impl Fn(u16, u64) -> bool) {
        let new = pack(slot, sequence);
        let same = |word: u64| word != 0 && word as u16 == slot;
        let free = |word: u64| word == 0 || is_over(word as u16, word >> 16);
        let place = |fits: &dyn Fn(u64) -> bool| {
            let mut words = self.waited.iter().map(|word| (word, word.load(Relaxed)));
            words.find(|(_, raw)| fits(*raw))
        };
        if let Some((word, old)) = place(&same).or_else(|| place(&free)) {
            let new = if same(old) { new.max(old) } else { new };
            let _ = word.compare_exchange(old, new, Relaxed, Relaxed);
        }
    }

    /// What the stream waited for.
    pub fn waited(&self) -> impl Iterator<Item = (u16, u64)> {
        let words = self.waited.iter().map(|word| word.load(Relaxed));
        words.map(|word| (word as u16, word >> 16))
    }

    /// Another stream moves in.
    pub(super) fn forget_waits(&self) {
        for word in &self.waited {
            word.store(0, Relaxed);
        }
    }

    /// Runs `f` with the stream's fences unless another thread has them.
    pub fn with_fences<T>(&self, f: impl FnOnce(Fences<'_>) -> T) -> Option<T> {
        if self
            .fence_lock
            .compare_exchange(0, 1, Acquire, Relaxed)
            .is_err()
        {
            return None;
        }
        // Also when the thread ends in `f`, in the runtime.
        let _held = Unlock(&self.fence_lock);
        Some(f(Fences(self)))
    }

    /// Whether the slot holds this stream for this group.
    pub(super) fn holds(&self, key: StreamKey) -> bool {
        self.key.load(Acquire) == key.0
    }

    /// Whether the slot holds this stream, whoever's work.
    pub(super) fn holds_any(&self, stream: u64) -> bool {
        let key = self.key.load(Acquire);
        key != CLAIMED && key & STREAM == stream
    }

    /// The stream's name, whoever uses it.
    pub(super) fn stream(&self) -> u64 {
        self.key.load(Acquire) & STREAM
    }

    /// Whether this is that very slot.
    pub fn is(&self, other: &StreamSlot) -> bool {
        std::ptr::eq(self, other)
    }

    /// Whether any stream is in the slot.
    pub fn in_use(&self) -> bool {
        !matches!(self.key.load(Acquire), 0 | CLAIMED)
    }
}

/// Frees a lock when dropped.
pub(super) struct Unlock<'a>(pub(super) &'a AtomicU32);

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        self.0.store(0, Release);
    }
}

/// A stream's outstanding fences, oldest first, while its lock is held.
pub struct Fences<'a>(&'a StreamSlot);

impl Fences<'_> {
    /// Commands that no fence stands behind yet.
    pub fn unfenced(&self) -> u64 {
        let covered = self
            .0
            .fenced
            .load(Relaxed)
            .max(self.0.completed.load(Relaxed));
        self.0.launched().saturating_sub(covered)
    }

    /// The commands that a fence by another thread may be taken to stand
    /// behind. The stream's own thread counts a command before it hands it
    /// over, so the last one may not be there yet: it is left out until a
    /// later look finds it to be the last one still. Zero: look again later.
    pub fn surely_enqueued(&self) -> u64 {
        let launched = self.0.launched();
        let settled = self.0.looked.swap(launched, Relaxed) == launched;
        let enqueued = if settled {
            launched
        } else {
            launched.saturating_sub(1)
        };
        let covered = launched - self.unfenced().min(launched);
        if enqueued > covered { enqueued } else { 0 }
    }

    /// Whether another fence can be remembered.
    pub fn has_room(&self) -> bool {
        self.0
            .fences
            .iter()
            .any(|[event, ..]| event.load(Relaxed) == 0)
    }

    /// Remembers a fence behind everything up to `fence.sequence`.
    pub fn push(&self, fence: Fence) {
        for [event, sequence, implied] in &self.0.fences {
            if event.load(Relaxed) == 0 {
                implied.store(fence.implied.0, Relaxed);
                sequence.store(fence.sequence, Relaxed);
                event.store(fence.event, Relaxed);
                self.0.fenced.store(fence.sequence, Relaxed);
                return;
            }
        }
    }

    /// The oldest fence.
    pub fn oldest(&self) -> Option<Fence> {
        self.0
            .fences
            .iter()
            .map(|[event, sequence, implied]| Fence {
                event: event.load(Relaxed),
                sequence: sequence.load(Relaxed),
                implied: Implied(implied.load(Relaxed)),
            })
            .filter(|fence| fence.event != 0)
            .min_by_key(|fence| fence.sequence)
    }

    /// Forgets a fence.
    pub fn remove(&self, fence: Fence) {
        for [event, ..] in &self.0.fences {
            if event.load(Relaxed) == fence.event {
                event.store(0, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D0: DeviceIndex = DeviceIndex(0);

    #[test]
    fn keys_do_not_collide() {
        let keys = [
            StreamKey::created(0x7fff_0000_1000),
            StreamKey::created(3),
            StreamKey::created(u64::MAX),
            StreamKey::default_of(D0),
            StreamKey::default_of(DeviceIndex(3)),
            StreamKey::per_thread(0x7fff_0000_1000, D0),
            StreamKey::per_thread(0x7fff_0000_1000, DeviceIndex(1)),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(a.0 != 0 && a.0 >> 48 == 0);
            assert!(!keys[..i].contains(a), "{a:?}");
        }
    }
}
