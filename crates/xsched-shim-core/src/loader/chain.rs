//! The dynamic linker's own list of objects (`struct r_debug`, which it keeps
//! for debuggers), for the two that everything else is found by: the C library
//! and the vDSO.
//!
//! The list has no lock that we could take, and dlclose frees its entries. But
//! it grows at its end only, and both were mapped at the program's start, as
//! was everything before the C library: what we walk over never goes away.

use std::arch::asm;
use std::ffi::{CStr, c_char, c_int};

use super::objects::{Object, basename};

/// `struct link_map` of <link.h>, as far as it is public; musl's begins in the
/// same way.
#[repr(C)]
struct Link {
    base: usize,
    name: *const c_char,
    dynamic: *const u8,
    next: *const Link,
}

/// `struct r_debug` of <link.h>.
#[repr(C)]
struct Debug {
    version: c_int,
    first: *const Link,
}

/// No program has more objects at its start.
const MOST: usize = 4096;

/// The C library.
pub fn libc() -> Option<Object<'static>> {
    until_libc(is_libc)
}

/// The kernel's own library. It follows the program in glibc's list, and has
/// no name that leads to a file.
pub fn vdso() -> Option<Object<'static>> {
    until_libc(|name| name.starts_with(b"linux-vdso.so"))
}

/// Whether a file name is the C library's: glibc's, or musl's, whose dynamic
/// linker it is as well.
fn is_libc(name: &[u8]) -> bool {
    [&b"libc.so"[..], b"libc.musl-", b"ld-musl-"]
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

/// Whether a file name is that of a library which has `dlsym` and the like:
/// before glibc 2.34 they were in one of their own.
pub fn has_dlsym(name: &[u8]) -> bool {
    is_libc(name) || name.starts_with(b"libdl.so")
}

fn until_libc(is_wanted: impl Fn(&[u8]) -> bool) -> Option<Object<'static>> {
    let mut next = first();
    for _ in 0..MOST {
        // SAFETY: null or the linker's; see the module.
        let link = unsafe { next.as_ref() }?;
        let path = if link.name.is_null() {
            &[]
        } else {
            // SAFETY: the linker's string, which lives as long as its entry.
            unsafe { CStr::from_ptr(link.name) }.to_bytes()
        };
        let name = basename(path);
        if is_wanted(name) {
            // SAFETY: both libraries begin with their ELF header.
            return unsafe { Object::at(link.base, link.dynamic as usize, path) };
        }
        if is_libc(name) {
            return None;
        }
        next = link.next;
    }
    None
}

/// Weak references: glibc has the one, musl the other, and our library needs
/// neither. A program that refers to the first has a copy of it, whose list
/// begins at the same entry.
fn first() -> *const Link {
    let (glibc, musl): (*const Debug, *const *const Debug);
    // SAFETY: reads two entries of our offset table.
    unsafe {
        asm!(
            ".weak _r_debug",
            ".weak _dl_debug_addr",
            "mov {0}, qword ptr [rip + _r_debug@GOTPCREL]",
            "mov {1}, qword ptr [rip + _dl_debug_addr@GOTPCREL]",
            out(reg) glibc,
            out(reg) musl,
            options(nostack, pure, readonly, preserves_flags),
        );
    }
    // SAFETY: null or the linker's structures, which stay.
    unsafe {
        let debug = match glibc.as_ref() {
            Some(debug) => Some(debug),
            None => musl.as_ref().and_then(|debug| debug.as_ref()),
        };
        debug.map_or(std::ptr::null(), |debug| debug.first)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Version, lookup, object_at};
    use super::*;

    #[test]
    fn the_c_library_is_found_where_its_code_is() {
        let found = libc().expect("this program has one");
        let shown = object_at(libc::getpid as *const () as usize, |o| o.base);
        assert_eq!(Some(found.base), shown);
        assert!(found.maps(libc::getpid as *const () as usize, 1));
        assert!(lookup(&found, b"dl_iterate_phdr", Version::Default).is_some());
    }

    #[test]
    fn c_libraries_are_known_by_name() {
        for name in [
            &b"libc.so.6"[..],
            b"ld-musl-x86_64.so.1",
            b"libc.musl-x86_64.so.1",
        ] {
            assert!(is_libc(name) && has_dlsym(name));
        }
        assert!(has_dlsym(b"libdl.so.2") && !is_libc(b"libdl.so.2"));
        for name in [&b"libcap.so.2"[..], b"libcrypt.so.1", b"libc++.so.1", b""] {
            assert!(!is_libc(name) && !has_dlsym(name));
        }
    }
}
