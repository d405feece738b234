//! Where in an image to put a probe.
//!
//! Uprobes take file offsets, symbols hold virtual addresses: the program
//! headers translate. And the price of a uprobe depends on the instruction
//! under it: a 5-byte NOP is patched into a call (Linux 6.18), `push` is
//! emulated, most others are single-stepped, and single-stepping `endbr64`
//! is several times dearer still. So a probe skips a leading `endbr64`: it
//! pushes nothing, and the return address and arguments are still in place
//! behind it.
//!
//! A leading 5-byte NOP is skipped as well, although it would be the cheapest
//! place: fork copies the patched call to the child, but not the page that it
//! calls into (seen on Linux 6.18.44), and the child dies of SIGSEGV in its
//! first call. What we observe must never notice.

use std::fs::File;

use object::elf;
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::read::{ReadCache, ReadRef};
use object::{Endianness, Object as _, ObjectSymbol as _, SymbolKind};
use xsched_common::hip::{self, EntryClass, EntryPoint};

const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];

/// Real runtimes have 20 to 40 MB.
const MAX_IMAGE: u64 = 512 << 20;

/// Real runtimes define about a thousand. More are not looked at: a file that
/// merely has the name could keep the observer busy and fill its memory.
const MAX_SYMBOLS: usize = 16_384;

/// Which functions to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeSet {
    /// Launches of kernels and graphs.
    Launches,
    /// Those, and what the host waits for: the ends of bursts.
    Bursts,
    /// Those, copies, memsets and waits. Not `hipStreamQuery` and
    /// `hipEventQuery`: programs spin on them, so probes there would cost
    /// much and tell nothing.
    Work,
}

impl ProbeSet {
    /// Whether the set has this function.
    pub fn contains(self, entry: &EntryPoint) -> bool {
        let polled = entry.symbol.contains("Query");
        let work = matches!(
            entry.class,
            EntryClass::Memcpy | EntryClass::Memset | EntryClass::Sync
        );
        entry.is_launch()
            || match self {
                ProbeSet::Launches => false,
                ProbeSet::Bursts => entry.drains(),
                ProbeSet::Work => work && !polled,
            }
    }
}

/// The first instruction of a function, as far as it matters to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstInstruction {
    /// The 5-byte NOP that Linux patches.
    Nop5,
    /// `push` of a register.
    Push,
    /// The marker of indirect branch targets.
    Endbr64,
    /// Any other.
    Other,
}

impl FirstInstruction {
    /// Bytes between a function's entry and its probe.
    fn skipped(self) -> u64 {
        match self {
            FirstInstruction::Nop5 => NOP5.len() as u64,
            FirstInstruction::Endbr64 => ENDBR64.len() as u64,
            FirstInstruction::Push | FirstInstruction::Other => 0,
        }
    }

    /// Of the bytes at a function's entry.
    pub fn decode(code: &[u8]) -> FirstInstruction {
        if code.starts_with(&NOP5) {
            FirstInstruction::Nop5
        } else if code.starts_with(&ENDBR64) {
            FirstInstruction::Endbr64
        } else {
            match code {
                // push r64; with REX.B for r8 to r15.
                [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..] => FirstInstruction::Push,
                _ => FirstInstruction::Other,
            }
        }
    }
}

/// A place for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Index into [`hip::ENTRY_POINTS`].
    pub api: u16,
    /// Offset in the file.
    pub offset: u64,
    /// What the function begins with.
    pub first: FirstInstruction,
}

/// A file in which no function can be probed.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// It is not what its name promises.
    #[error("not a readable 64-bit ELF file: {0}")]
    NotElf(#[from] object::Error),
    /// Somebody else's sparse file could name tables of any size.
    #[error("{0} bytes is more than any runtime has ({MAX_IMAGE})")]
    TooLarge(u64),
    /// Built for another machine.
    #[error("built for ELF machine {0}, probes need x86-64 (62)")]
    Machine(u16),
}

/// [`sites`] of an open file; reads only the parts that are needed.
///
/// # Errors
/// The file is no ELF file for x86-64, or too large.
pub fn sites_in(file: &File, set: ProbeSet) -> Result<Vec<Site>, SiteError> {
    let size = file.metadata().map_or(0, |stat| stat.len());
    if size > MAX_IMAGE {
        return Err(SiteError::TooLarge(size));
    }
    sites(&ReadCache::new(file), set)
}

/// The places for the functions of `set` that an image defines, by offset.
/// Two names of one function give one place.
///
/// # Errors
/// The file is no ELF file for x86-64.
pub fn sites<'data, R: ReadRef<'data>>(image: R, set: ProbeSet) -> Result<Vec<Site>, SiteError> {
    let file = ElfFile64::<Endianness, R>::parse(image)?;
    let endian = file.endian();
    let machine = file.elf_header().e_machine(endian);
    if machine != elf::EM_X86_64 {
        return Err(SiteError::Machine(machine.0));
    }
    let mut sites: Vec<Site> = Vec::new();
    for symbol in file.dynamic_symbols().take(MAX_SYMBOLS) {
        // An indirect function's address is its resolver's: `Text` excludes it.
        if symbol.kind() != SymbolKind::Text || !symbol.is_definition() {
            continue;
        }
        let Some((api, entry)) = symbol.name().ok().and_then(hip::entry_point) else {
            continue;
        };
        if !set.contains(entry) {
            continue;
        }
        let Some((offset, code)) = code_at(&file, image, symbol.address()) else {
            continue;
        };
        let first = FirstInstruction::decode(code);
        let skipped = first.skipped();
        // The instruction behind belongs to the function if the symbol says
        // so, or says nothing (hand-written assembly).
        let behind = symbol.size() == 0 || symbol.size() > skipped;
        if !behind && first == FirstInstruction::Nop5 {
            continue;
        }
        sites.push(Site {
            api,
            offset: offset + if behind { skipped } else { 0 },
            first,
        });
    }
    // Of two names the later: the table lists C++ names before the C ones.
    sites.sort_by_key(|site| (site.offset, std::cmp::Reverse(site.api)));
    sites.dedup_by_key(|site| site.offset);
    Ok(sites)
}

/// The file offset of a virtual address in an executable segment, and up to
/// eight bytes there.
fn code_at<'data, R: ReadRef<'data>>(
    file: &ElfFile64<'data, Endianness, R>,
    image: R,
    address: u64,
) -> Option<(u64, &'data [u8])> {
    let endian = file.endian();
    file.elf_program_headers().iter().find_map(|header| {
        let executable = header.p_flags(endian).contains(elf::PF_X);
        if header.p_type(endian) != elf::PT_LOAD || !executable {
            return None;
        }
        let into = address.checked_sub(header.p_vaddr(endian))?;
        let left = header.p_filesz(endian).checked_sub(into)?;
        let offset = header.p_offset(endian).checked_add(into)?;
        let code = image.read_bytes_at(offset, left.min(8)).ok()?;
        (!code.is_empty()).then_some((offset, code))
    })
}
