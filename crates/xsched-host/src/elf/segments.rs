//! The ELF header and the program headers: what kind of file it is and where
//! a virtual address lies in it.

use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_DYN, ET_EXEC, PF_X, PT_DYNAMIC, PT_INTERP,
    PT_LOAD, PT_NOTE,
};

use super::ElfError;
use super::source::{ReadAt, bytes, u16_at, u32_at, u64_at};

const HEADER_LEN: u64 = 64;
const PROGRAM_HEADER_LEN: usize = 56;
/// Real files have about ten program headers; every address is looked for in
/// all of them.
const MAX_PROGRAM_HEADERS: u64 = 128;

/// How the file is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// At the addresses in the file: an executable linked without PIE.
    Fixed,
    /// Anywhere: a library or a PIE.
    Relocatable,
}

/// A PT_LOAD segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Start in the file.
    pub offset: u64,
    /// Start in memory, before the load base is added.
    pub address: u64,
    /// Bytes in the file.
    pub file_len: u64,
    /// Bytes in memory.
    pub memory_len: u64,
    /// Whether it is code.
    pub executable: bool,
}

/// The headers of a file.
#[derive(Clone, Debug)]
pub struct Headers {
    /// How it is loaded.
    pub file_type: FileType,
    /// PT_LOAD, in file order.
    pub segments: Vec<Segment>,
    /// PT_DYNAMIC as (file offset, bytes); a static executable has none.
    pub dynamic: Option<(u64, u64)>,
    /// PT_DYNAMIC's address before the load base is added.
    pub dynamic_address: Option<u64>,
    /// PT_NOTE segments as (file offset, bytes).
    pub notes: Vec<(u64, u64)>,
    /// Whether the file names an interpreter, that is ld.so.
    pub interpreter: bool,
}

impl Headers {
    /// Reads them from `source`.
    pub fn read<R: ReadAt + ?Sized>(source: &R) -> Result<Headers, ElfError> {
        let header = super::source::up_to(source, 0, HEADER_LEN)?;
        if !header.starts_with(&ELFMAG) {
            return Err(ElfError::NotElf);
        }
        if header.get(4) != Some(&ELFCLASS64.0) {
            return Err(ElfError::WrongClass);
        }
        let field = |at| u16_at(&header, at).ok_or(ElfError::Truncated { what: "ELF header" });
        let machine = field(18)?;
        if header[5] != ELFDATA2LSB.0 || machine != EM_X86_64.0 {
            return Err(ElfError::WrongMachine(machine));
        }
        let file_type = match field(16)? {
            t if t == ET_DYN.0 => FileType::Relocatable,
            t if t == ET_EXEC.0 => FileType::Fixed,
            other => return Err(ElfError::NotLoadable(other)),
        };
        let table = u64_at(&header, 32).ok_or(ElfError::Truncated { what: "ELF header" })?;
        let (entry_len, count) = (field(54)? as usize, field(56)? as u64);
        if entry_len != PROGRAM_HEADER_LEN {
            return Err(ElfError::Malformed("program header size"));
        }
        let len = count * PROGRAM_HEADER_LEN as u64;
        let limit = MAX_PROGRAM_HEADERS * PROGRAM_HEADER_LEN as u64;
        let table = bytes(source, table, len, limit, "program headers")?;

        let mut headers = Headers {
            file_type,
            segments: Vec::new(),
            dynamic: None,
            dynamic_address: None,
            notes: Vec::new(),
            interpreter: false,
        };
        for entry in table.chunks_exact(PROGRAM_HEADER_LEN) {
            let word = |at| u64_at(entry, at).unwrap_or(0);
            let kind = u32_at(entry, 0).unwrap_or(0);
            if kind == PT_LOAD.0 {
                headers.segments.push(Segment {
                    offset: word(8),
                    address: word(16),
                    file_len: word(32),
                    memory_len: word(40),
                    executable: u32_at(entry, 4).unwrap_or(0) & PF_X.0 != 0,
                });
            } else if kind == PT_DYNAMIC.0 {
                headers.dynamic = Some((word(8), word(32)));
                headers.dynamic_address = Some(word(16));
            } else if kind == PT_NOTE.0 {
                headers.notes.push((word(8), word(32)));
            } else if kind == PT_INTERP.0 {
                headers.interpreter = true;
            }
        }
        Ok(headers)
    }

    /// Where `address` lies in the file, and how many bytes of its segment
    /// follow there.
    pub fn file_offset(&self, address: u64) -> Option<(u64, u64)> {
        self.offset_in(address, |_| true)
    }

    /// The same of code.
    pub fn code_offset(&self, address: u64) -> Option<(u64, u64)> {
        self.offset_in(address, |segment| segment.executable)
    }

    fn offset_in(&self, address: u64, which: fn(&Segment) -> bool) -> Option<(u64, u64)> {
        let segments = self.segments.iter().filter(|segment| which(segment));
        segments.into_iter().find_map(|segment| {
            let within = address.checked_sub(segment.address)?;
            let rest = segment.file_len.checked_sub(within).filter(|&n| n > 0)?;
            Some((segment.offset.checked_add(within)?, rest))
        })
    }
}
