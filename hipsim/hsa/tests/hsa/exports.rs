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

/// Where `cargo xtask provision real-runtime` puts a runtime, beside this build.
fn real_runtime(version: &str) -> Option<std::path::PathBuf> {
    let exe = std::env::current_exe().expect("the test program's path");
    let target = exe
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())?;
    let libraries = target.join(format!(
        "real-runtime/real-{version}/usr/lib/x86_64-linux-gnu"
    ));
    let mut files = std::fs::read_dir(libraries)
        .ok()?
        .flatten()
        .map(|file| file.path());
    files.find(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("libamdhip64.so.") && !path.is_symlink()
    })
}

#[test]
fn the_list_is_what_the_real_runtimes_import() {
    for version in ["6.4.3", "7.2.4"] {
        let Some(runtime) = real_runtime(version) else {
            println!(
                "LEFT OUT: the real runtime {version} is not there (cargo xtask provision real-runtime)"
            );
            continue;
        };
        let image = std::fs::read(&runtime).expect("the runtime");
        let elf = object::read::elf::ElfFile64::<object::Endianness>::parse(&*image)
            .expect("an ELF file");
        let imports = elf.dynamic_symbols().filter(|symbol| symbol.is_undefined());
        let mut imports: Vec<String> = imports
            .filter_map(|symbol| Some(symbol.name().ok()?.to_owned()))
            .filter(|name| name.starts_with("hsa_"))
            .collect();
        imports.sort_unstable();
        let listed = rows()
            .into_iter()
            .filter(|[_, importers, _]| importers.contains(version));
        let listed: Vec<&str> = listed.map(|[symbol, _, _]| symbol).collect();
        assert_eq!(imports, listed, "{}", runtime.display());
    }
}
