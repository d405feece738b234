//! Bounded reading of one ELF file, without mapping it.
//!
//! A library can be over a gigabyte and can be truncated by its owner while
//! it is read, which a mapping would answer with SIGBUS: so the needed parts
//! are read with pread, each with a limit of its own.

use std::fs::File;
use std::io;

use super::ElfError;

/// Bytes that can be read at any offset.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes from `offset`; 0 means the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..))
            .unwrap_or(&[]);
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

/// Reads exactly `len` bytes at `offset`. `limit` is the most that this part
/// of an honest file needs; `what` names it in errors.
///
/// The buffer grows with what the file really holds, so that a header which
/// lies about a size costs no memory.
pub fn bytes<R: ReadAt + ?Sized>(
    source: &R,
    offset: u64,
    len: u64,
    limit: u64,
    what: &'static str,
) -> Result<Vec<u8>, ElfError> {
    if len > limit {
        return Err(ElfError::TooLarge { what, len, limit });
    }
    let out = up_to(source, offset, len)?;
    if out.len() as u64 != len {
        return Err(ElfError::Truncated { what });
    }
    Ok(out)
}

/// Like [`bytes`], but fewer at the file's end.
pub fn up_to<R: ReadAt + ?Sized>(source: &R, offset: u64, len: u64) -> Result<Vec<u8>, ElfError> {
    const STEP: u64 = 1 << 20;
    let mut out = Vec::new();
    while (out.len() as u64) < len {
        let done = out.len();
        let step = (len - done as u64).min(STEP) as usize;
        out.resize(done + step, 0);
        let Some(at) = offset.checked_add(done as u64) else {
            out.truncate(done);
            break;
        };
        match source.read_at(at, &mut out[done..]) {
            Ok(0) => {
                out.truncate(done);
                break;
            }
            Ok(n) => out.truncate(done + n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => out.truncate(done),
            Err(e) => return Err(ElfError::Io(e)),
        }
    }
    Ok(out)
}

/// The little-endian u16 at `at`.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian u32 at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian u64 at `at`.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The NUL-terminated text at `at`, unless it is longer than any name that
/// matters here: a hostile table may point millions of symbols at one long
/// text, so the limit is what bounds the time.
pub fn text_at(table: &[u8], at: u64) -> Option<&[u8]> {
    const MAX_NAME: usize = 1 << 10;
    text_up_to(table, at, MAX_NAME)
}

/// The NUL-terminated text at `at` if it is shorter than `max` bytes.
pub fn text_up_to(table: &[u8], at: u64, max: usize) -> Option<&[u8]> {
    let rest = table.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().take(max).position(|&b| b == 0)?;
    Some(&rest[..end])
}
