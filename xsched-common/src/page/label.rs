//! A name that one thread writes once and others read.
//!
//! `xsched-shim/tests/protocols.rs` compiles this very file against loom's
//! atomics.

use super::atomic::{
    AtomicU8, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

/// Up to `N` bytes, shorter ones ended by a NUL.
#[repr(C)]
pub struct Label<const N: usize> {
    /// A [`LabelState`].
    pub state: AtomicU32,
    /// The bytes, final once ready.
    pub bytes: [AtomicU8; N],
}

/// Life of a [`Label`]: free, being written by one thread, ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LabelState {
    /// Nobody's yet.
    Free = 0,
    /// Claimed; the name is being written.
    Naming = 1,
    /// The name is final.
    Ready = 2,
}

impl<const N: usize> Label<N> {
    /// Takes the label for `name`, of which the last `N` bytes are kept, if
    /// it is free. One thread wins; the others look again or use another.
    pub fn claim(&self, name: &[u8]) -> bool {
        let claimed = self.state.compare_exchange(
            LabelState::Free as u32,
            LabelState::Naming as u32,
            Relaxed,
            Relaxed,
        );
        if claimed.is_err() {
            return false;
        }
        let tail = &name[name.len().saturating_sub(N)..];
        for (to, &byte) in self.bytes.iter().zip(tail) {
            to.store(byte, Relaxed);
        }
        self.state.store(LabelState::Ready as u32, Release);
        true
    }

    /// The name, up to the first NUL, once it is final. Whoever reads another
    /// process's page must expect any bytes here.
    pub fn read<'b>(&self, buffer: &'b mut [u8; N]) -> Option<&'b [u8]> {
        if self.state.load(Acquire) != LabelState::Ready as u32 {
            return None;
        }
        for (to, from) in buffer.iter_mut().zip(&self.bytes) {
            *to = from.load(Relaxed);
        }
        let len = buffer.iter().position(|&b| b == 0).unwrap_or(N);
        Some(&buffer[..len])
    }
}
