//! What the shim's file says of itself, for whoever examines a process that
//! does not join: an ELF note (System V gABI, "Note Section") named
//! `.note.xsched`, loaded with the library and found in its PT_NOTE.
//!
//! ```text
//! namesz 7 | descsz 28 | type 1 | "xsched\0" + pad | major u16 | minor u16 | version, 24 bytes
//! ```
//!
//! Words are little-endian, name and descriptor padded to 4 bytes. The
//! version is the package's, padded with zeros. Newer shims may append to
//! the descriptor.

use crate::Abi;

/// The section's name.
pub const NOTE_SECTION: &str = ".note.xsched";
/// Bytes of the shim's note.
pub const NOTE_LEN: usize = HEAD + OWNER_PADDED + DESCRIPTOR;
/// Longest version text, bytes; longer ones are cut.
pub const VERSION_LEN: usize = 24;

const OWNER: &[u8] = b"xsched\0";
const OWNER_PADDED: usize = 8;
const DESCRIPTOR: usize = 4 + VERSION_LEN;
const HEAD: usize = 12;
const TYPE_SHIM: u32 = 1;

/// A shim's ABI and version, read from its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShimNote {
    /// The binary contracts that it speaks.
    pub abi: Abi,
    version: [u8; VERSION_LEN],
}

impl ShimNote {
    /// The note of a shim built from this source.
    pub const fn of_this_build() -> ShimNote {
        ShimNote::new(crate::ABI, env!("CARGO_PKG_VERSION"))
    }

    /// A note that says this.
    pub const fn new(abi: Abi, version: &str) -> ShimNote {
        let text = version.as_bytes();
        let mut kept = [0; VERSION_LEN];
        let mut i = 0;
        while i < text.len() && i < VERSION_LEN {
            kept[i] = text[i];
            i += 1;
        }
        ShimNote { abi, version: kept }
    }

    /// The shim's version, as far as it is printable ASCII: the file may be
    /// anybody's.
    pub fn version(&self) -> &str {
        let len = self
            .version
            .iter()
            .position(|byte| !byte.is_ascii_graphic())
            .unwrap_or(VERSION_LEN);
        core::str::from_utf8(&self.version[..len]).unwrap_or("")
    }

    /// The bytes of the section.
    pub const fn encode(self) -> [u8; NOTE_LEN] {
        let mut out = [0; NOTE_LEN];
        put(&mut out, 0, &(OWNER.len() as u32).to_le_bytes());
        put(&mut out, 4, &(DESCRIPTOR as u32).to_le_bytes());
        put(&mut out, 8, &TYPE_SHIM.to_le_bytes());
        put(&mut out, HEAD, OWNER);
        let descriptor = HEAD + OWNER_PADDED;
        put(&mut out, descriptor, &self.abi.major.to_le_bytes());
        put(&mut out, descriptor + 2, &self.abi.minor.to_le_bytes());
        put(&mut out, descriptor + 4, &self.version);
        out
    }

    /// The shim's note among the notes in a section or a PT_NOTE segment of
    /// 4-byte alignment. Any bytes are allowed.
    pub fn find(notes: &[u8]) -> Option<ShimNote> {
        let mut rest = notes;
        loop {
            let name_len = word(rest, 0)? as usize;
            let descriptor_len = word(rest, 4)? as usize;
            let name_end = HEAD.checked_add(name_len)?;
            let descriptor_at = name_end.checked_next_multiple_of(4)?;
            let descriptor_end = descriptor_at.checked_add(descriptor_len)?;
            let descriptor = rest.get(descriptor_at..descriptor_end)?;
            if rest.get(HEAD..name_end)? == OWNER
                && word(rest, 8)? == TYPE_SHIM
                && let Some((abi, tail)) = descriptor.split_first_chunk::<4>()
                && let Some(version) = tail.first_chunk()
            {
                let [a, b, c, d] = *abi;
                return Some(ShimNote {
                    abi: Abi {
                        major: u16::from_le_bytes([a, b]),
                        minor: u16::from_le_bytes([c, d]),
                    },
                    version: *version,
                });
            }
            rest = rest.get(descriptor_end.checked_next_multiple_of(4)?..)?;
        }
    }
}

const fn put(out: &mut [u8; NOTE_LEN], at: usize, bytes: &[u8]) {
    let mut i = 0;
    while i < bytes.len() {
        out[at + i] = bytes[i];
        i += 1;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: ShimNote = ShimNote::of_this_build();

    #[test]
    fn is_found_behind_other_notes() {
        // NT_GNU_BUILD_ID with three bytes, padded.
        let mut notes = b"\x04\0\0\0\x03\0\0\0\x03\0\0\0GNU\0abc\0".to_vec();
        assert_eq!(ShimNote::find(&notes), None);
        notes.extend(OURS.encode());
        let found = ShimNote::find(&notes).expect("ours");
        assert_eq!((found, found.abi), (OURS, crate::ABI));
        assert_eq!(found.version(), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn versions_are_cut_and_never_control_a_terminal() {
        let long = ShimNote::new(crate::ABI, "0123456789012345678901234567");
        assert_eq!(long.version().len(), VERSION_LEN);
        let nasty = ShimNote::new(crate::ABI, "1.2\x1b[31m");
        assert_eq!(nasty.version(), "1.2");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ShimNote::find(&bytes).map(|note| note.version().len());
        }

        /// Damage to the note changes what it says or hides it, no more.
        #[test]
        fn a_damaged_note_is_read_or_refused(at in 0..NOTE_LEN, byte: u8, len in 0..=NOTE_LEN) {
            let mut note = OURS.encode();
            note[at] = byte;
            let found = ShimNote::find(&note[..len]);
            prop_assert!(len == NOTE_LEN || found.is_none());
        }
    }
}
