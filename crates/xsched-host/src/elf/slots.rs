//! Relocations: the slots in which the dynamic linker stores the addresses
//! of the functions that an object calls.

use std::collections::{HashMap, HashSet};

use object::elf::{R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, R_X86_64_RELATIVE};

use super::ElfError;
use super::dynamic::{Dynamic, Table};
use super::segments::Headers;
use super::source::{ReadAt, bytes, u64_at};
use super::symbols::{Linkage, Symbol};

const RELOCATION_LEN: u64 = 24;
/// 2.8 million relocations; Chromium has 600,000.
const MAX_TABLE: u64 = 64 << 20;
const MAX_SLOTS: usize = 256 << 10;
const STEP: u64 = RELOCATION_LEN * (32 << 10);

/// Which relocation fills a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotKind {
    /// R_X86_64_JUMP_SLOT: a call through the PLT, possibly bound at the
    /// first call.
    JumpSlot,
    /// R_X86_64_GLOB_DAT: an address in the GOT (also calls with -fno-plt).
    GlobDat,
    /// R_X86_64_64: an address in the object's data.
    Absolute,
    /// R_X86_64_RELATIVE or packed (DT_RELR): an address of the object's own,
    /// fixed when it was linked.
    Relative,
}

impl SlotKind {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            SlotKind::JumpSlot => "jump_slot",
            SlotKind::GlobDat => "glob_dat",
            SlotKind::Absolute => "absolute",
            SlotKind::Relative => "relative",
        }
    }
}

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its address before the load base is added.
    pub address: u64,
    /// How it is filled.
    pub kind: SlotKind,
    /// Index of the symbol in the symbol table.
    pub symbol: u32,
    /// Added to the symbol's address.
    pub addend: u64,
}

/// The highest symbol index that relocations name, plus one.
pub fn symbols_named<R: ReadAt + ?Sized>(
    source: &R,
    headers: &Headers,
    dynamic: &Dynamic,
) -> Result<u64, ElfError> {
    let mut top = 0;
    for table in [dynamic.jump_slots, dynamic.relocations] {
        each(source, headers, table, |raw| {
            if raw.symbol != 0 {
                top = top.max(u64::from(raw.symbol) + 1);
            }
        })?;
    }
    Ok(top)
}

/// The slots that hold addresses of `symbols`.
pub fn read<R: ReadAt + ?Sized>(
    source: &R,
    headers: &Headers,
    dynamic: &Dynamic,
    symbols: &HashMap<u32, Symbol>,
) -> Result<Vec<Slot>, ElfError> {
    let own: HashMap<u64, u32> = symbols
        .values()
        .filter(|s| s.linkage == Linkage::Defined)
        .map(|s| (s.value, s.index))
        .collect();
    let mut out = Vec::new();
    // Overlapping tables (some linkers count the jump slots in DT_RELA too)
    // name a slot twice.
    let mut seen = HashSet::new();
    for table in [dynamic.jump_slots, dynamic.relocations] {
        each(source, headers, table, |raw| {
            let kind = match raw.kind {
                k if k == R_X86_64_JUMP_SLOT.0 => SlotKind::JumpSlot,
                k if k == R_X86_64_GLOB_DAT.0 => SlotKind::GlobDat,
                k if k == R_X86_64_64.0 => SlotKind::Absolute,
                k if k == R_X86_64_RELATIVE.0 => SlotKind::Relative,
                _ => return,
            };
            let symbol = match kind {
                SlotKind::Relative => own.get(&raw.addend).copied(),
                _ => symbols.contains_key(&raw.symbol).then_some(raw.symbol),
            };
            if let Some(symbol) = symbol
                && out.len() <= MAX_SLOTS
                && seen.insert(raw.address)
            {
                out.push(Slot {
                    address: raw.address,
                    kind,
                    symbol,
                    addend: match kind {
                        SlotKind::Absolute => raw.addend,
                        _ => 0,
                    },
                });
            }
        })?;
    }
    if !own.is_empty() {
        super::packed::each(source, headers, dynamic, |address, value| {
            if let Some(&symbol) = own.get(&value)
                && out.len() <= MAX_SLOTS
                && seen.insert(address)
            {
                out.push(Slot {
                    address,
                    kind: SlotKind::Relative,
                    symbol,
                    addend: 0,
                });
            }
        })?;
    }
    if out.len() > MAX_SLOTS {
        return Err(ElfError::TooLarge {
            what: "runtime relocations",
            len: out.len() as u64,
            limit: MAX_SLOTS as u64,
        });
    }
    Ok(out)
}

struct Relocation {
    address: u64,
    kind: u32,
    symbol: u32,
    addend: u64,
}

fn each<R: ReadAt + ?Sized>(
    source: &R,
    headers: &Headers,
    table: Table,
    mut visit: impl FnMut(Relocation),
) -> Result<(), ElfError> {
    const WHAT: &str = "relocations";
    if table.address == 0 || table.len == 0 {
        return Ok(());
    }
    if table.len > MAX_TABLE {
        return Err(ElfError::TooLarge {
            what: WHAT,
            len: table.len,
            limit: MAX_TABLE,
        });
    }
    let (offset, _) = headers
        .file_offset(table.address)
        .filter(|(_, rest)| *rest >= table.len)
        .ok_or(ElfError::Truncated { what: WHAT })?;
    let mut done = 0;
    while done < table.len {
        let step = STEP.min(table.len - done);
        let at = offset
            .checked_add(done)
            .ok_or(ElfError::Truncated { what: WHAT })?;
        let chunk = bytes(source, at, step, STEP, WHAT)?;
        for entry in chunk.chunks_exact(RELOCATION_LEN as usize) {
            let word = |at| u64_at(entry, at).unwrap_or(0);
            visit(Relocation {
                address: word(0),
                kind: word(8) as u32,
                symbol: (word(8) >> 32) as u32,
                addend: word(16),
            });
        }
        done += step;
    }
    Ok(())
}
