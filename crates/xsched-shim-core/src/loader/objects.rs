//! The mapped objects.

use std::ffi::{CStr, c_int, c_void};
use std::ops::{ControlFlow, Range};

/// The unit of the kernel's rights to memory.
const PAGE: usize = 4096;

/// A word that the dynamic linker fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// It is written to at any time.
    Writable,
    /// Its page was made read-only after relocation, all of it.
    Sealed,
    /// It was written to while its read-only segment was made writable for
    /// that (DT_TEXTREL): it may share its page with code that runs.
    Fixed,
}

/// One mapped object, valid while [`visit`] shows it.
pub struct Object<'a> {
    /// What the linker adds to the addresses in the file.
    pub base: usize,
    /// Path as it was opened; empty for the program itself.
    pub path: &'a [u8],
    headers: &'a [libc::Elf64_Phdr],
}

impl Object<'static> {
    /// The object that the dynamic linker describes by these addresses: what it
    /// adds to those in the file, and the dynamic section.
    ///
    /// # Safety
    /// It is mapped there, begins with its ELF header and stays so, as `path`
    /// does.
    pub unsafe fn at(base: usize, dynamic: usize, path: &'static [u8]) -> Option<Object<'static>> {
        let begin = match base {
            // SAFETY: the caller's.
            0 => unsafe { begin_of_prelinked(dynamic) }?,
            base => base,
        };
        // SAFETY: the caller's.
        let headers = unsafe {
            let header = &*(begin as *const libc::Elf64_Ehdr);
            if !header.e_ident.starts_with(b"\x7fELF") {
                return None;
            }
            let first = begin.checked_add(header.e_phoff as usize)?;
            std::slice::from_raw_parts(first as *const libc::Elf64_Phdr, header.e_phnum.into())
        };
        let object = Object {
            base,
            path,
            headers,
        };
        let is_section = |h: &libc::Elf64_Phdr| base.wrapping_add(h.p_vaddr as usize) == dynamic;
        let has_section = object.segments(libc::PT_DYNAMIC).any(is_section);
        has_section.then_some(object)
    }
}

/// Where an object begins that was moved to its addresses beforehand (prelink):
/// nothing is added to them. Its first table stands in the same page as its
/// ELF header, behind notes.
///
/// # Safety
/// The dynamic section is there, and what it refers to.
unsafe fn begin_of_prelinked(dynamic: usize) -> Option<usize> {
    /// DT_HASH, DT_STRTAB, DT_SYMTAB, DT_GNU_HASH.
    const TABLES: [i64; 4] = [4, 5, 6, 0x6fff_fef5];
    /// Sections have some thirty.
    const MOST: usize = 256;
    let entries = (0..MOST).map(|i| {
        // SAFETY: up to the entry with the tag zero, the caller's.
        unsafe { *(dynamic as *const (i64, usize)).add(i) }
    });
    entries
        .take_while(|&(tag, _)| tag != 0)
        .filter(|(tag, _)| TABLES.contains(tag))
        .map(|(_, address)| address / PAGE * PAGE)
        .min()
}

