//! Whether a process is active on a device: one word, many writers.
//!
//! `xsched-shim/tests/protocols.rs` compiles this very file against loom's
//! atomics.

use super::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

/// Lowest bit: active; above it the changes are counted. Part of
/// [`super::DeviceStatus`].
///
/// All accesses that decide something are sequentially consistent: the word
/// forms two Dekker pairs. Client against agent: the agent writes what it
/// wants to hear and then looks here, the client writes here and then looks
/// at what is wanted. Launcher against drainer: the launcher counts its
/// command and then looks here, the drainer writes here and then looks at
/// the counts. In each pair at least one sees the other.
#[repr(transparent)]
pub struct ActivityWord(pub AtomicU64);

/// Whether a process has work on a device, and how often that has changed:
/// two equal values mean that nothing happened in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Has launched something that is not known to be complete, or waits at
    /// the gate.
    pub active: bool,
    /// Counts the changes.
    pub transitions: u64,
}

/// What came of [`ActivityWord::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing changed: there is work, or another thread was faster.
    Unchanged,
    /// Idle now: whoever calls rings for [`super::Edges::IDLE`].
    Idle,
    /// Was idle for a moment and is active again on behalf of a launcher
    /// that saw it active and says nothing: whoever calls rings for
    /// [`super::Edges::ACTIVE`], because the agent may have looked in that
    /// moment and wait for that edge ever since.
    ActiveAgain,
}

impl ActivityWord {
    /// What it says.
    #[inline]
    pub fn load(&self) -> Activity {
        let raw = self.0.load(SeqCst);
        Activity {
            active: raw & 1 == 1,
            transitions: raw >> 1,
        }
    }

    /// Enters the active state; whether this call made the change, and must
    /// ring for [`super::Edges::ACTIVE`].
    pub fn set_active(&self) -> bool {
        self.flip(0)
    }

    /// Leaves the active state; whether this call made the change.
    pub fn set_idle(&self) -> bool {
        self.flip(1)
    }

    /// Leaves the active state unless `busy`, which is asked before and
    /// after and must read sequentially consistent counts.
    pub fn settle(&self, busy: impl Fn() -> bool) -> Settled {
        if busy() || !self.set_idle() {
            return Settled::Unchanged;
        }
        if !busy() {
            return Settled::Idle;
        }
        if self.set_active() {
            Settled::ActiveAgain
        } else {
            Settled::Unchanged
        }
    }

    /// Adds one if the lowest bit is `from`: the bit flips and the count of
    /// changes carries, since active is odd: idle 2n -> active 2n+1 -> idle
    /// 2n+2.
    fn flip(&self, from: u64) -> bool {
        let mut raw = self.0.load(Relaxed);
        while raw & 1 == from {
            match self
                .0
                .compare_exchange_weak(raw, raw.wrapping_add(1), SeqCst, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => raw = now,
            }
        }
        false
    }
}
