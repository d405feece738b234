//! Symbol look-up in one mapped object, as ld.so does it (glibc
//! elf/dl-lookup.c; the GNU hash table as in binutils' bfd/elflink.c).
//! Every pointer is checked to lie in the object's segments first.

use super::objects::{Object, basename};

/// Which definition of a name is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version<'a> {
    /// The one in this node; an object without versions has only one.
    Node(&'a [u8]),
    /// The one that a reference without version gets: not hidden.
    Default,
}

const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_STRSZ: i64 = 10;
const DT_GNU_HASH: i64 = 0x6fff_fef5;
const DT_VERSYM: i64 = 0x6fff_fff0;
const DT_VERDEF: i64 = 0x6fff_fffc;
const STT_GNU_IFUNC: u8 = 10;
const VERSYM_HIDDEN: u16 = 0x8000;
/// No sane table needs more steps; a corrupt one must not hang the program.
const MAX_STEPS: usize = 1 << 16;

/// An object's tables of symbols.
pub(super) struct Tables<'a, 'o> {
    object: &'a Object<'o>,
    strings: usize,
    strings_len: usize,
    symbols: usize,
    hash: usize,
    versions: usize,
    definitions: usize,
}

/// The address of `name` in `object`, if it defines it.
pub fn lookup(object: &Object<'_>, name: &[u8], version: Version<'_>) -> Option<usize> {
    let tables = Tables::of(object)?;
    let node = match version {
        Version::Default => None,
        Version::Node(node) if tables.versions != 0 => Some(tables.node_index(node)?),
        Version::Node(_) => None,
    };
    tables.find(name, node)
}

/// Whether an object is linked with another (DT_NEEDED): that is where the linker
/// finds what both the program and what it is linked with do not define.
pub fn is_linked_with(object: &Object<'_>, other: &Object<'_>) -> bool {
    const DT_NEEDED: i64 = 1;
    let Some(tables) = Tables::of(object) else {
        return false;
    };
    let name = basename(other.path);
    let mut needed = object.dynamic().filter(|(tag, _)| *tag == DT_NEEDED);
    !name.is_empty() && needed.any(|(_, offset)| tables.string_is(offset, name))
}

impl<'a, 'o> Tables<'a, 'o> {
    pub(super) fn of(object: &'a Object<'o>) -> Option<Tables<'a, 'o>> {
        let mut tables = Tables {
            object,
            strings: 0,
            strings_len: 0,
            symbols: 0,
            hash: 0,
            versions: 0,
            definitions: 0,
        };
        for (tag, value) in object.dynamic() {
            let address = object.address(value);
            match tag {
                DT_STRTAB => tables.strings = address,
                DT_STRSZ => tables.strings_len = value,
                DT_SYMTAB => tables.symbols = address,
                DT_GNU_HASH => tables.hash = address,
                DT_VERSYM => tables.versions = address,
                DT_VERDEF => tables.definitions = address,
                _ => {}
            }
        }
        (tables.hash != 0 && tables.symbols != 0 && tables.strings != 0).then_some(tables)
    }

    fn read<T: Copy>(&self, address: usize) -> Option<T> {
        if !self.object.maps(address, size_of::<T>()) {
            return None;
        }
        // SAFETY: mapped, checked just now; only plain integers and ELF's
        // plain structures are read this way.
        Some(unsafe { (address as *const T).read_unaligned() })
    }

    /// Whether the symbol with this number is called `name`.
    pub(super) fn names(&self, symbol: u32, name: &[u8]) -> bool {
        let entry = self.read::<libc::Elf64_Sym>(self.symbols + symbol as usize * 24);
        symbol != 0 && entry.is_some_and(|entry| self.string_is(entry.st_name as usize, name))
    }

    /// Whether the string at `offset` of the string table is `text`.
    fn string_is(&self, offset: usize, text: &[u8]) -> bool {
        let len = text.len() + 1;
        if offset
            .checked_add(len)
            .is_none_or(|end| end > self.strings_len)
            || !self.object.maps(self.strings + offset, len)
        {
            return false;
        }
        // SAFETY: `len` bytes are mapped there.
        let found =
            unsafe { std::slice::from_raw_parts((self.strings + offset) as *const u8, len) };
        &found[..len - 1] == text && found[len - 1] == 0
    }

