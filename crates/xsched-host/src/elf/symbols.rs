//! Dynamic symbols: the few that have to do with a runtime.

use std::collections::HashMap;

use object::elf::{STB_LOCAL, STB_WEAK, STT_FUNC, STV_DEFAULT, STV_PROTECTED};
use xsched_common::platform::names;

use super::ElfError;
use super::dynamic::Dynamic;
use super::segments::Headers;
use super::source::{ReadAt, bytes, text_at, u16_at, u32_at, u64_at};
use super::versions::{Nodes, Version};

const SYMBOL_LEN: u64 = 24;
/// More dynamic symbols than any real library has.
const MAX_SYMBOLS: u64 = 2 << 20;
/// The runtime itself exports about 600 names.
const MAX_KEPT: usize = 64 << 10;
/// Symbols read at once.
const BATCH: u64 = 16 << 10;

/// Whether the object defines a symbol or asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// It has the function.
    Defined,
    /// It asks for it.
    Imported,
}

/// What an unsatisfied reference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// The program cannot run.
    Strong,
    /// The address is zero.
    Weak,
}

/// One dynamic symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Index in the symbol table.
    pub index: u32,
    /// Name, without a version.
    pub name: String,
    /// Defined or imported.
    pub linkage: Linkage,
    /// Whether it is a function, and no data or resolver of one.
    pub is_function: bool,
    /// Strong or weak.
    pub strength: Strength,
    /// Address before the load base is added. Of an import: 0, or the PLT
    /// stub that stands for the function (an executable without PIE).
    pub value: u64,
    /// Bytes of what it names; 0 if it does not say.
    pub size: u64,
    /// Version; `None` when the object has no DT_VERSYM.
    pub version: Option<Version>,
}

impl Symbol {
    /// The version node, if there is one.
    pub fn node(&self) -> Option<&str> {
        self.version.as_ref()?.node.as_deref()
    }

    /// Whether it is the runtime's, by its name or its node.
    pub fn is_runtimes(&self) -> bool {
        names::function(self.name.as_bytes()).is_some()
            || self.node().is_some_and(|node| names::node(node).is_some())
    }

    /// Whether it looks others up by name at run time.
    pub fn looks_up(&self) -> bool {
        matches!(self.name.as_str(), "dlsym" | "dlvsym")
    }

    /// As `name@node`.
    pub fn versioned_name(&self) -> String {
        versioned_name(&self.name, self.node())
    }
}

/// `name@node`, or `name` for unversioned references.
pub fn versioned_name(name: &str, node: Option<&str>) -> String {
    match node {
        Some(node) => format!("{name}@{node}"),
        None => name.to_owned(),
    }
}

/// Whether a name belongs to a runtime or to looking it up. Any other name
/// counts if it stands under one of a runtime's nodes ([`Nodes::is_runtimes`]).
pub fn is_of_interest(name: &[u8]) -> bool {
    matches!(name, b"dlsym" | b"dlvsym") || names::function(name).is_some()
}

/// Whether a string table can hold a name of interest at all. Most libraries
/// of a process have nothing to do with a runtime, and this is much cheaper
/// than their symbol and relocation tables.
pub fn may_have_interest(strings: &[u8]) -> bool {
    strings.windows(4).any(|w| w == b"dlsy" || w == b"dlvs") || names::may_hold_function(strings)
}

/// Reads the symbols of interest. `at_least` is a number of symbols that the
/// table is known to have (relocations refer to them): the GNU hash table
/// does not count symbols that the object only imports.
pub fn read<R: ReadAt + ?Sized>(
    source: &R,
    headers: &Headers,
    dynamic: &Dynamic,
    strings: &[u8],
    nodes: &Nodes,
    at_least: u64,
) -> Result<HashMap<u32, Symbol>, ElfError> {
    let mut out = HashMap::new();
    let count = count(source, headers, dynamic)?.max(at_least);
    if count > MAX_SYMBOLS {
        return Err(ElfError::TooLarge {
            what: "symbol table",
            len: count,
            limit: MAX_SYMBOLS,
        });
    }
    if dynamic.symbols == 0 || count == 0 {
        return Ok(out);
    }
    let (mut first, what) = (0, "symbol table");
    while first < count {
        let batch = BATCH.min(count - first);
        let table = read_entries(
            source,
            headers,
            dynamic.symbols,
            first,
            batch,
            SYMBOL_LEN,
            what,
        )?;
        let versions = match dynamic.symbol_versions {
            0 => None,
            address => Some(read_entries(
                source,
                headers,
                address,
                first,
                batch,
                2,
                "symbol versions",
            )?),
        };
        for (i, entry) in table.chunks_exact(SYMBOL_LEN as usize).enumerate() {
            let raw_version = versions.as_ref().and_then(|v| u16_at(v, 2 * i));
            let index = first as u32 + i as u32;
            if let Some(symbol) = symbol(entry, index, strings, raw_version, nodes) {
                out.insert(index, symbol);
            }
            if out.len() > MAX_KEPT {
                return Err(ElfError::TooLarge {
                    what: "runtime symbols",
                    len: out.len() as u64,
                    limit: MAX_KEPT as u64,
                });
            }
        }
        first += batch;
    }
    Ok(out)
}