impl Object<'_> {
    /// The program headers of type `kind`.
    fn segments(&self, kind: u32) -> impl Iterator<Item = &libc::Elf64_Phdr> {
        self.headers.iter().filter(move |h| h.p_type == kind)
    }

    /// Whether `len` bytes at `address` lie in one of its segments.
    pub fn maps(&self, address: usize, len: usize) -> bool {
        let Some(end) = address.checked_add(len) else {
            return false;
        };
        self.segments(libc::PT_LOAD).any(|h| {
            let start = self.base.wrapping_add(h.p_vaddr as usize);
            start <= address && end <= start.saturating_add(h.p_memsz as usize)
        })
    }

    /// Whether `len` bytes at `address` lie in one of its segments that have
    /// these rights (`PF_R`, `PF_W`, `PF_X`) and keep them: what is made
    /// read-only after relocation is not writable.
    pub fn permits(&self, address: usize, len: usize, rights: u32) -> bool {
        let Some(end) = address.checked_add(len) else {
            return false;
        };
        let sealed = rights & libc::PF_W != 0
            && self
                .sealed_pages()
                .any(|pages| address < pages.end && pages.start < end);
        !sealed
            && self.segments(libc::PT_LOAD).any(|h| {
                let r = self.range(h);
                h.p_flags & rights == rights && r.start <= address && end <= r.end
            })
    }

    /// Where a segment lies.
    fn range(&self, segment: &libc::Elf64_Phdr) -> Range<usize> {
        let start = self.base.wrapping_add(segment.p_vaddr as usize);
        start..start.saturating_add(segment.p_memsz as usize)
    }

    /// What the dynamic linker has made read-only after relocation. Whole pages:
    /// it rounds both ends down (glibc `_dl_protect_relro`, musl
    /// `reloc_all`), so a last page in part stays writable.
    fn sealed_pages(&self) -> impl Iterator<Item = Range<usize>> {
        self.segments(libc::PT_GNU_RELRO).map(|h| {
            let Range { start, end } = self.range(h);
            start / PAGE * PAGE..end / PAGE * PAGE
        })
    }

    /// A value in a readable segment.
    pub fn read<T: Copy>(&self, address: usize) -> Option<T> {
        if !self.permits(address, size_of::<T>(), libc::PF_R) {
            return None;
        }
        // SAFETY: mapped and readable, checked just now. Used for plain
        // integers and arrays of bytes.
        Some(unsafe { (address as *const T).read_unaligned() })
    }

    /// An address of the dynamic section as it is in memory. The dynamic linker
    /// relocates them in place, except in objects whose dynamic section is
    /// read-only (the vDSO) and in musl's.
    pub fn address(&self, value: usize) -> usize {
        if value < self.base {
            self.base.wrapping_add(value)
        } else {
            value
        }
    }

    /// How a word of the object that the dynamic linker fills can be changed.
    #[cfg_attr(test, allow(dead_code, reason = "the exports use it"))]
    pub fn slot_at(&self, address: usize) -> Slot {
        let len = size_of::<usize>();
        if self.permits(address, len, libc::PF_W) {
            return Slot::Writable;
        }
        let in_writable_segment = self.segments(libc::PT_LOAD).any(|h| {
            let r = self.range(h);
            h.p_flags & libc::PF_W != 0 && r.contains(&address) && r.end - address >= len
        });
        let is_sealed = |pages: Range<usize>| pages.contains(&address);
        if in_writable_segment && self.sealed_pages().any(is_sealed) {
            Slot::Sealed
        } else {
            Slot::Fixed
        }
    }

    /// The dynamic section's entries as (tag, value).
    pub fn dynamic(&self) -> impl Iterator<Item = (i64, usize)> {
        let section = self
            .segments(libc::PT_DYNAMIC)
            .map(|h| {
                (
                    self.base.wrapping_add(h.p_vaddr as usize),
                    h.p_memsz as usize,
                )
            })
            .find(|&(at, len)| self.maps(at, len));
        let (at, len) = section.unwrap_or((0, 0));
        (0..len / 16)
            .map(move |i| {
                let entry = (at + i * 16) as *const i64;
                // SAFETY: inside the section, which is mapped; aligned
                // because the linker reads it the same way.
                unsafe { (entry.read(), entry.add(1).read() as usize) }
            })
            .take_while(|&(tag, _)| tag != 0)
    }
}

/// The part of a path behind its last slash.
pub fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// Shows the mapped objects of the main namespace, in load order, until
/// `visitor` breaks.
pub fn visit<T>(mut visitor: impl FnMut(&Object<'_>) -> ControlFlow<T>) -> Option<T> {
    struct State<'f, T> {
        visitor: &'f mut dyn FnMut(&Object<'_>) -> ControlFlow<T>,
        found: Option<T>,
    }

    unsafe extern "C-unwind" fn each<T>(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        state: *mut c_void,
    ) -> c_int {
        // SAFETY: `state` is the one passed below; `info` is the linker's.
        let (state, info) = unsafe { (&mut *state.cast::<State<'_, T>>(), &*info) };
        if info.dlpi_phdr.is_null() {
            return 0;
        }
        // SAFETY: the linker's own pointers, valid during this call.
        let object = unsafe {
            Object {
                base: info.dlpi_addr as usize,
                path: if info.dlpi_name.is_null() {
                    &[]
                } else {
                    CStr::from_ptr(info.dlpi_name).to_bytes()
                },
                headers: std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)),
            }
        };
        match (state.visitor)(&object) {
            ControlFlow::Continue(()) => 0,
            ControlFlow::Break(found) => {
                state.found = Some(found);
                1
            }
        }
    }

    let mut state = State {
        visitor: &mut visitor,
        found: None,
    };
    // SAFETY: `each` gets the state it expects.
    unsafe { super::host::dl_iterate_phdr(each::<T>, (&raw mut state).cast()) };
    state.found
}

