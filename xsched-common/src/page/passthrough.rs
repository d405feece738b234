//! Libraries whose launches the agent does not want gated: names in the
//! control page.
//!
//! Since ABI 1.1, in space that older agents leave zero (an empty list) and
//! older shims do not read.

use core::sync::atomic::{
    AtomicU8, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

use super::scope::Listed;

/// Bytes for all names together, a NUL behind each.
pub const PASSTHROUGH_LEN: usize = 508;

/// Prefixes of libraries' file names, each ended by a NUL.
///
/// Written by the agent, at any time: a reader that meets a writer may see
/// parts of both lists, and looks again when the generation has moved on.
#[repr(C)]
pub struct PassthroughList {
    /// Counts the writes; odd while one is going on.
    generation: AtomicU32,
    names: [AtomicU8; PASSTHROUGH_LEN],
}

const _: () = assert!(size_of::<PassthroughList>() == 512);

/// Why a list was not written. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassthroughError {
    /// The names do not fit in [`PASSTHROUGH_LEN`] bytes.
    TooLong,
    /// A name is empty, which would be a prefix of every library, or has a
    /// NUL inside.
    BadName,
}

impl core::fmt::Display for PassthroughError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            PassthroughError::TooLong => write!(
                f,
                "passthrough names take more than {PASSTHROUGH_LEN} bytes: use fewer or shorter prefixes"
            ),
            PassthroughError::BadName => {
                f.write_str("a passthrough name is empty or has a NUL byte in it")
            }
        }
    }
}

impl core::error::Error for PassthroughError {}

impl PassthroughList {
    /// An empty list; all bytes zero.
    pub const fn new() -> PassthroughList {
        PassthroughList {
            generation: AtomicU32::new(0),
            names: [const { AtomicU8::new(0) }; PASSTHROUGH_LEN],
        }
    }

    /// Replaces the list. Only the agent calls this, from one thread.
    pub fn set<N: AsRef<[u8]>>(&self, names: &[N]) -> Result<(), PassthroughError> {
        let mut len = 0;
        for name in names {
            let name = name.as_ref();
            if name.is_empty() || name.contains(&0) {
                return Err(PassthroughError::BadName);
            }
            len += name.len() + 1;
        }
        if len > PASSTHROUGH_LEN {
            return Err(PassthroughError::TooLong);
        }
        let bytes = names
            .iter()
            .flat_map(|name| name.as_ref().iter().copied().chain([0]))
            .chain(core::iter::repeat(0));
        self.generation.fetch_add(1, Acquire);
        core::sync::atomic::fence(Release);
        for (to, byte) in self.names.iter().zip(bytes) {
            to.store(byte, Relaxed);
        }
        self.generation.fetch_add(1, Release);
        Ok(())
    }

    /// Changes with every [`PassthroughList::set`]: what was concluded from
    /// the list under another generation is to be concluded again.
    #[inline(always)]
    pub fn generation(&self) -> u32 {
        self.generation.load(Acquire)
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.names[0].load(Relaxed) == 0
    }

    /// Where a library of this file name stands in the list.
    pub fn listed(&self, file_name: &[u8]) -> Listed {
        match self.passes(file_name) {
            true => Listed::Named,
            false if self.is_empty() => Listed::NoList,
            false => Listed::NotNamed,
        }
    }

    /// Whether a name in the list is a prefix of `file_name`. Reads any bytes
    /// without harm; an empty name counts for nothing.
    pub fn passes(&self, file_name: &[u8]) -> bool {
        let (mut matching, mut at) = (true, 0);
        for byte in &self.names {
            match byte.load(Relaxed) {
                0 if matching && at > 0 => return true,
                0 => (matching, at) = (true, 0),
                byte => {
                    matching &= file_name.get(at) == Some(&byte);
                    at += 1;
                }
            }
        }
        false
    }
}

impl Default for PassthroughList {
    fn default() -> PassthroughList {
        PassthroughList::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_prefixes() {
        let list = PassthroughList::new();
        assert!(!list.passes(b"librocfft.so.0") && !list.passes(b""));
        list.set(&["librocfft", "libMIOpen.so"]).expect("room");
        assert!(list.passes(b"librocfft.so.0") && list.passes(b"libMIOpen.so"));
        assert!(!list.passes(b"libroc") && !list.passes(b"libMIOpen") && !list.passes(b""));
        let generation = list.generation();
        list.set::<&str>(&[]).expect("room");
        assert!(!list.passes(b"librocfft.so.0"));
        assert_ne!(list.generation(), generation);
    }

    #[test]
    fn bad_lists_change_nothing() {
        let list = PassthroughList::new();
        list.set(&["libfoo"]).expect("room");
        assert_eq!(list.set(&["a", ""]), Err(PassthroughError::BadName));
        assert_eq!(list.set(&["a\0b"]), Err(PassthroughError::BadName));
        let long = "x".repeat(PASSTHROUGH_LEN);
        assert_eq!(list.set(&[&long]), Err(PassthroughError::TooLong));
        assert!(list.passes(b"libfoo.so"));
        assert_eq!(list.set(&[&long[1..]]), Ok(()));
        assert!(list.passes(long.as_bytes()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_list(bytes in prop::collection::vec(any::<u8>(), PASSTHROUGH_LEN), name: Vec<u8>) {
            let list = PassthroughList::new();
            for (to, byte) in list.names.iter().zip(&bytes) {
                to.store(*byte, Relaxed);
            }
            // A last name without an end is none.
            let ended = bytes.iter().rposition(|&b| b == 0).map_or(&[][..], |end| &bytes[..end]);
            let expected = ended.split(|&b| b == 0).any(|n| !n.is_empty() && name.starts_with(n));
            prop_assert_eq!(list.passes(&name), expected);
        }
    }
}
