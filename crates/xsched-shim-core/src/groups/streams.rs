//! Streams that the program gave a class.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use xsched_common::units::Class;

/// Streams that can have a class of their own at a time.
const ROOM: usize = 64;

/// By handle; few, so they are looked through.
pub struct StreamClasses {
    /// Entries `[..used]` have been used.
    used: AtomicU32,
    entries: [Entry; ROOM],
}

struct Entry {
    /// The handle plus one; zero while free.
    key: AtomicU64,
    /// The class plus one; zero for none.
    class: AtomicU32,
}

/// There are [`ROOM`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The legacy default stream has two names.
const fn key(handle: u64) -> u64 {
    match handle {
        1 => 1,
        other => other.wrapping_add(1),
    }
}

impl StreamClasses {
    /// None; all bytes zero.
    pub const fn new() -> StreamClasses {
        StreamClasses {
            used: AtomicU32::new(0),
            entries: [const {
                Entry {
                    key: AtomicU64::new(0),
                    class: AtomicU32::new(0),
                }
            }; ROOM],
        }
    }

    /// Whether any stream ever had one.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.used.load(Relaxed) != 0
    }

    fn entry(&self, handle: u64) -> Option<&Entry> {
        let used = (self.used.load(Acquire) as usize).min(ROOM);
        let mut used = self.entries.iter().take(used);
        used.find(|entry| entry.key.load(Relaxed) == key(handle))
    }

    /// A stream's, if it has one.
    pub fn class_of(&self, handle: u64) -> Option<Class> {
        let raw = self.entry(handle)?.class.load(Relaxed);
        Class::from_raw(raw.checked_sub(1)? as u8)
    }

    /// Gives a stream a class, or takes it back; the one before.
    pub fn set(&self, handle: u64, class: Option<Class>) -> Result<Option<Class>, Full> {
        let raw = class.map_or(0, |class| class as u32 + 1);
        let before = |raw: u32| {
            raw.checked_sub(1)
                .and_then(|raw| Class::from_raw(raw as u8))
        };
        if let Some(entry) = self.entry(handle) {
            return Ok(before(entry.class.swap(raw, Relaxed)));
        }
        if class.is_none() {
            return Ok(None);
        }
        let take = |entry: &Entry| {
            let free = entry.key.compare_exchange(0, key(handle), Relaxed, Relaxed);
            free.is_ok()
        };
        let place = self.entries.iter().position(take).ok_or(Full)?;
        if let Some(entry) = self.entries.get(place) {
            entry.class.store(raw, Relaxed);
        }
        self.used.fetch_max(place as u32 + 1, Release);
        Ok(None)
    }

    /// The handle is no stream's any more, or a new one's.
    pub fn forget(&self, handle: u64) {
        if self.any()
            && let Some(entry) = self.entry(handle)
        {
            entry.class.store(0, Relaxed);
            entry.key.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_kept_by_handle_and_forgotten() {
        let classes = StreamClasses::new();
        assert!(!classes.any());
        assert_eq!(classes.set(0x40, None), Ok(None));
        assert_eq!(classes.set(0x40, Some(Class::Low)), Ok(None));
        assert_eq!(classes.class_of(0x40), Some(Class::Low));
        assert_eq!(classes.class_of(0x80), None);
        assert_eq!(classes.set(0, Some(Class::High)), Ok(None));
        assert_eq!(classes.class_of(1), Some(Class::High), "its other name");
        assert_eq!(classes.set(0x40, None), Ok(Some(Class::Low)));
        assert_eq!(classes.class_of(0x40), None);
        classes.forget(0);
        assert_eq!(classes.class_of(0), None);
        for handle in 2..=ROOM as u64 {
            assert_eq!(classes.set(handle * 0x100, Some(Class::Low)), Ok(None));
        }
        assert_eq!(classes.set(7, Some(Class::Low)), Err(Full));
        classes.forget(0x200);
        assert_eq!(classes.set(7, Some(Class::Low)), Ok(None));
    }
}