/// Calls `f` with the object that contains `address`.
pub fn object_at<T>(address: usize, f: impl Fn(&Object<'_>) -> T) -> Option<T> {
    visit(|object| {
        if object.maps(address, 1) {
            ControlFlow::Break(f(object))
        } else {
            ControlFlow::Continue(())
        }
    })
}

/// Whether `object` is this library.
pub fn own_contains(object: &Object<'_>) -> bool {
    static HERE: u8 = 0;
    object.maps(&raw const HERE as usize, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_in_its_object() {
        let libc_name = object_at(libc::getpid as *const () as usize, |o| {
            basename(o.path).to_vec()
        });
        assert_eq!(libc_name.as_deref(), Some(&b"libc.so.6"[..]));
        assert_eq!(object_at(8, |_| ()), None);
    }

    #[test]
    fn rights_are_told_apart() {
        static CONSTANT: u64 = 7;
        static VARIABLE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(7);
        let code = basename as *const () as usize;
        let permitted = |address: usize| {
            object_at(address, |o| {
                [libc::PF_R, libc::PF_W, libc::PF_X].map(|right| o.permits(address, 8, right))
            })
        };
        let (constant, variable) = (&raw const CONSTANT as usize, &raw const VARIABLE as usize);
        assert_eq!(permitted(code), Some([true, false, true]));
        assert_eq!(permitted(constant), Some([true, false, false]));
        assert_eq!(permitted(variable), Some([true, true, false]));
        let read = object_at(constant, |o| o.read::<u64>(constant)).flatten();
        assert_eq!(read, Some(7));
    }

    fn segment(kind: u32, flags: u32, range: Range<u64>) -> libc::Elf64_Phdr {
        libc::Elf64_Phdr {
            p_type: kind,
            p_flags: flags,
            p_offset: 0,
            p_vaddr: range.start,
            p_paddr: 0,
            p_filesz: range.end - range.start,
            p_memsz: range.end - range.start,
            p_align: 0x1000,
        }
    }

    #[test]
    fn slots_are_sealed_by_whole_pages_of_writable_segments() {
        let headers = [
            segment(libc::PT_LOAD, libc::PF_R | libc::PF_X, 0..0x3000),
            segment(libc::PT_LOAD, libc::PF_R | libc::PF_W, 0x4d00..0x8000),
            segment(libc::PT_GNU_RELRO, libc::PF_R, 0x4d00..0x6480),
        ];
        let object = Object {
            base: 0x7f00_0000_0000,
            path: b"",
            headers: &headers,
        };
        for (offset, slot) in [
            (0x2ff8, Slot::Fixed),
            (0x4000, Slot::Fixed),
            (0x4d00, Slot::Sealed),
            (0x5ff8, Slot::Sealed),
            (0x6000, Slot::Writable),
            (0x6478, Slot::Writable),
            (0x7ff8, Slot::Writable),
            (0x7ffc, Slot::Fixed),
            (0x9000, Slot::Fixed),
        ] {
            let address = object.base + offset;
            assert_eq!(object.slot_at(address), slot, "{offset:#x}");
            let writable = object.permits(address, 8, libc::PF_W);
            assert_eq!(writable, slot == Slot::Writable, "{offset:#x}");
        }
    }

    /// An object in memory as prelink leaves it: all addresses are as in the
    /// file.
    #[repr(C, align(4096))]
    struct Prelinked {
        header: libc::Elf64_Ehdr,
        segments: [libc::Elf64_Phdr; 2],
        tables: [u64; 100],
        space: [u8; PAGE],
        dynamic: [(i64, usize); 4],
    }

    #[test]
    fn a_prelinked_object_is_found_by_its_tables() {
        // SAFETY: plain integers, of which zero is valid.
        let image: &mut Prelinked = Box::leak(unsafe { Box::new(std::mem::zeroed()) });
        let [begin, tables, dynamic] = [
            &raw const *image as usize,
            &raw const image.tables as usize,
            &raw const image.dynamic as usize,
        ];
        let at = |from: usize, len: usize| from as u64..(from + len) as u64;
        image.header.e_phoff = std::mem::offset_of!(Prelinked, segments) as u64;
        image.header.e_phnum = 2;
        image.segments = [
            segment(libc::PT_LOAD, libc::PF_R, at(begin, size_of::<Prelinked>())),
            segment(libc::PT_DYNAMIC, libc::PF_R, at(dynamic, 64)),
        ];
        image.dynamic = [(1, 7), (5, tables + 160), (0x6fff_fef5, tables), (0, 0)];
        // SAFETY: leaked.
        let found = || unsafe { Object::at(0, dynamic, b"libc.so.6") };
        assert!(found().is_none(), "no ELF header");
        image.header.e_ident[..4].copy_from_slice(b"\x7fELF");
        let object = found().expect("it has its header now");
        assert!(object.maps(tables, 8) && !object.maps(begin - 1, 1));
        assert_eq!(object.dynamic().nth(2), Some((0x6fff_fef5, tables)));
        image.segments[1].p_vaddr += 16;
        assert!(found().is_none(), "another object's header");
    }

    #[test]
    fn own_code_is_recognised() {
        assert_eq!(
            object_at(basename as *const () as usize, own_contains),
            Some(true)
        );
        assert_eq!(
            object_at(libc::getpid as *const () as usize, own_contains),
            Some(false)
        );
    }
}
