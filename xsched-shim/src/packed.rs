//! A direct-mapped cache of small numbers by address, one atomic word per
//! entry, so that a look-up is one load and one compare and a torn entry
//! cannot exist.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// `N` entries, a power of two. Keys are non-zero and below 2^48, as
/// user-space addresses are.
pub struct PackedCache<const N: usize>([AtomicU64; N]);

impl<const N: usize> PackedCache<N> {
    const SHIFT: u32 = {
        assert!(N.is_power_of_two());
        64 - N.trailing_zeros()
    };

    /// An empty cache; all bytes zero.
    pub const fn new() -> PackedCache<N> {
        PackedCache([const { AtomicU64::new(0) }; N])
    }

    #[inline(always)]
    fn entry(&self, key: u64) -> &AtomicU64 {
        // Fibonacci hashing (Knuth, TAOCP 3, 6.4): the high bits of the
        // product depend on all bits of the key.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> Self::SHIFT;
        // SAFETY: `hash` has log2(N) bits.
        unsafe { self.0.get_unchecked(hash as usize) }
    }

    /// The number cached for `key`.
    #[inline(always)]
    pub fn get(&self, key: u64) -> Option<u16> {
        let packed = self.entry(key).load(Relaxed);
        (packed >> 16 == key && key != 0).then_some(packed as u16)
    }

    /// Caches a number, in the place of whatever shares the entry. Keys out
    /// of range are not cached.
    pub fn put(&self, key: u64, value: u16) {
        if key != 0 && key >> 48 == 0 {
            self.entry(key).store(key << 16 | u64::from(value), Relaxed);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for entry in &self.0 {
            entry.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_answers_for_another_key(keys in prop::collection::vec(any::<u64>(), 1..100)) {
            let cache = PackedCache::<16>::new();
            for (i, &key) in keys.iter().enumerate() {
                cache.put(key, i as u16);
                for &other in &keys {
                    if let Some(value) = cache.get(other) {
                        prop_assert_eq!(keys[usize::from(value)], other);
                    }
                }
            }
        }
    }

    #[test]
    fn remembers_and_forgets() {
        let cache = PackedCache::<16>::new();
        assert_eq!(cache.get(0), None);
        cache.put(0x7fff_1234_5678, 9);
        assert_eq!(cache.get(0x7fff_1234_5678), Some(9));
        cache.put(1 << 48, 1);
        assert_eq!(cache.get(1 << 48), None);
        cache.clear();
        assert_eq!(cache.get(0x7fff_1234_5678), None);
    }
}
