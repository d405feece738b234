//! The control word.

/// The largest cap a word can carry.
pub const MAX_CAP: u16 = (1 << 14) - 1;

/// What the agent allows a process on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateMode {
    /// Launch freely.
    Open,
    /// Launch freely, but past the long way: each launch leaves what tells
    /// when the device is through with it
    /// ([`Edges::WATCH`](crate::page::Edges::WATCH)). Shims before ABI 1.4
    /// take it for open.
    Watched,
    /// Launch while fewer than this many gated commands are in flight.
    Capped(u16),
    /// Launch nothing: a higher class has work.
    Closed,
}

impl GateMode {
    /// Whether `other` lets a launch through that this one may hold back.
    pub const fn allows_less_than(self, other: GateMode) -> bool {
        self.most() < other.most()
    }

    /// Commands in flight that it allows.
    const fn most(self) -> u32 {
        match self {
            GateMode::Open | GateMode::Watched => u32::MAX,
            GateMode::Capped(cap) => cap as u32,
            GateMode::Closed => 0,
        }
    }
}

/// `mode:2 | cap:14 | generation:16` in one `u32`, so that a single atomic
/// load is a consistent view and the word itself can be a futex.
///
/// The generation changes with every write, so a waiter that read the word,
/// decided to sleep and was overtaken by two writes does not miss them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct GateWord(pub u32);

const MODE_OPEN: u32 = 0;
const MODE_CAPPED: u32 = 1;
const MODE_CLOSED: u32 = 2;
const MODE_WATCHED: u32 = 3;

impl GateWord {
    /// An open gate in generation 0: what a zeroed page says.
    pub const OPEN: GateWord = GateWord(0);

    /// The word for `mode`. A cap of zero would be a closed gate without its
    /// bounds, so it becomes one; caps above [`MAX_CAP`] are clamped.
    pub const fn new(mode: GateMode, generation: u16) -> GateWord {
        let (mode, cap) = match mode {
            GateMode::Open => (MODE_OPEN, 0),
            GateMode::Capped(0) => (MODE_CAPPED, 1),
            GateMode::Capped(cap) if cap > MAX_CAP => (MODE_CAPPED, MAX_CAP),
            GateMode::Capped(cap) => (MODE_CAPPED, cap),
            GateMode::Closed => (MODE_CLOSED, 0),
            GateMode::Watched => (MODE_WATCHED, 0),
        };
        GateWord(mode << 30 | (cap as u32) << 16 | generation as u32)
    }

    /// The same gate in the next generation with another mode.
    pub const fn next(self, mode: GateMode) -> GateWord {
        GateWord::new(mode, self.generation().wrapping_add(1))
    }

    /// What the word allows. A page must never hold a program back because it
    /// is not understood, so the fourth mode was open before it had a meaning.
    pub const fn mode(self) -> GateMode {
        match self.0 >> 30 {
            MODE_CAPPED => {
                let cap = (self.0 >> 16) as u16 & MAX_CAP;
                GateMode::Capped(if cap == 0 { 1 } else { cap })
            }
            MODE_CLOSED => GateMode::Closed,
            MODE_WATCHED => GateMode::Watched,
            _ => GateMode::Open,
        }
    }

    /// Counts the writes, modulo 2^16.
    pub const fn generation(self) -> u16 {
        self.0 as u16
    }

    /// Whether a launch needs no further thought: the hot path's only test.
    #[inline(always)]
    pub const fn is_open(self) -> bool {
        self.0 >> 30 == MODE_OPEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_mode() -> impl Strategy<Value = GateMode> {
        prop_oneof![
            Just(GateMode::Open),
            (1..=MAX_CAP).prop_map(GateMode::Capped),
            Just(GateMode::Closed),
            Just(GateMode::Watched),
        ]
    }

    proptest! {
        #[test]
        fn words_round_trip(mode in any_mode(), generation: u16) {
            let word = GateWord::new(mode, generation);
            prop_assert_eq!(word.mode(), mode);
            prop_assert_eq!(word.generation(), generation);
            prop_assert_eq!(word.is_open(), mode == GateMode::Open);
        }

        #[test]
        fn every_write_changes_the_word(mode in any_mode(), next in any_mode(), generation: u16) {
            let word = GateWord::new(mode, generation);
            prop_assert_ne!(word.next(next), word);
        }

        #[test]
        fn any_bits_are_a_mode(raw: u32) {
            match GateWord(raw).mode() {
                GateMode::Capped(cap) => prop_assert!((1..=MAX_CAP).contains(&cap)),
                GateMode::Open | GateMode::Watched | GateMode::Closed => {}
            }
        }
    }

    #[test]
    fn a_zeroed_page_is_open_and_no_mode_is_nonsense() {
        assert!(GateWord::OPEN.is_open());
        let watched = GateWord::new(GateMode::Watched, 0);
        assert!(!watched.is_open() && GateWord(3 << 30 | 77).mode() == GateMode::Watched);
        assert_eq!(
            GateWord::new(GateMode::Capped(0), 0).mode(),
            GateMode::Capped(1)
        );
    }
}
