//! Values in memory that the HIP runtime's own kernels write and wait for (`hipStreamWriteValue*`, `hipStreamWaitValue*`,
//! `hipStreamBatchMemOp`).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How a value in memory is compared (flags of `hipStreamWaitValue*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    GreaterOrEqual,
    Equal,
    And,
    Nor,
}

/// A value of 4 or 8 bytes in memory.
#[derive(Clone, Copy, Debug)]
enum Place {
    Four(usize),
    Eight(usize),
}

impl Place {
    /// # Safety
    /// The address is valid and aligned.
    unsafe fn load(self) -> u64 {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Four(at) => u64::from((*(at as *const AtomicU32)).load(Ordering::SeqCst)),
                Self::Eight(at) => (*(at as *const AtomicU64)).load(Ordering::SeqCst),
            }
        }
    }

    /// # Safety
    /// As [`Self::load`].
    unsafe fn store(self, value: u64) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Four(at) => (*(at as *const AtomicU32)).store(value as u32, Ordering::SeqCst),
                Self::Eight(at) => (*(at as *const AtomicU64)).store(value, Ordering::SeqCst),
            }
        }
    }

    fn all(self) -> u64 {
        match self {
            Self::Four(_) => u64::from(u32::MAX),
            Self::Eight(_) => u64::MAX,
        }
    }
}

/// One step: a value is written, or waited for.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    place: Place,
    value: u64,
    /// Set for a wait: how the masked value compares.
    wait: Option<(Compare, u64)>,
}

impl Value {
    /// Written at one of two addresses, of 4 and of 8 bytes, of which the other is null; none when both are.
    pub fn written(four: usize, eight: usize, value: u64) -> Option<Self> {
        let (place, wait) = (place(four, eight)?, None);
        Some(Self { place, value, wait })
    }

    /// Waited for, likewise.
    pub fn awaited(four: usize, eight: usize, value: u64, flags: u64, mask: u64) -> Option<Self> {
        let (place, wait) = (place(four, eight)?, Some((compare(flags), mask)));
        Some(Self { place, value, wait })
    }

    /// Whether it is done.
    ///
    /// # Safety
    /// The address is valid.
    pub unsafe fn run(&self) -> bool {
        let Some((compare, mask)) = self.wait else {
            // SAFETY: the caller's promise.
            unsafe { self.place.store(self.value) };
            return true;
        };
        let all = self.place.all();
        // SAFETY: the caller's promise.
        let found = unsafe { self.place.load() } & mask & all;
        let value = self.value & all;
        match compare {
            Compare::GreaterOrEqual => found >= value,
            Compare::Equal => found == value,
            Compare::And => found & value != 0,
            Compare::Nor => !(found | value & mask) & all != 0,
        }
    }
}

fn place(four: usize, eight: usize) -> Option<Place> {
    match (four, eight) {
        (0, 0) => None,
        (0, at) => Some(Place::Eight(at)),
        (at, _) => Some(Place::Four(at)),
    }
}

fn compare(flags: u64) -> Compare {
    match flags {
        1 => Compare::Equal,
        2 => Compare::And,
        3 => Compare::Nor,
        _ => Compare::GreaterOrEqual,
    }
}

/// Bytes of `hipStreamBatchMemOpParams`: type, address, value, flags, in words of 8 bytes.
pub const OPERATION: usize = 48;

/// Some of nothing for those that order the others, which run one after another anyhow; none for unknown ones.
pub fn operation(bytes: &[u8]) -> Option<Option<Value>> {
    let word = |at: usize| {
        Some(u64::from_le_bytes(
            bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?,
        ))
    };
    let (kind, at, value, flags) = (word(0)? as u32, word(1)? as usize, word(2)?, word(3)?);
    let (place, wait) = match kind {
        1 => (Place::Four(at), Some((compare(flags & 3), u64::MAX))),
        2 => (Place::Four(at), None),
        4 => (Place::Eight(at), Some((compare(flags & 3), u64::MAX))),
        5 => (Place::Eight(at), None),
        // hipStreamMemOpFlushRemoteWrites and hipStreamMemOpBarrier.
        3 | 6 => return Some(None),
        _ => return None,
    };
    (at != 0).then_some(Some(Value { place, value, wait }))
}
