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

use std::collections::HashMap;
use std::fs::File;

use xsched_common::platform::{self, EntryClass, EntryPoint};
use xsched_host::elf::{self, ElfError, ReadAt};

const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];

/// Real runtimes have 20 to 40 MB.
const MAX_IMAGE: u64 = 512 << 20;

/// Which functions to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeSet {
    /// Launches of kernels and graphs.
    Launches,
    /// Those, and what the host waits for: the ends of bursts.
    Bursts,
    /// Those, copies, memsets and waits. Not what programs ask in a loop:
    /// probes there would cost much and tell nothing.
    Work,
    /// Those, and what looks kernels up by name: for a trace.
    Trace,
}

impl ProbeSet {
    /// Whether the set has this function.
    pub fn contains(self, entry: &EntryPoint) -> bool {
        let work = matches!(
            entry.class,
            EntryClass::Memcpy | EntryClass::Memset | EntryClass::Sync
        );
        entry.is_launch()
            || match self {
                ProbeSet::Launches => false,
                ProbeSet::Bursts => entry.drains(),
                ProbeSet::Work => work && !entry.polled,
                ProbeSet::Trace => work && !entry.polled || entry.looks_up_kernel(),
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
    /// Index into [`platform::ENTRY_POINTS`].
    pub api: u16,
    /// Offset in the file.
    pub offset: u64,
    /// What the function begins with.
    pub first: FirstInstruction,
}

/// Places for one function: real runtimes define a name under two nodes.
const MAX_DEFINITIONS: usize = 8;

/// The longest first instruction that is looked at, bytes.
const FIRST: u64 = 8;

/// A file in which no function can be probed.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// It is not what its name promises.
    #[error("the file {0}")]
    NotElf(#[from] ElfError),
    /// Somebody else's sparse file could name tables of any size.
    #[error("{0} bytes is more than any runtime has ({MAX_IMAGE})")]
    TooLarge(u64),
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
    sites(file, set)
}

/// The places for the functions of `set` that an image defines, by offset.
/// Two names of one function give one place.
///
/// # Errors
/// The file is no ELF file for x86-64.
pub fn sites<R: ReadAt + ?Sized>(image: &R, set: ProbeSet) -> Result<Vec<Site>, SiteError> {
    let (headers, functions) = elf::functions(image)?;
    let mut sites: Vec<Site> = Vec::new();
    let mut of_api: HashMap<u16, usize> = HashMap::new();
    for symbol in functions {
        let Some((api, entry)) = platform::entry_point(&symbol.name) else {
            continue;
        };
        let definitions = of_api.entry(api).or_default();
        *definitions += 1;
        if !set.contains(entry) || *definitions > MAX_DEFINITIONS {
            continue;
        }
        let Some((offset, left)) = headers.code_offset(symbol.value) else {
            continue;
        };
        let code = elf::up_to(image, offset, left.min(FIRST))?;
        if code.is_empty() {
            continue;
        }
        let first = FirstInstruction::decode(&code);
        let skipped = first.skipped();
        // The instruction behind belongs to the function if the symbol says
        // so, or says nothing (hand-written assembly).
        let behind = symbol.size == 0 || symbol.size > skipped;
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
