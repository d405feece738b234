//! What the built library needs of the program that it is loaded into: next
//! to nothing, since whatever it imports may be missing there (an old C
//! library, another one), or be somebody else's function that is not ready when
//! we call it (a sanitizer's, the program's own).

use crate::support;

use std::collections::BTreeSet;
use std::path::Path;

use object::Endianness;
use object::elf;
use object::read::elf::{Dyn, ElfFile64, Sym};

/// An import, and why it does no harm.
struct Import {
    symbol: &'static str,
    /// The version node, for what is not optional.
    node: Option<&'static str>,
    #[allow(dead_code, reason = "for the reader")]
    why: &'static str,
}

const IMPORTS: [Import; 6] = [
    Import {
        symbol: "__errno_location",
        node: Some("GLIBC_2.2.5"),
        why: "where the program's errno is, whoever keeps it: called at launches only, never \
              before main; every C library on x86-64 has had it from its first version on",
    },
    Import {
        symbol: "_r_debug",
        node: None,
        why: "a variable of glibc's dynamic linker, filled before any code of ours runs; optional",
    },
    Import {
        symbol: "_dl_debug_addr",
        node: None,
        why: "the same of musl; optional",
    },
    Import {
        symbol: "__cxa_finalize",
        node: Some("GLIBC_2.2.5"),
        why: "optional; the compiler's crtbeginS.o calls it when the library is unloaded or the \
              program has ended: nothing is registered under our name",
    },
    Import {
        symbol: "_ITM_registerTMCloneTable",
        node: None,
        why: "optional; crtbeginS.o tells a runtime for transactions of our functions: none",
    },
    Import {
        symbol: "_ITM_deregisterTMCloneTable",
        node: None,
        why: "likewise",
    },
];

/// The oldest glibc that a program may have.
const OLDEST_GLIBC: (u32, u32) = (2, 28);

/// Undefined symbols with their version nodes, and the libraries needed.
fn needs(library: &Path) -> (BTreeSet<(String, Option<String>)>, Vec<String>) {
    let bytes = std::fs::read(library).expect("the built library");
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let endian = file.endian();
    let sections = file.elf_section_table();
    let versions = sections
        .versions(endian, &*bytes)
        .expect("readable versions")
        .expect("a versioned library");
    let symbols = file.elf_dynamic_symbol_table();
    let undefined = symbols
        .enumerate()
        .filter(|(_, s)| s.st_shndx(endian) == elf::SHN_UNDEF && s.st_name(endian) != 0)
        .map(|(index, symbol)| {
            let name = symbols.symbol_name(endian, symbol).expect("a name");
            let node = versions
                .version(versions.version_index(endian, index).into())
                .expect("a version")
                .map(|v| String::from_utf8_lossy(v.name()).into_owned());
            (String::from_utf8_lossy(name).into_owned(), node)
        })
        .collect();
    let (dynamic, link) = sections
        .dynamic(endian, &*bytes)
        .expect("readable")
        .expect("a shared library");
    let strings = sections.strings(endian, &*bytes, link).expect("strings");
    let needed = dynamic
        .iter()
        .filter(|entry| entry.tag(endian) == elf::DT_NEEDED)
        .map(|entry| {
            let name = entry.string(endian, strings).expect("a name");
            String::from_utf8_lossy(name).into_owned()
        })
        .collect();
    (undefined, needed)
}

fn check(library: &Path) {
    let shown = library.display();
    let (undefined, needed) = needs(library);
    for (symbol, node) in &undefined {
        let known = IMPORTS.iter().find(|import| import.symbol == symbol);
        let known = known.unwrap_or_else(|| {
            panic!(
                "{shown} imports {symbol}: call the kernel (`sys::call`) or look the function up in \
                 the C library (`loader::host`), or say in this test why it is safe"
            )
        });
        assert_eq!(node.as_deref(), known.node, "{shown}: {symbol}");
        let glibc = node.as_deref().and_then(|n| n.strip_prefix("GLIBC_"));
        if let Some(version) = glibc {
            let mut numbers = version
                .split('.')
                .map(|n| n.parse::<u32>().expect("a number"));
            let version = (numbers.next(), numbers.next());
            assert!(
                version <= (Some(OLDEST_GLIBC.0), Some(OLDEST_GLIBC.1)),
                "{symbol}@{node:?}"
            );
        }
    }
    // libc.so.6 is musl's name for itself too, and is initialised before us.
    assert_eq!(needed, ["libc.so.6"], "{shown}");
}

#[test]
fn the_library_imports_nothing_unsafe() {
    check(&support::shim());
}

/// Optimised code calls other functions, memset for example.
#[test]
fn nor_does_the_release_build() {
    check(support::release_shim());
}
