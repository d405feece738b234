//! One ELF file's view of dynamic linking: what it needs, defines and asks
//! for, and in which slots the answers are stored.
//!
//! The files belong to the process under examination, so nothing in them is
//! believed: every table has a limit and lies inside the file, every chain
//! moves forward, and a lie ends in an [`ElfError`]. The section headers are
//! not read at all, as ld.so does not read them either.

mod dynamic;
mod named;
mod packed;
mod segments;
mod slots;
mod source;
mod symbols;
mod versions;

use std::collections::{BTreeSet, HashMap};
use std::io;

pub use dynamic::LinkFlags;
pub use named::Named;
pub use segments::{FileType, Headers, Segment};
pub use slots::{Slot, SlotKind};
pub use source::{ReadAt, text_at, u32_at, u64_at as word_at, up_to};
pub use symbols::{Linkage, Strength, Symbol, versioned_name};
pub use versions::{NeededNode, Version};

use dynamic::Dynamic;
use versions::Nodes;

use xsched_common::elf_note::ShimNote;

/// The longest string table that is read, bytes; PyTorch's has 30 MiB.
const MAX_STRINGS: u64 = 64 << 20;

/// The longest list of directories, bytes.
const MAX_PATHS: usize = 64 << 10;

/// Libraries that one file needs; real ones need up to a hundred or two.
const MAX_NEEDED: usize = 1024;

/// The longest notes that are read, bytes, and of how many segments.
const MAX_NOTES: u64 = 16 << 10;
const MAX_NOTE_SEGMENTS: usize = 16;

/// Why a file cannot be read as a 64-bit x86 ELF object.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The file system refused.
    #[error("cannot be read: {0}")]
    Io(#[source] io::Error),
    /// Other magic.
    #[error("is not an ELF file")]
    NotElf,
    /// A 32-bit object.
    #[error("is not a 64-bit ELF file")]
    WrongClass,
    /// For another processor; the number is `e_machine`.
    #[error("is built for another processor (ELF machine {0})")]
    WrongMachine(u16),
    /// An object file or a core; the number is `e_type`.
    #[error("is neither a library nor a program (ELF type {0})")]
    NotLoadable(u16),
    /// The path leads to another file than the mapped one.
    #[error("has been replaced on disk since it was mapped (root could read the mapped one)")]
    Replaced,
    /// A table reaches past the end.
    #[error("is damaged: its {what} reach past its end")]
    Truncated {
        /// The table.
        what: &'static str,
    },
    /// A table is larger than any real one.
    #[error("has {what} of {len}, more than the {limit} that are read")]
    TooLarge {
        /// The table.
        what: &'static str,
        /// Its size.
        len: u64,
        /// What would have been read.
        limit: u64,
    },
    /// Something else is wrong.
    #[error("is damaged: bad {0}")]
    Malformed(&'static str),
}

/// The functions that a file offers to others, with its headers.
///
/// # Errors
/// It is no 64-bit x86 ELF object, or damaged.
pub fn functions<R: ReadAt + ?Sized>(source: &R) -> Result<(Headers, Vec<Symbol>), ElfError> {
    let headers = Headers::read(source)?;
    let Some(dynamic) = Dynamic::read(source, &headers)? else {
        return Ok((headers, Vec::new()));
    };
    let strings = read_strings(source, &headers, &dynamic)?;
    // The hash tables know everything that is defined.
    let symbols = symbols::read(source, &headers, &dynamic, &strings, &Nodes::default(), 0)?;
    let symbols = symbols.into_values();
    let functions = symbols.filter(|s| s.linkage == Linkage::Defined && s.is_function);
    Ok((headers, functions.collect()))
}

/// What the dynamic linker sees of one file, reduced to what concerns runtimes.
#[derive(Clone, Debug)]
pub struct Elf {
    /// How it is loaded.
    pub file_type: FileType,
    /// PT_LOAD.
    pub segments: Vec<Segment>,
    /// Who loads it.
    pub loader: Loader,
    /// PT_DYNAMIC's address before the load base is added.
    pub dynamic_address: Option<u64>,
    /// DT_SONAME.
    pub soname: Option<String>,
    /// DT_NEEDED, in order.
    pub needed: Vec<String>,
    /// DT_RPATH, unexpanded.
    pub rpath: Option<String>,
    /// DT_RUNPATH, unexpanded; with one, DT_RPATH means nothing.
    pub runpath: Option<String>,
    /// Flags.
    pub flags: LinkFlags,
    /// The version nodes that it defines, if it has symbols of interest.
    pub defined_nodes: BTreeSet<String>,
    /// The nodes that it insists on, if it has symbols of interest.
    pub needed_nodes: Vec<NeededNode>,
    /// Symbols of interest by their index.
    pub symbols: HashMap<u32, Symbol>,
    /// Slots of those symbols.
    pub slots: Vec<Slot>,
    /// What our shim says of itself.
    pub shim_note: Option<ShimNote>,
}

/// Who loads a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// ld.so: a library, or a program with an interpreter.
    Dynamic,
    /// The kernel alone: LD_PRELOAD means nothing to it.
    Static,
}

