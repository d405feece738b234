//! The dynamic section: what the object asks of the dynamic linker and where
//! its tables are.

use object::elf::{
    DF_1_NOW, DF_1_PIE, DF_BIND_NOW, DF_SYMBOLIC, DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1, DT_GNU_HASH,
    DT_HASH, DT_JMPREL, DT_NEEDED, DT_NULL, DT_PLTRELSZ, DT_RELA, DT_RELASZ, DT_RELR, DT_RELRSZ,
    DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, DT_SYMBOLIC, DT_SYMTAB, DT_VERDEF,
    DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM, DT_VERSYM,
};

use super::ElfError;
use super::segments::Headers;
use super::source::{ReadAt, bytes, u64_at};

const MAX_SECTION: u64 = 1 << 20;

/// A table by its address and its size: bytes, or entries for the version
/// tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Virtual address; 0 when the object has no such table.
    pub address: u64,
    /// Size.
    pub len: u64,
}

/// What the linker was told when the object was linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFlags {
    /// Linked with -Bsymbolic: its own definitions come first.
    pub symbolic: bool,
    /// All its references are bound before it runs.
    pub bind_now: bool,
    /// A position-independent executable.
    pub pie: bool,
}

/// The entries of the dynamic section that matter here. Names are offsets
/// into the string table.
#[derive(Clone, Debug, Default)]
pub struct Dynamic {
    /// DT_SONAME.
    pub soname: Option<u64>,
    /// DT_NEEDED, in order.
    pub needed: Vec<u64>,
    /// DT_RPATH.
    pub rpath: Option<u64>,
    /// DT_RUNPATH.
    pub runpath: Option<u64>,
    /// Flags.
    pub flags: LinkFlags,
    /// DT_STRTAB.
    pub strings: Table,
    /// DT_SYMTAB: its address.
    pub symbols: u64,
    /// DT_HASH: its address.
    pub hash: u64,
    /// DT_GNU_HASH: its address.
    pub gnu_hash: u64,
    /// DT_RELA.
    pub relocations: Table,
    /// DT_RELR: relative relocations, packed.
    pub packed: Table,
    /// DT_JMPREL.
    pub jump_slots: Table,
    /// DT_VERSYM: its address.
    pub symbol_versions: u64,
    /// DT_VERDEF; the length counts entries.
    pub version_definitions: Table,
    /// DT_VERNEED; the length counts entries.
    pub version_needs: Table,
}

impl Dynamic {
    /// Reads the dynamic section; `None` when the file has none.
    pub fn read<R: ReadAt + ?Sized>(
        source: &R,
        headers: &Headers,
    ) -> Result<Option<Dynamic>, ElfError> {
        let Some((offset, len)) = headers.dynamic else {
            return Ok(None);
        };
        let section = bytes(source, offset, len, MAX_SECTION, "dynamic section")?;
        let mut out = Dynamic::default();
        for entry in section.chunks_exact(16) {
            let (Some(tag), Some(value)) = (u64_at(entry, 0), u64_at(entry, 8)) else {
                break;
            };
            if tag as i64 == DT_NULL.0 {
                break;
            }
            out.take(tag as i64, value);
        }
        Ok(Some(out))
    }

    fn take(&mut self, tag: i64, value: u64) {
        match tag {
            t if t == DT_SONAME.0 => self.soname = Some(value),
            t if t == DT_NEEDED.0 => self.needed.push(value),
            t if t == DT_RPATH.0 => self.rpath = Some(value),
            t if t == DT_RUNPATH.0 => self.runpath = Some(value),
            t if t == DT_SYMBOLIC.0 => self.flags.symbolic = true,
            t if t == DT_BIND_NOW.0 => self.flags.bind_now = true,
            t if t == DT_FLAGS.0 => {
                self.flags.symbolic |= value & DF_SYMBOLIC.0 != 0;
                self.flags.bind_now |= value & DF_BIND_NOW.0 != 0;
            }
            t if t == DT_FLAGS_1.0 => {
                self.flags.bind_now |= value & DF_1_NOW.0 != 0;
                self.flags.pie |= value & DF_1_PIE.0 != 0;
            }
            t if t == DT_STRTAB.0 => self.strings.address = value,
            t if t == DT_STRSZ.0 => self.strings.len = value,
            t if t == DT_SYMTAB.0 => self.symbols = value,
            t if t == DT_HASH.0 => self.hash = value,
            t if t == DT_GNU_HASH.0 => self.gnu_hash = value,
            t if t == DT_RELA.0 => self.relocations.address = value,
            t if t == DT_RELASZ.0 => self.relocations.len = value,
            t if t == DT_RELR.0 => self.packed.address = value,
            t if t == DT_RELRSZ.0 => self.packed.len = value,
            t if t == DT_JMPREL.0 => self.jump_slots.address = value,
            t if t == DT_PLTRELSZ.0 => self.jump_slots.len = value,
            t if t == DT_VERSYM.0 => self.symbol_versions = value,
            t if t == DT_VERDEF.0 => self.version_definitions.address = value,
            t if t == DT_VERDEFNUM.0 => self.version_definitions.len = value,
            t if t == DT_VERNEED.0 => self.version_needs.address = value,
            t if t == DT_VERNEEDNUM.0 => self.version_needs.len = value,
            _ => {}
        }
    }
}
