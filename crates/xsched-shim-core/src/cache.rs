//! A cache of small numbers by address, one atomic word per entry, so that a
//! look-up is a load and a compare and a torn entry cannot exist.
//!
//! A key may lie in any of the eight entries of one cache line: with one place
//! for each key, two of some hundred that are hot share one more often than
//! not, and displace each other for ever (a program has a call site, a stub,
//! for each of its kernels).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Entries of a cache line.
pub const WAYS: usize = 8;

/// `LINES` times [`WAYS`] entries; a power of two, at least two. Keys are non-zero and below
/// 2^48, as user-space addresses are.
pub struct SetAssociativeCache<const LINES: usize> {
    lines: [Line; LINES],
    /// Which entry of a full line is given up next.
    next: AtomicU32,
}

#[repr(C, align(64))]
struct Line([AtomicU64; WAYS]);

impl<const LINES: usize> SetAssociativeCache<LINES> {
    const SHIFT: u32 = {
        assert!(LINES.is_power_of_two() && LINES > 1);
        64 - LINES.trailing_zeros()
    };

    /// An empty cache; all bytes zero.
    pub const fn new() -> SetAssociativeCache<LINES> {
        SetAssociativeCache {
            lines: [const { Line([const { AtomicU64::new(0) }; WAYS]) }; LINES],
            next: AtomicU32::new(0),
        }
    }

    #[inline(always)]
    fn line(&self, key: u64) -> &[AtomicU64; WAYS] {
        // Fibonacci hashing (Knuth, TAOCP 3, 6.4): the high bits of the
        // product depend on all bits of the key.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> Self::SHIFT;
        // SAFETY: `hash` has log2(LINES) bits.
        unsafe { &self.lines.get_unchecked(hash as usize).0 }
    }

    /// The number cached for `key`.
    #[inline(always)]
    pub fn get(&self, key: u64) -> Option<u16> {
        let line = self.line(key);
        let [first, ..] = line;
        let cache = first.load(Relaxed);
        if cache >> 16 == key && key != 0 {
            return Some(cache as u16);
        }
        in_rest(line, key)
    }

    /// Caches a number, in a full line in the place of another. Keys out of
    /// range are not cached.
    pub fn put(&self, key: u64, value: u16) {
        if key == 0 || key >> 48 != 0 {
            return;
        }
        let line = self.line(key);
        let holds = |wanted: u64| line.iter().find(|e| e.load(Relaxed) >> 16 == wanted);
        // Entries are never moved: one that is forgotten meanwhile would come
        // back.
        let entry = holds(key)
            .or_else(|| holds(0))
            .or_else(|| line.get(self.next.fetch_add(1, Relaxed) as usize % WAYS));
        if let Some(entry) = entry {
            entry.store(key << 16 | u64::from(value), Relaxed);
        }
    }

    /// Changes the number cached for `key` from `old` to `new`, if it is that
    /// still.
    pub fn replace(&self, key: u64, old: u16, new: u16) {
        let (old, new) = (key << 16 | u64::from(old), key << 16 | u64::from(new));
        for entry in self.line(key) {
            let _ = entry.compare_exchange(old, new, Relaxed, Relaxed);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for entry in self.lines.iter().flat_map(|line| &line.0) {
            // Memory that was never used stays so.
            if entry.load(Relaxed) != 0 {
                entry.store(0, Relaxed);
            }
        }
    }
}

/// Apart, so that what is found at once is found without a jump.
#[inline(never)]
fn in_rest(line: &[AtomicU64; WAYS], key: u64) -> Option<u16> {
    let words = line.iter().skip(1).map(|entry| entry.load(Relaxed));
    let mut same = words.filter(|word| word >> 16 == key && key != 0);
    same.next().map(|word| word as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_answers_for_another_key(keys in prop::collection::vec(any::<u64>(), 1..100)) {
            let cache = SetAssociativeCache::<2>::new();
            for (i, &key) in keys.iter().enumerate() {
                cache.put(key, i as u16);
                for &other in &keys {
                    if let Some(value) = cache.get(other) {
                        prop_assert_eq!(keys[usize::from(value)], other);
                    }
                }
            }
        }

        #[test]
        fn the_last_ones_of_a_line_are_remembered(keys in prop::collection::hash_set(1u64 << 40..1 << 48, WAYS)) {
            let cache = SetAssociativeCache::<2>::new();
            for old in 1..100 {
                cache.put(old << 20, 7);
            }
            for (i, &key) in keys.iter().enumerate() {
                cache.put(key, i as u16);
            }
            for (i, key) in keys.into_iter().enumerate() {
                prop_assert_eq!(cache.get(key), Some(i as u16));
            }
        }
    }

    #[test]
    fn remembers_and_forgets() {
        let cache = SetAssociativeCache::<2>::new();
        assert_eq!(cache.get(0), None);
        cache.put(0x7fff_1234_5678, 9);
        assert_eq!(cache.get(0x7fff_1234_5678), Some(9));
        cache.put(0x7fff_1234_5678, 10);
        assert_eq!(cache.get(0x7fff_1234_5678), Some(10));
        cache.replace(0x7fff_1234_5678, 9, 11);
        assert_eq!(cache.get(0x7fff_1234_5678), Some(10), "another's by now");
        cache.replace(0x7fff_1234_5678, 10, 11);
        assert_eq!(cache.get(0x7fff_1234_5678), Some(11));
        cache.put(1 << 48, 1);
        assert_eq!(cache.get(1 << 48), None);
        cache.clear();
        assert_eq!(cache.get(0x7fff_1234_5678), None);
    }
}