impl Elf {
    /// Stands for a file that cannot be read: a library without any symbols.
    pub fn unread() -> Elf {
        Elf {
            file_type: FileType::Relocatable,
            segments: Vec::new(),
            loader: Loader::Dynamic,
            dynamic_address: None,
            soname: None,
            needed: Vec::new(),
            rpath: None,
            runpath: None,
            flags: LinkFlags::default(),
            defined_nodes: BTreeSet::new(),
            needed_nodes: Vec::new(),
            symbols: HashMap::new(),
            slots: Vec::new(),
            shim_note: None,
        }
    }

    /// Reads `source`.
    pub fn read<R: ReadAt + ?Sized>(source: &R) -> Result<Elf, ElfError> {
        let headers = Headers::read(source)?;
        let dynamic = Dynamic::read(source, &headers)?;
        let mut elf = Elf {
            file_type: headers.file_type,
            segments: headers.segments.clone(),
            loader: Loader::Static,
            dynamic_address: headers.dynamic_address,
            shim_note: shim_note(source, &headers),
            ..Elf::unread()
        };
        let Some(dynamic) = dynamic else {
            return Ok(elf);
        };
        elf.flags = dynamic.flags;
        // A static PIE has a dynamic section too, for its own relocations.
        let is_program = headers.file_type == FileType::Fixed || dynamic.flags.pie;
        if headers.interpreter || !is_program {
            elf.loader = Loader::Dynamic;
        }
        let strings = read_strings(source, &headers, &dynamic)?;
        let text = |at: &u64| {
            let name = source::text_at(&strings, *at)?;
            Some(String::from_utf8_lossy(name).into_owned())
        };
        elf.soname = dynamic.soname.as_ref().and_then(text);
        elf.needed = dynamic
            .needed
            .iter()
            .take(MAX_NEEDED)
            .filter_map(text)
            .collect();
        let paths = |at: &u64| {
            let paths = source::text_up_to(&strings, *at, MAX_PATHS)?;
            Some(String::from_utf8_lossy(paths).into_owned())
        };
        elf.rpath = dynamic.rpath.as_ref().and_then(paths);
        elf.runpath = dynamic.runpath.as_ref().and_then(paths);
        if symbols::may_have_interest(&strings) {
            let at_least = slots::symbols_named(source, &headers, &dynamic)?;
            let nodes = Nodes::read(source, &headers, &dynamic, &strings)?;
            elf.symbols = symbols::read(source, &headers, &dynamic, &strings, &nodes, at_least)?;
            elf.defined_nodes = nodes.defined;
            elf.needed_nodes = nodes.needed;
            elf.slots = slots::read(source, &headers, &dynamic, &elf.symbols)?;
        }
        Ok(elf)
    }

    /// About how many bytes this takes.
    pub fn size(&self) -> usize {
        let symbols = self.symbols.values();
        let names: usize = symbols.map(|s| s.name.len() + size_of::<Symbol>()).sum();
        let needed: usize = self.needed.iter().map(|name| name.len() + 32).sum();
        let nodes = 64 * (self.defined_nodes.len() + self.needed_nodes.len());
        names + needed + nodes + self.slots.len() * size_of::<Slot>()
    }

    /// The definitions of `name` that other objects can see.
    pub fn definitions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Symbol> {
        self.symbols
            .values()
            .filter(move |s| s.linkage == Linkage::Defined && s.name == name)
    }

    /// Whether the object has DT_VERSYM; without one, every definition
    /// satisfies every reference.
    pub fn is_versioned(&self) -> bool {
        self.symbols.values().any(|s| s.version.is_some())
    }

    /// Whether it looks functions up by name at run time.
    pub fn imports_dlsym(&self) -> bool {
        let mut symbols = self.symbols.values();
        symbols.any(|s| s.linkage == Linkage::Imported && s.looks_up())
    }
}

/// A file whose notes cannot be read has none.
fn shim_note<R: ReadAt + ?Sized>(source: &R, headers: &Headers) -> Option<ShimNote> {
    let segments = headers.notes.iter().take(MAX_NOTE_SEGMENTS);
    segments
        .filter(|(_, len)| *len <= MAX_NOTES)
        .find_map(|&(offset, len)| ShimNote::find(&source::up_to(source, offset, len).ok()?))
}

fn read_strings<R: ReadAt + ?Sized>(
    source: &R,
    headers: &Headers,
    dynamic: &Dynamic,
) -> Result<Vec<u8>, ElfError> {
    const WHAT: &str = "string table";
    if dynamic.strings.address == 0 || dynamic.strings.len == 0 {
        return Ok(Vec::new());
    }
    let (offset, rest) = headers
        .file_offset(dynamic.strings.address)
        .ok_or(ElfError::Truncated { what: WHAT })?;
    if rest < dynamic.strings.len {
        return Err(ElfError::Truncated { what: WHAT });
    }
    source::bytes(source, offset, dynamic.strings.len, MAX_STRINGS, WHAT)
}
