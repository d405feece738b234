//! The built library against the table of entry points.

use crate::support;

use std::collections::BTreeMap;

use object::elf;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader, Sym};
use object::{Endianness, Object, ObjectSection};
use xsched_common::elf_note::{NOTE_SECTION, ShimNote};
use xsched_common::platform::{Action, ENTRY_POINTS, EntryPoint, Platform, symbol_node};

/// What the shim exports beside HIP's names.
const LOADER: [&str; 10] = [
    "__gmon_start__",
    "dlclose",
    "dlsym",
    "dlvsym",
    "hsa_amd_queue_set_priority",
    "hsa_queue_create",
    "hsa_queue_destroy",
    "prctl",
    "pthread_setname_np",
    "xsched_hint_v1",
];

fn of_hip() -> impl Iterator<Item = &'static EntryPoint> {
    ENTRY_POINTS
        .iter()
        .filter(|entry| entry.platform == Platform::Hip)
}

struct Exported {
    node: Option<String>,
    hidden: bool,
    code: [u8; 5],
    address: u64,
}

fn exported(bytes: &[u8]) -> BTreeMap<String, Exported> {
    let file = ElfFile64::<Endianness>::parse(bytes).expect("an ELF file");
    let endian = file.endian();
    let sections = file.elf_section_table();
    let versions = sections
        .versions(endian, bytes)
        .expect("readable versions")
        .expect("a versioned library");
    let symbols = file.elf_dynamic_symbol_table();
    let mut out = BTreeMap::new();
    for (index, symbol) in symbols.enumerate() {
        if symbol.st_shndx(endian) == elf::SHN_UNDEF || symbol.st_name(endian) == 0 {
            continue;
        }
        let name = symbols.symbol_name(endian, symbol).expect("a name");
        let version = versions.version_index(endian, index);
        let node = versions
            .version(version.into())
            .expect("a defined version")
            .map(|v| String::from_utf8(v.name().to_vec()).expect("ASCII"));
        let address = symbol.st_value(endian);
        let code = file
            .sections()
            .find_map(|s| s.data_range(address, 5).ok().flatten())
            .and_then(|code| code.try_into().ok())
            .unwrap_or_default();
        let name = String::from_utf8(name.to_vec()).expect("ASCII");
        let exported = Exported {
            node,
            hidden: version.is_hidden(),
            code,
            address,
        };
        assert!(out.insert(name.clone(), exported).is_none(), "{name} twice");
    }
    out
}

#[test]
fn exactly_the_tables_symbols_under_their_nodes() {
    let bytes = std::fs::read(support::shim()).expect("the built library");
    let exported = exported(&bytes);
    let mut wanted: Vec<&str> = of_hip()
        .filter(|entry| entry.action.is_some())
        .map(|entry| entry.symbol)
        .chain(LOADER)
        .collect();
    wanted.sort_unstable();
    let got: Vec<&str> = exported
        .iter()
        // The definitions of the nodes themselves.
        .filter(|(name, _)| !name.starts_with("hip_"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(got, wanted);
    for name in got {
        let symbol = &exported[name];
        if LOADER.contains(&name) {
            assert_eq!(symbol.node, None, "{name}");
            continue;
        }
        assert_eq!(symbol.node.as_deref(), symbol_node(name), "{name}");
        assert!(!symbol.hidden, "{name} must be the default version");
        assert_eq!(
            symbol.code,
            [0x0f, 0x1f, 0x44, 0, 0],
            "{name} starts with nop5"
        );
        assert_eq!(symbol.address % 16, 0, "{name} is aligned");
    }
}

/// What the built library does at each export: where its trampoline leads.
/// Functions that are gated lead to one place, those that are called to
/// another, those that are handed on to a third.
#[test]
fn every_export_does_what_its_row_says() {
    let bytes = std::fs::read(support::shim()).expect("the built library");
    let exported = exported(&bytes);
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let mut places: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in of_hip() {
        let (symbol, Some(action)) = (entry.symbol, entry.action) else {
            continue;
        };
        let address = exported[symbol].address;
        let place = body_of(&file, address);
        let what = match action {
            Action::Gate => "gate",
            // What it calls and looks at afterwards.
            Action::Drain | Action::Hook => "call",
            Action::Forward => "forward",
        };
        let first = *places.entry(what).or_insert(place);
        assert_eq!(place, first, "{symbol} is no {what}");
    }
    let distinct: std::collections::BTreeSet<u64> = places.values().copied().collect();
    assert_eq!(distinct.len(), 3, "{places:x?}");
}

/// Where a trampoline jumps to: a NOP of 5 bytes, a jump of 2, `mov r11d, imm32`
/// of 6, and `jmp rel8` or `jmp rel32` (build/main.rs).
fn body_of(file: &ElfFile64<'_, Endianness>, address: u64) -> u64 {
    let at = address + 13;
    let code = file
        .sections()
        .find_map(|section| section.data_range(at, 5).ok().flatten())
        .expect("code");
    let (length, offset) = match code[0] {
        0xeb => (2, i64::from(code[1].cast_signed())),
        0xe9 => {
            let offset = code[1..5].try_into().expect("four bytes");
            (5, i64::from(i32::from_le_bytes(offset)))
        }
        other => panic!("no jump at {at:x}: {other:02x}"),
    };
    (at + length).wrapping_add_signed(offset)
}

#[test]
fn says_its_abi_in_a_loaded_note() {
    let bytes = std::fs::read(support::shim()).expect("the built library");
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let endian = file.endian();
    let section = file.section_by_name(NOTE_SECTION).expect("the section");
    let in_section = ShimNote::find(section.data().expect("readable"));
    assert_eq!(in_section, Some(ShimNote::of_this_build()));
    // Where a live process has it.
    let in_segment = file
        .elf_program_headers()
        .iter()
        .filter_map(|header| header.notes(endian, &*bytes).ok().flatten().map(|_| header))
        .filter(|header| header.p_align(endian) <= 4)
        .find_map(|header| ShimNote::find(header.data(endian, &*bytes).ok()?));
    assert_eq!(in_segment, in_section);
}

#[test]
fn stays_where_it_is() {
    let bytes = std::fs::read(support::shim()).expect("the built library");
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let endian = file.endian();
    let sections = file.elf_section_table();
    let (dynamic, _) = sections
        .dynamic(endian, &*bytes)
        .expect("readable")
        .expect("a shared library");
    let header = file.elf_header();
    assert_eq!(header.e_machine(endian), elf::EM_X86_64);
    let stays = |entry: &elf::Dyn64<Endianness>| {
        entry.tag(endian) == elf::DT_FLAGS_1 && entry.d_val(endian) & elf::DF_1_NODELETE.0 != 0
    };
    assert!(dynamic.iter().any(stays), "nothing of it may be unmapped");
}
