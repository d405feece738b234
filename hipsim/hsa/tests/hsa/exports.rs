//! The built library against the list of functions.

use object::{Object as _, ObjectSymbol as _};

use crate::support::built;

const FUNCTIONS: &str = include_str!("../../data/functions.tsv");

/// Symbol, importers, body.
fn rows() -> Vec<[&'static str; 3]> {
    let rows = FUNCTIONS.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        columns
            .try_into()
            .unwrap_or_else(|_| panic!("three columns expected in {line:?}"))
    })
    .collect()
}

#[test]
fn what_a_runtime_imports_has_a_body() {
    for [symbol, importers, body] in rows() {
        assert!(
            importers == "-" || body != "-",
            "{symbol} is imported by {importers} and has no body"
        );
    }
}

#[test]
fn each_runtime_imports_as_many_as_were_counted() {
    let count = |version| {
        rows()
            .iter()
            .filter(|[_, importers, _]| importers.split(',').any(|one| one == version))
            .count()
    };
    assert_eq!((count("6.4.3"), count("7.2.4")), (90, 95));
}

#[test]
fn the_library_exports_the_list_under_its_node() {
    let library = built("libhsasim.so");
    let image = std::fs::read(&library).expect("the library");
    let elf =
        object::read::elf::ElfFile64::<object::Endianness>::parse(&*image).expect("an ELF file");
    let mut exported: Vec<&str> = elf
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition())
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| *name != "ROCR_1")
        .collect();
    exported.sort_unstable();
    let mut listed: Vec<&str> = rows().iter().map(|[symbol, _, _]| *symbol).collect();
    listed.sort_unstable();
    assert_eq!(exported, listed);
    let said = std::process::Command::new("readelf")
        .args(["-W", "--dyn-syms"])
        .arg(&library)
        .output();
    let said = String::from_utf8(said.expect("readelf (binutils)").stdout).expect("text");
    assert_eq!(said.matches("@@ROCR_1").count(), listed.len());
}
