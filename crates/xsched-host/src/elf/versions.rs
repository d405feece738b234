//! Version nodes: the names behind the indices of DT_VERSYM, from the version
//! definitions and needs (LSB, "Symbol Versioning").

use std::collections::{BTreeMap, BTreeSet};

use object::elf::{VER_FLG_BASE, VER_FLG_WEAK};
use xsched_common::platform::names;

use super::ElfError;
use super::dynamic::{Dynamic, Table};
use super::segments::Headers;
use super::source::{ReadAt, text_at, u16_at, u32_at, up_to};

/// The bit of a DT_VERSYM entry that hides a definition from references that
/// do not name its node.
const HIDDEN: u16 = 0x8000;

/// Node indices have 15 bits; a table with more entries repeats itself.
const MAX_NODES: u64 = 1 << 15;

/// Indices 0 (local) and 1 (global) name no node.
const FIRST_NODE: u16 = 2;

/// The version of one symbol, as DT_VERSYM and the node tables give it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Index into the object's nodes, without the hidden bit.
    pub index: u16,
    /// Whether references without a version must not see it (`name@node`).
    pub hidden: bool,
    /// The node; none for unversioned symbols.
    pub node: Option<String>,
}

/// An object's node names by index.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    names: BTreeMap<u16, String>,
    /// The nodes that the object defines.
    pub defined: BTreeSet<String>,
    /// The nodes that other objects must define.
    pub needed: Vec<NeededNode>,
}

/// A node that ld.so insists on when it loads the object, whether or not a
/// reference is bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededNode {
    /// The library, by the name in DT_NEEDED.
    pub library: String,
    /// The node.
    pub node: String,
}

impl Nodes {
    /// Reads both tables.
    pub fn read<R: ReadAt + ?Sized>(
        source: &R,
        headers: &Headers,
        dynamic: &Dynamic,
        strings: &[u8],
    ) -> Result<Nodes, ElfError> {
        let mut nodes = Nodes::default();
        let definitions = dynamic.version_definitions;
        with_growing_window(source, headers, definitions, "version definitions", |w| {
            definitions_in(w, definitions.len, strings, &mut nodes)
        })?;
        let needs = dynamic.version_needs;
        with_growing_window(source, headers, needs, "version needs", |w| {
            nodes.needed.clear();
            needs_in(w, needs.len, strings, &mut nodes)
        })?;
        Ok(nodes)
    }

    /// Whether a raw entry of DT_VERSYM names a node of the runtime.
    pub fn is_runtimes(&self, raw: u16) -> bool {
        let node = self.names.get(&(raw & !HIDDEN));
        node.is_some_and(|node| names::node(node).is_some())
    }

    /// What a raw entry of DT_VERSYM means.
    pub fn version(&self, raw: u16) -> Version {
        let index = raw & !HIDDEN;
        Version {
            index,
            hidden: raw & HIDDEN != 0,
            node: self.names.get(&index).cloned(),
        }
    }
}

/// The tables are chains of offsets without a total size: most fit in the
/// first window, and a chain that leaves the last one is not an honest one.
fn with_growing_window<R: ReadAt + ?Sized>(
    source: &R,
    headers: &Headers,
    table: Table,
    what: &'static str,
    mut parse: impl FnMut(&[u8]) -> Option<()>,
) -> Result<(), ElfError> {
    if table.address == 0 || table.len == 0 {
        return Ok(());
    }
    let (offset, rest) = headers
        .file_offset(table.address)
        .ok_or(ElfError::Truncated { what })?;
    for window in [16 << 10, 4 << 20] {
        if parse(&up_to(source, offset, rest.min(window))?).is_some() {
            return Ok(());
        }
    }
    Err(ElfError::Truncated { what })
}

fn definitions_in(table: &[u8], count: u64, strings: &[u8], nodes: &mut Nodes) -> Option<()> {
    let mut at = 0usize;
    for _ in 0..count.min(MAX_NODES) {
        let (flags, index) = (u16_at(table, at + 2)?, u16_at(table, at + 4)? & !HIDDEN);
        let (aux, next) = (u32_at(table, at + 12)?, u32_at(table, at + 16)?);
        if flags & VER_FLG_BASE.0 == 0 && index >= FIRST_NODE {
            let name = u32_at(table, at.checked_add(aux as usize)?)?;
            let name = name_at(strings, name);
            nodes.defined.insert(name.clone());
            nodes.names.insert(index, name);
        }
        if next == 0 {
            break;
        }
        at = at.checked_add(next as usize)?;
    }
    Some(())
}

fn needs_in(table: &[u8], count: u64, strings: &[u8], nodes: &mut Nodes) -> Option<()> {
    let (mut at, mut read) = (0usize, 0);
    for _ in 0..count.min(MAX_NODES) {
        let aux_count = u16_at(table, at + 2)?;
        let library = name_at(strings, u32_at(table, at + 4)?);
        let (aux, next) = (u32_at(table, at + 8)?, u32_at(table, at + 12)?);
        let mut entry = at.checked_add(aux as usize)?;
        for _ in 0..aux_count {
            read += 1;
            if read > MAX_NODES {
                return None;
            }
            let index = u16_at(table, entry.checked_add(6)?)? & !HIDDEN;
            let (name, step) = (u32_at(table, entry + 8)?, u32_at(table, entry + 12)?);
            let weak = u16_at(table, entry + 4)? & VER_FLG_WEAK.0 != 0;
            if index >= FIRST_NODE {
                let node = name_at(strings, name);
                nodes.names.insert(index, node.clone());
                if !weak {
                    let library = library.clone();
                    nodes.needed.push(NeededNode { library, node });
                }
            }
            if step == 0 {
                break;
            }
            entry = entry.checked_add(step as usize)?;
        }
        if next == 0 {
            break;
        }
        at = at.checked_add(next as usize)?;
    }
    Some(())
}

fn name_at(strings: &[u8], at: u32) -> String {
    let name = text_at(strings, u64::from(at)).unwrap_or(b"?");
    String::from_utf8_lossy(name).into_owned()
}
