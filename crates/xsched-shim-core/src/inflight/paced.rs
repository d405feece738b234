//! A stream's pace, which one thread at a time works on.

use std::cell::UnsafeCell;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use xsched_common::gate::Pace;

use super::stream::Unlock;

/// See [`Pace`]. All bytes zero: nothing is known.
pub struct Paced {
    held: AtomicU32,
    /// [`Pace::unknown`], for others to look at.
    unknown: AtomicU64,
    pace: UnsafeCell<Pace>,
}

// SAFETY: the cell is used by whoever has set `held` and by nobody else.
unsafe impl Sync for Paced {}

impl Paced {
    pub(super) const fn new() -> Paced {
        Paced {
            held: AtomicU32::new(0),
            unknown: AtomicU64::new(0),
            pace: UnsafeCell::new(Pace::new()),
        }
    }

    /// Runs `f` unless another thread works on it: then this launch is not
    /// seen.
    pub fn with<T>(&self, f: impl FnOnce(&mut Pace) -> T) -> Option<T> {
        self.held.compare_exchange(0, 1, Acquire, Relaxed).ok()?;
        // Also when the thread ends in `f`, in the runtime.
        let _held = Unlock(&self.held);
        // SAFETY: `held` was free and is ours. Zero bytes, which a fork's
        // child may find, are a valid pace.
        let pace = unsafe { &mut *self.pace.get() };
        let result = f(pace);
        self.unknown.store(pace.unknown(), Relaxed);
        Some(result)
    }

    /// The last command whose end nobody may know; zero is none.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_zero_is_new() {
        // SAFETY: plain integers, of which zero is valid.
        let paced: Box<Paced> = unsafe { Box::new(std::mem::zeroed()) };
        let inner = paced.with(|pace| {
            assert_eq!(format!("{pace:?}"), format!("{:?}", Pace::new()));
            paced.with(|_| ())
        });
        assert_eq!(inner, Some(None));
        assert_eq!(paced.with(|_| ()), Some(()));
    }
}
