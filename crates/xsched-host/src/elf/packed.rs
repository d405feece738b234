//! DT_RELR: relative relocations in bitmaps. The value of each is in the
//! slot itself (generic ABI, "Relative Relocation Table").

use super::ElfError;
use super::dynamic::Dynamic;
use super::segments::Headers;
use super::source::{ReadAt, bytes, u64_at, up_to};

const MAX_TABLE: u64 = 64 << 20;
/// More slots than any real library has (Chromium: 600,000).
const MAX_SLOTS: u64 = 8 << 20;
/// Slots lie close together: data is read in pieces of this size,
const WINDOW: u64 = 64 << 10;
/// and this many of them, which is 4 GiB.
const MAX_WINDOWS: u32 = 64 << 10;

const WORD: u64 = 8;
/// Slots that one bitmap stands for.
const BITS: u64 = 63;

/// Calls `visit` with the address of every packed slot and what it holds in
/// the file, which is an address before the load base is added.
pub fn each<R: ReadAt + ?Sized>(
    source: &R,
    headers: &Headers,
    dynamic: &Dynamic,
    mut visit: impl FnMut(u64, u64),
) -> Result<(), ElfError> {
    const WHAT: &str = "packed relocations";
    let table = dynamic.packed;
    if table.address == 0 || table.len == 0 {
        return Ok(());
    }
    let (offset, _) = headers
        .file_offset(table.address)
        .filter(|(_, rest)| *rest >= table.len)
        .ok_or(ElfError::Truncated { what: WHAT })?;
    let entries = bytes(source, offset, table.len, MAX_TABLE, WHAT)?;
    let mut data = Data::new(source, headers);
    let (mut next, mut slots) = (0u64, 0u64);
    for entry in entries.chunks_exact(WORD as usize) {
        let entry = u64_at(entry, 0).unwrap_or(0);
        let mut take = |address: u64| -> Result<(), ElfError> {
            slots += 1;
            if slots > MAX_SLOTS {
                let (len, limit) = (slots, MAX_SLOTS);
                let what = WHAT;
                return Err(ElfError::TooLarge { what, len, limit });
            }
            if let Some(value) = data.word(address)? {
                visit(address, value);
            }
            Ok(())
        };
        if entry & 1 == 0 {
            take(entry)?;
            next = entry.wrapping_add(WORD);
        } else {
            for bit in (0..BITS).filter(|bit| entry >> (bit + 1) & 1 == 1) {
                take(next.wrapping_add(bit * WORD))?;
            }
            next = next.wrapping_add(BITS * WORD);
        }
    }
    Ok(())
}

/// The words of the file's segments, read in windows.
struct Data<'a, R: ?Sized> {
    source: &'a R,
    headers: &'a Headers,
    /// What lies at `start`, an address.
    window: Vec<u8>,
    start: u64,
    windows: u32,
}

impl<'a, R: ReadAt + ?Sized> Data<'a, R> {
    fn new(source: &'a R, headers: &'a Headers) -> Data<'a, R> {
        Data {
            source,
            headers,
            window: Vec::new(),
            start: 0,
            windows: 0,
        }
    }

    /// `None` outside the file: such a slot starts as zero, which is no
    /// function.
    fn word(&mut self, address: u64) -> Result<Option<u64>, ElfError> {
        if let Some(word) = self.within(address) {
            return Ok(Some(word));
        }
        self.windows += 1;
        if self.windows > MAX_WINDOWS {
            return Err(ElfError::Malformed("packed relocations"));
        }
        let Some((offset, rest)) = self.headers.file_offset(address) else {
            return Ok(None);
        };
        self.window = up_to(self.source, offset, rest.min(WINDOW))?;
        self.start = address;
        Ok(self.within(address))
    }

    fn within(&self, address: u64) -> Option<u64> {
        let at = address.checked_sub(self.start)?;
        u64_at(&self.window, usize::try_from(at).ok()?)
    }
}
