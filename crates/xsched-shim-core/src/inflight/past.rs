//! What comes before a point of a stream: work of that stream and of those
//! that it waited for. Once the point is reached, all of it is complete.

/// Streams that a [`Past`] can name. Those beyond are left out: then their
/// completion is learnt later, in another way.
pub const REACH: usize = 8;

/// By stream, how many of its first commands come before; a vector clock
/// (Mattern, "Virtual time and global states of distributed systems", 1989).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past([u64; REACH]);

impl Past {
    /// Nothing that is known of.
    pub const NONE: Past = Past([0; REACH]);

    /// Adds the first `sequence` commands of the stream in `slot`.
    pub fn add(&mut self, slot: u16, sequence: u64) {
        let new = pack(slot, sequence);
        if sequence == 0 {
            return;
        }
        for word in &mut self.0 {
            if *word == 0 || *word as u16 == slot {
                *word = new.max(*word);
                return;
            }
        }
    }

    /// Its parts: a slot and how many commands.
    pub fn parts(&self) -> impl Iterator<Item = (u16, u64)> {
        self.0
            .iter()
            .take_while(|word| **word != 0)
            .map(|word| (*word as u16, word >> 16))
    }

    /// The same of a value.
    pub fn into_parts(self) -> impl Iterator<Item = (u16, u64)> {
        let words = self.0.into_iter().take_while(|word| *word != 0);
        words.map(|word| (word as u16, word >> 16))
    }

    /// As plain words.
    pub const fn words(self) -> [u64; REACH] {
        self.0
    }

    /// Out of [`Past::words`].
    pub const fn of_words(words: [u64; REACH]) -> Past {
        Past(words)
    }
}

/// A slot and a number in one word, never zero for a number that is not.
pub(super) const fn pack(slot: u16, sequence: u64) -> u64 {
    sequence << 16 | slot as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_latest_of_each_stream_and_as_many_as_there_is_room_for() {
        let mut past = Past::NONE;
        past.add(3, 5);
        past.add(0, 7);
        past.add(3, 4);
        past.add(3, 6);
        past.add(9, 0);
        assert_eq!(past.parts().collect::<Vec<_>>(), [(3, 6), (0, 7)]);
        for slot in 10..30 {
            past.add(slot, 1);
        }
        assert_eq!(past.parts().count(), REACH);
        past.add(0, 8);
        assert!(past.parts().any(|part| part == (0, 8)));
        assert_eq!(Past::of_words(past.words()), past);
    }
}
