//! ELF files: what is read from honest ones, and that damaged ones are
//! refused in bounded time.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use xsched_host::elf::{Elf, ElfError, FileType, Linkage, Loader, SlotKind};
use xsched_testkit::planted::fixtures;

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().path(name)).expect("readable")
}

fn elf(name: &str) -> Elf {
    Elf::read(bytes(name).as_slice()).expect("honest")
}

#[test]
fn a_runtime_has_its_definitions_under_their_nodes() {
    let runtime = elf("libamdhip64.so.5");
    assert_eq!(runtime.soname.as_deref(), Some("libamdhip64.so.5"));
    assert_eq!(runtime.loader, Loader::Dynamic);
    let mut nodes: Vec<_> = runtime
        .definitions("hipLaunchKernel")
        .map(|s| {
            let version = s.version.clone().expect("versioned");
            (version.node.expect("a node"), version.hidden)
        })
        .collect();
    nodes.sort();
    assert_eq!(
        nodes,
        [("hip_4.2".to_owned(), false), ("hip_99.0".to_owned(), true)]
    );
}

#[test]
fn references_carry_the_node_they_ask_for() {
    let library = elf("libnow99.so");
    let symbols: Vec<_> = library.symbols.values().collect();
    let [reference] = symbols[..] else {
        panic!("one reference: {symbols:?}");
    };
    assert_eq!(reference.versioned_name(), "hipLaunchKernel@hip_99.0");
    assert_eq!(reference.linkage, Linkage::Imported);
    assert_eq!(library.needed[0], "libamdhip64.so.5");
    assert!(library.flags.bind_now && !elf("liblazy99.so").flags.bind_now);
    assert_eq!(library.slots.len(), 1);
    assert_eq!(library.slots[0].kind, SlotKind::JumpSlot);
}

#[test]
fn relative_relocations_are_found_packed_or_not() {
    let places = |name| {
        let elf = elf(name);
        let slots = elf.slots.iter().filter(|s| s.kind == SlotKind::Relative);
        let mut places: Vec<u64> = slots.map(|s| s.address).collect();
        places.sort_unstable();
        assert!(elf.symbols.values().all(|s| s.name == "hipLaunchKernel"));
        places
    };
    for name in ["libown.so", "libpacked.so"] {
        let [first, second] = places(name)[..] else {
            panic!("two slots: {name}: {:?}", places(name));
        };
        assert_eq!(second - first, 24, "{name}");
    }
}

#[test]
fn programs_differ_in_how_they_are_loaded() {
    assert_eq!(elf("fixed").file_type, FileType::Fixed);
    assert_eq!(elf("program").file_type, FileType::Relocatable);
    assert!(elf("program").flags.pie);
    assert_eq!(elf("static").loader, Loader::Static);
    assert!(elf("program").imports_dlsym());
}

#[test]
fn what_is_no_elf_file_is_refused() {
    assert!(matches!(
        Elf::read(&b"#!/bin/sh"[..]),
        Err(ElfError::NotElf)
    ));
    assert!(matches!(Elf::read(&b""[..]), Err(ElfError::NotElf)));
    let mut other = bytes("libnow.so");
    other[18] = 183;
    assert!(matches!(
        Elf::read(other.as_slice()),
        Err(ElfError::WrongMachine(183))
    ));
    other[4] = 1;
    assert!(matches!(
        Elf::read(other.as_slice()),
        Err(ElfError::WrongClass)
    ));
}

/// Far more than any of the small files needs, even on a busy machine.
const BOUND: Duration = Duration::from_secs(5);

fn survives(bytes: &[u8]) {
    let started = Instant::now();
    if let Ok(elf) = Elf::read(bytes) {
        assert!(elf.slots.len() <= bytes.len());
    }
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
}

fn sample() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        "libamdhip64.so.5",
        "libnow99.so",
        "liblazy.so",
        "libpacked.so",
        "fixed",
    ])
    .prop_map(bytes)
}

/// Where the tables are: the headers, and everything that is not zero.
fn interesting(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len())
        .filter(|&i| i < 1024 || bytes[i] != 0)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn truncated_files(file in sample(), keep in 0.0f64..1.0) {
        survives(&file[..(file.len() as f64 * keep) as usize]);
    }

    #[test]
    fn damaged_bytes(
        file in sample(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
    ) {
        let mut file = file;
        let places = interesting(&file);
        for (index, value) in damage {
            let at = *index.get(&places);
            file[at] = value;
        }
        survives(&file);
    }

    /// Whole words, where sizes, offsets and counts are: huge, overlapping,
    /// cyclic.
    #[test]
    fn damaged_words(
        file in sample(),
        damage in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![
                Just(u64::MAX), Just(1u64 << 63), Just(0), Just(1), Just(u64::MAX - 23),
                any::<u64>(), 0u64..0x5000,
            ]),
            1..8,
        ),
    ) {
        let mut file = file;
        let places = interesting(&file);
        for (index, value) in damage {
            let at = *index.get(&places) & !7;
            if let Some(word) = file.get_mut(at..at + 8) {
                word.copy_from_slice(&value.to_le_bytes());
            }
        }
        survives(&file);
    }

    #[test]
    fn noise(bytes: Vec<u8>) {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.extend(bytes);
        survives(&file);
    }
}