    /// The number that symbols in version `node` carry.
    fn node_index(&self, node: &[u8]) -> Option<u16> {
        // Elf64_Verdef: version, flags, ndx, cnt: u16; hash, aux, next: u32.
        let mut at = self.definitions;
        for _ in 0..MAX_STEPS {
            let index: u16 = self.read(at.checked_add(4)?)?;
            let aux: u32 = self.read(at + 12)?;
            let next: u32 = self.read(at + 16)?;
            let name: u32 = self.read(at.checked_add(aux as usize)?)?;
            if self.string_is(name as usize, node) {
                return Some(index & !VERSYM_HIDDEN);
            }
            if next == 0 {
                return None;
            }
            at = at.checked_add(next as usize)?;
        }
        None
    }

    fn find(&self, name: &[u8], node: Option<u16>) -> Option<usize> {
        let hash = gnu_hash(name);
        let buckets: u32 = self.read(self.hash)?;
        let first: u32 = self.read(self.hash + 4)?;
        let bloom_words: u32 = self.read(self.hash + 8)?;
        if buckets == 0 {
            return None;
        }
        let bucket_table = self.hash + 16 + bloom_words as usize * 8;
        let chain_table = bucket_table + buckets as usize * 4;
        let mut index: u32 = self.read(bucket_table + (hash % buckets) as usize * 4)?;
        if index < first {
            return None;
        }
        for _ in 0..MAX_STEPS {
            let chained: u32 = self.read(chain_table + (index - first) as usize * 4)?;
            if chained | 1 == hash | 1
                && let Some(address) = self.symbol(index, name, node)
            {
                return Some(address);
            }
            if chained & 1 == 1 {
                return None;
            }
            index = index.checked_add(1)?;
        }
        None
    }

    fn symbol(&self, index: u32, name: &[u8], node: Option<u16>) -> Option<usize> {
        let entry: libc::Elf64_Sym = self.read(self.symbols + index as usize * 24)?;
        // An indirect function's address is known only to the linker.
        let kind = entry.st_info & 0xf;
        if entry.st_shndx == 0 || entry.st_value == 0 || kind == STT_GNU_IFUNC {
            return None;
        }
        if !self.string_is(entry.st_name as usize, name) {
            return None;
        }
        if self.versions != 0 {
            let version: u16 = self.read(self.versions + index as usize * 2)?;
            let fits = match node {
                Some(node) => version & !VERSYM_HIDDEN == node,
                None => version & VERSYM_HIDDEN == 0,
            };
            if !fits {
                return None;
            }
        }
        let address = self.object.base.wrapping_add(entry.st_value as usize);
        self.object.maps(address, 1).then_some(address)
    }
}

fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381u32, |hash, &byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::super::object_at;
    use super::*;

    fn in_libc(name: &[u8], version: Version<'_>) -> Option<usize> {
        object_at(libc::getpid as *const () as usize, |libc| {
            lookup(libc, name, version)
        })
        .flatten()
    }

    #[test]
    fn finds_what_dlsym_finds() {
        for name in [c"getpid", c"pthread_create", c"qsort", c"dlsym"] {
            // SAFETY: plain look-up.
            let expected = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as usize;
            assert_eq!(
                in_libc(name.to_bytes(), Version::Default),
                Some(expected),
                "{name:?}"
            );
        }
        assert_eq!(in_libc(b"hipMalloc", Version::Default), None);
    }

    #[test]
    fn tells_versions_apart() {
        // memcpy, realpath and others exist twice in glibc.
        let old = in_libc(b"realpath", Version::Node(b"GLIBC_2.2.5"));
        let new = in_libc(b"realpath", Version::Node(b"GLIBC_2.3"));
        assert!(old.is_some() && new.is_some());
        assert_ne!(old, new);
        assert_eq!(in_libc(b"realpath", Version::Default), new);
        assert_eq!(in_libc(b"realpath", Version::Node(b"GLIBC_9")), None);
    }
}