fn symbol(
    entry: &[u8],
    index: u32,
    strings: &[u8],
    raw_version: Option<u16>,
    nodes: &Nodes,
) -> Option<Symbol> {
    let name = text_at(strings, u64::from(u32_at(entry, 0)?))?;
    if !is_of_interest(name) && !raw_version.is_some_and(|raw| nodes.is_runtimes(raw)) {
        return None;
    }
    let (info, other) = (*entry.get(4)?, *entry.get(5)?);
    // ld.so never offers local, hidden or internal symbols to other objects.
    let visible = matches!(other & 3, v if v == STV_DEFAULT.0 || v == STV_PROTECTED.0);
    if info >> 4 == STB_LOCAL.0 || !visible {
        return None;
    }
    Some(Symbol {
        index,
        name: String::from_utf8_lossy(name).into_owned(),
        linkage: match u16_at(entry, 6)? {
            0 => Linkage::Imported,
            _ => Linkage::Defined,
        },
        is_function: info & 0xf == STT_FUNC.0,
        strength: match info >> 4 {
            b if b == STB_WEAK.0 => Strength::Weak,
            _ => Strength::Strong,
        },
        value: u64_at(entry, 8)?,
        size: u64_at(entry, 16)?,
        version: raw_version.map(|raw| nodes.version(raw)),
    })
}

fn read_entries<R: ReadAt + ?Sized>(
    source: &R,
    headers: &Headers,
    table: u64,
    first: u64,
    count: u64,
    entry_len: u64,
    what: &'static str,
) -> Result<Vec<u8>, ElfError> {
    let truncated = ElfError::Truncated { what };
    let address = table.checked_add(first * entry_len);
    let Some((offset, rest)) = address.and_then(|a| headers.file_offset(a)) else {
        return Err(truncated);
    };
    if rest < count * entry_len {
        return Err(truncated);
    }
    bytes(
        source,
        offset,
        count * entry_len,
        BATCH * SYMBOL_LEN,
        "symbols",
    )
}

/// How many symbols the hash tables know of. The section headers would say
/// it directly, but a stripped file need not have any and ld.so does not
/// look at them.
fn count<R: ReadAt + ?Sized>(
    source: &R,
    headers: &Headers,
    dynamic: &Dynamic,
) -> Result<u64, ElfError> {
    const WHAT: &str = "hash table";
    let truncated = || ElfError::Truncated { what: WHAT };
    let place = |address| headers.file_offset(address).ok_or_else(truncated);
    if dynamic.hash != 0 {
        let head = bytes(source, place(dynamic.hash)?.0, 8, 8, WHAT)?;
        return Ok(u64::from(u32_at(&head, 4).ok_or_else(truncated)?));
    }
    if dynamic.gnu_hash == 0 {
        return Ok(0);
    }
    let (offset, _) = place(dynamic.gnu_hash)?;
    let head = bytes(source, offset, 16, 16, WHAT)?;
    let word = |at| u32_at(&head, at).map(u64::from).ok_or_else(truncated);
    let (bucket_count, first_hashed, bloom_words) = (word(0)?, word(4)?, word(8)?);
    let buckets_at = offset.saturating_add(16 + bloom_words * 8);
    let buckets = bytes(source, buckets_at, bucket_count * 4, 4 * MAX_SYMBOLS, WHAT)?;
    let last = buckets.chunks_exact(4).filter_map(|b| u32_at(b, 0)).max();
    let Some(mut last) = last.map(u64::from).filter(|&l| l >= first_hashed) else {
        return Ok(first_hashed);
    };
    // The chain of the last bucket ends with an odd hash.
    loop {
        let at = buckets_at.saturating_add(bucket_count * 4 + (last - first_hashed) * 4);
        let chain = super::source::up_to(source, at, 4096)?;
        for hash in chain.chunks_exact(4) {
            last += 1;
            if hash[0] & 1 == 1 {
                return Ok(last);
            }
        }
        if chain.len() < 4096 || last > MAX_SYMBOLS {
            return Err(truncated());
        }
    }
}
