//! A key and a few words that many write and many read, without waiting: a
//! sequence lock (Boehm, "Can seqlocks get along with programming language
//! memory models?", 2012). Writers that meet give up, and so do readers that
//! meet a writer: what is kept here is best effort.
//!
//! `tests/protocols.rs` compiles this very file against loom's atomics.

use crate::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

/// A key and its value; key zero is an empty entry.
pub struct Entry<const WORDS: usize> {
    /// Odd while somebody writes.
    pub version: AtomicU64,
    /// Whose value it is.
    pub key: AtomicU64,
    /// The value.
    pub value: [AtomicU64; WORDS],
}

impl<const WORDS: usize> Entry<WORDS> {
    /// Writes all words unless another thread is writing.
    pub fn write(&self, key: u64, value: [u64; WORDS]) {
        self.locked(|| {
            self.key.store(key, Relaxed);
            for (to, from) in self.value.iter().zip(value) {
                to.store(from, Relaxed);
            }
        });
    }

    /// Empties the entry if it is `key`'s. Another writer makes it another
    /// key's or is as quick as this one, so the few attempts suffice.
    pub fn remove(&self, key: u64) {
        const ATTEMPTS: u32 = 16;
        for _ in 0..ATTEMPTS {
            if self.key.load(Relaxed) != key {
                return;
            }
            let done = self.locked(|| {
                if self.key.load(Relaxed) == key {
                    self.key.store(0, Relaxed);
                }
            });
            if done.is_some() {
                return;
            }
            std::hint::spin_loop();
        }
    }

    /// The value of `key`, if the entry is its and nobody writes.
    pub fn read(&self, key: u64) -> Option<[u64; WORDS]> {
        let before = self.version.load(Acquire);
        let found = self.key.load(Relaxed);
        if found != key {
            return None;
        }
        let mut value = [0; WORDS];
        for (to, from) in value.iter_mut().zip(&self.value) {
            *to = from.load(Relaxed);
        }
        // What was read above, no later version has written.
        fence(Acquire);
        let after = self.version.load(Relaxed);
        (before == after && before & 1 == 0 && key != 0).then_some(value)
    }

    fn locked(&self, write: impl FnOnce()) -> Option<()> {
        let version = self.version.load(Relaxed);
        if version & 1 == 1 {
            return None;
        }
        self.version
            .compare_exchange(version, version.wrapping_add(1), Acquire, Relaxed)
            .ok()?;
        // Whoever reads what is written below also finds the odd version.
        fence(Release);
        write();
        self.version.store(version.wrapping_add(2), Release);
        Some(())
    }
}
