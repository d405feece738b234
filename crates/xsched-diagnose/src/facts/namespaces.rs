//! Link namespaces, from the dynamic linker's own lists.
//!
//! DT_DEBUG of the program leads to `struct r_debug`, whose `r_map` lists
//! the objects of the first namespace. From version 2 on (glibc 2.35),
//! `r_next` leads to the list of the next namespace, which dlmopen made
//! (<link.h>, `struct r_debug_extended`).

use std::collections::HashMap;

use object::elf::{DT_DEBUG, DT_NULL};

use super::bindings::Memory;
use super::mapped::{MappedObject, MappedObjects, Role};

/// A link namespace; 0 is the program's own.
pub type Namespace = usize;

/// More than any process has: a list that is longer is a loop.
const MAX_OBJECTS: usize = 64 << 10;
/// glibc knows 16 (DL_NNS).
const MAX_NAMESPACES: usize = 64;
/// No dynamic section has more entries.
const MAX_ENTRIES: u64 = 4096;

/// The fields of the structures, bytes from their start.
mod at {
    pub const VERSION: u64 = 0;
    pub const MAP: u64 = 8;
    pub const NEXT_NAMESPACE: u64 = 40;
    pub const BASE: u64 = 0;
    pub const NEXT_OBJECT: u64 = 24;
}

/// In which namespace each object is, as far as the lists say.
#[derive(Debug, Default)]
pub struct Namespaces {
    by_base: HashMap<u64, Namespace>,
}

impl Namespaces {
    /// Reads the lists; `None` when there are none or they cannot be read
    /// to their end. From linkers before version 2, the first list only.
    pub fn read(mapped: &MappedObjects, memory: &Memory) -> Option<Namespaces> {
        let program = mapped.objects.iter().find(|o| o.role == Role::Program)?;
        let mut debug = debug_address(program, memory)?;
        let version = memory.word(debug.checked_add(at::VERSION)?)? as u32;
        let mut by_base = HashMap::new();
        for namespace in 0..MAX_NAMESPACES {
            let first = memory.word(debug.checked_add(at::MAP)?)?;
            for base in bases(memory, first)? {
                // ld.so itself is in every list; the first one counts.
                by_base.entry(base).or_insert(namespace);
            }
            debug = match version {
                0 | 1 => 0,
                _ => memory.word(debug.checked_add(at::NEXT_NAMESPACE)?)?,
            };
            if debug == 0 {
                return Some(Namespaces { by_base });
            }
        }
        None
    }

    /// The namespace of an object; `None` for what is in no list.
    pub fn of(&self, object: &MappedObject) -> Option<Namespace> {
        self.by_base.get(&object.base).copied()
    }
}

/// The load bases in the list of `struct link_map` that begins at `object`.
fn bases(memory: &Memory, mut object: u64) -> Option<Vec<u64>> {
    let mut out = Vec::new();
    while object != 0 {
        if out.len() >= MAX_OBJECTS {
            return None;
        }
        out.push(memory.word(object.checked_add(at::BASE)?)?);
        object = memory.word(object.checked_add(at::NEXT_OBJECT)?)?;
    }
    Some(out)
}

/// The value of DT_DEBUG, which ld.so writes when it starts the program.
fn debug_address(program: &MappedObject, memory: &Memory) -> Option<u64> {
    let section = program.base.checked_add(program.elf.dynamic_address?)?;
    for entry in 0..MAX_ENTRIES {
        let address = section.checked_add(entry * 16)?;
        let (tag, value) = (memory.word(address)?, memory.word(address.checked_add(8)?)?);
        match tag as i64 {
            t if t == DT_NULL.0 => return None,
            t if t == DT_DEBUG.0 => return Some(value).filter(|&v| v != 0),
            _ => {}
        }
    }
    None
}
