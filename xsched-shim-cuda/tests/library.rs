//! The built library against the table of entry points.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use object::elf;
use object::read::elf::{Dyn, ElfFile64};
use object::{Endianness, Object, ObjectSection, ObjectSymbol};
use xsched_common::elf_note::{NOTE_SECTION, ShimNote};
use xsched_common::platform::{Action, ENTRY_POINTS, EntryPoint, Platform};

/// What the library exports beside the driver's names.
const LOADER: [&str; 7] = [
    "__gmon_start__",
    "dlclose",
    "dlsym",
    "dlvsym",
    "prctl",
    "pthread_setname_np",
    "xsched_hint_v1",
];

fn library() -> Vec<u8> {
    let exe = std::env::current_exe().expect("the test has a path");
    let shim: PathBuf = exe.with_file_name(Platform::Cuda.names().shim);
    std::fs::read(&shim).unwrap_or_else(|e| panic!("{}: {e}", shim.display()))
}

fn exported(file: &ElfFile64<'_, Endianness>) -> BTreeMap<String, u64> {
    file.dynamic_symbols()
        .filter(|symbol| symbol.is_definition())
        .map(|symbol| {
            let name = symbol.name().expect("a name").to_owned();
            (name, symbol.address())
        })
        .collect()
}

fn rows() -> impl Iterator<Item = (&'static EntryPoint, Action)> {
    ENTRY_POINTS
        .iter()
        .filter(|entry| entry.platform == Platform::Cuda)
        .filter_map(|entry| Some((entry, entry.action?)))
}

fn code<'f>(file: &'f ElfFile64<'_, Endianness>, at: u64, length: u64) -> &'f [u8] {
    let mut sections = file.sections();
    sections
        .find_map(|section| section.data_range(at, length).ok().flatten())
        .expect("code")
}

#[test]
fn exactly_the_tables_symbols_for_probes_and_programs() {
    let bytes = library();
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let exported = exported(&file);
    let mut wanted: Vec<&str> = rows()
        .map(|(entry, _)| entry.symbol)
        .chain(LOADER)
        .collect();
    wanted.sort_unstable();
    let found: Vec<&str> = exported.keys().map(String::as_str).collect();
    assert_eq!(found, wanted);
    for (entry, _) in rows() {
        let address = exported[entry.symbol];
        assert_eq!(
            code(&file, address, 5),
            [0x0f, 0x1f, 0x44, 0, 0],
            "{}",
            entry.symbol
        );
        assert_eq!(address % 16, 0, "{} is aligned", entry.symbol);
    }
}

#[test]
fn every_export_does_what_its_row_says() {
    let bytes = library();
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let exported = exported(&file);
    let mut places: BTreeMap<&str, u64> = BTreeMap::new();
    for (index, (entry, action)) in rows().enumerate() {
        let symbol = entry.symbol;
        let address = exported[symbol];
        let what = match action {
            Action::Gate => "gate",
            Action::Drain | Action::Hook => "call",
            Action::Forward => "forward",
        };
        // The NOP and the jump, then the index that the trampoline passes: `mov r11d, imm32`.
        let passed = &code(&file, address + 7, 6)[2..];
        assert_eq!(
            passed,
            (index as u32).to_le_bytes(),
            "{symbol} passes another's index"
        );
        let place = target(&file, address + 13);
        let first = *places.entry(what).or_insert(place);
        assert_eq!(place, first, "{symbol} is no {what}");
    }
    let distinct: BTreeSet<u64> = places.values().copied().collect();
    assert_eq!(distinct.len(), 3, "{places:x?}");
}

/// Where a jump leads.
fn target(file: &ElfFile64<'_, Endianness>, at: u64) -> u64 {
    let code = code(file, at, 5);
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

/// As HIP's: whatever else it imported might be missing in a program, or be somebody else's.
#[test]
fn needs_nothing_but_the_c_library_and_stays() {
    const IMPORTS: [&str; 6] = [
        "__errno_location",
        "_r_debug",
        "_dl_debug_addr",
        "__cxa_finalize",
        "_ITM_registerTMCloneTable",
        "_ITM_deregisterTMCloneTable",
    ];
    let bytes = library();
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    for symbol in file.dynamic_symbols().filter(ObjectSymbol::is_undefined) {
        let name = symbol.name().expect("a name");
        assert!(name.is_empty() || IMPORTS.contains(&name), "imports {name}");
    }
    let endian = file.endian();
    let sections = file.elf_section_table();
    let (dynamic, link) = sections
        .dynamic(endian, &*bytes)
        .expect("readable")
        .expect("a shared library");
    let strings = sections.strings(endian, &*bytes, link).expect("strings");
    let needed: Vec<&[u8]> = dynamic
        .iter()
        .filter(|entry| entry.tag(endian) == elf::DT_NEEDED)
        .map(|entry| entry.string(endian, strings).expect("a name"))
        .collect();
    assert_eq!(needed, [b"libc.so.6"]);
    let stays = |entry: &elf::Dyn64<Endianness>| {
        entry.tag(endian) == elf::DT_FLAGS_1 && entry.d_val(endian) & elf::DF_1_NODELETE.0 != 0
    };
    assert!(dynamic.iter().any(stays));
}

#[test]
fn says_its_abi() {
    let bytes = library();
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let section = file.section_by_name(NOTE_SECTION).expect("the section");
    let note = ShimNote::find(section.data().expect("readable"));
    assert_eq!(note, Some(ShimNote::of_this_build()));
}
