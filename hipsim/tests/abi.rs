//! The built library against the symbol table: names, nodes, SONAMEs, entry bytes, and what is not simulated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};

use crate::support::{Bench, SHARED, built_library, finish};

fn table(path: &str) -> BTreeSet<(String, String)> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path);
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let mut columns = line.split('\t');
            (
                columns.next().unwrap().to_owned(),
                columns.next().unwrap().to_owned(),
            )
        })
        .collect()
}

const SYMBOLS: &str = "../xsched-common/data/hip-symbol-versions.tsv";

/// Exported (name, node) pairs and whether the node is the default one.
fn exports(library: &Path) -> BTreeMap<(String, String), bool> {
    use object::read::elf::{FileHeader as _, SectionHeader as _};
    let data = std::fs::read(library).expect("read the library");
    let data = data.as_slice();
    let header = object::elf::FileHeader64::<object::Endianness>::parse(data).expect("an ELF file");
    let endian = header.endian().unwrap();
    let sections = header.sections(endian, data).unwrap();
    let versions = sections
        .versions(endian, data)
        .unwrap()
        .expect("version tables");
    let symbols = sections
        .symbols(endian, data, object::elf::SHT_DYNSYM)
        .unwrap();
    let strings = symbols.strings();
    assert!(
        sections
            .iter()
            .any(|section| section.sh_type(endian) == object::elf::SHT_GNU_VERSYM)
    );
    let mut found = BTreeMap::new();
    for (index, symbol) in symbols.enumerate() {
        use object::read::elf::Sym as _;
        if symbol.is_undefined(endian) || symbol.st_name(endian) == 0 {
            continue;
        }
        let name = String::from_utf8(symbol.name(endian, strings).unwrap().to_vec()).unwrap();
        let version = versions.version_index(endian, index);
        let node = match versions.version(version.into()).unwrap() {
            Some(version) => String::from_utf8(version.name().to_vec()).unwrap(),
            None => "Base".to_owned(),
        };
        found.insert((name, node), !version.is_hidden());
    }
    found
}

#[test]
fn every_symbol_stands_under_its_node_and_nothing_else_is_exported() {
    let found = exports(&built_library());
    let symbols = table(SYMBOLS);
    let extra = table("data/extra-symbol-versions.tsv");
    for symbol in &symbols {
        assert_eq!(
            found.get(symbol),
            Some(&true),
            "{symbol:?} as default version"
        );
    }
    for symbol in &extra {
        assert_eq!(
            found.get(symbol),
            Some(&false),
            "{symbol:?} as non-default version"
        );
    }
    let unknown: Vec<_> = found
        .keys()
        .filter(|key| !symbols.contains(*key) && !extra.contains(*key))
        .collect();
    assert!(unknown.is_empty(), "exports no table names: {unknown:?}");
    assert!(symbols.len() > 590);
}

#[test]
fn installed_copies_have_their_sonames_and_entries() {
    for (major, entry) in [
        (5, &[0x55u8, 0x48, 0x89, 0xe5][..]),
        (6, &[0xf3, 0x0f, 0x1e, 0xfa]),
        (7, &[0xf3, 0x0f, 0x1e, 0xfa]),
    ] {
        let path = SHARED.library().join(format!("libamdhip64.so.{major}"));
        let data = std::fs::read(&path).unwrap();
        let soname = format!("\0libamdhip64.so.{major}\0");
        assert!(
            data.windows(soname.len())
                .any(|window| window == soname.as_bytes()),
            "{}",
            path.display()
        );
        let elf = object::File::parse(&*data).unwrap();
        let mut exports = 0;
        for symbol in elf
            .dynamic_symbols()
            .filter(|symbol| symbol.is_definition() && symbol.size() > 0)
        {
            let segment = elf
                .segments()
                .find(|s| (s.address()..s.address() + s.size()).contains(&symbol.address()));
            let bytes = segment
                .unwrap()
                .data_range(symbol.address(), 5)
                .unwrap()
                .unwrap();
            assert!(
                bytes.starts_with(entry),
                "{:?} of .so.{major} starts with {bytes:x?}",
                symbol.name()
            );
            assert_eq!(symbol.address() % 16, 0);
            exports += 1;
        }
        assert!(exports > 560, "{exports} exports in .so.{major}");
    }
    let newest = std::fs::read_link(SHARED.library().join("libamdhip64.so")).unwrap();
    assert_eq!(newest, Path::new("libamdhip64.so.7"));
}

/// What the real runtimes of a major version, and newer ones, have; what older ones alone have is left out, or it would be
/// found there instead of in the library that has it now (hiprtc).
#[test]
fn copies_leave_out_what_the_real_runtimes_have_dropped() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(SYMBOLS)).unwrap();
    for (major, dropped) in [(5, 0), (6, 9), (7, 27)] {
        let path = SHARED.library().join(format!("libamdhip64.so.{major}"));
        let found = exports(&path);
        let names: BTreeSet<&str> = found.keys().map(|(name, _)| name.as_str()).collect();
        let mut left_out = 0;
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let columns: Vec<&str> = line.split('\t').collect();
            let has = columns[2].split(',').any(|build| {
                build.ends_with("-map")
                    || build.split('.').next().unwrap() >= major.to_string().as_str()
            });
            assert_eq!(
                names.contains(columns[0]),
                has,
                "{} in .so.{major}",
                columns[0]
            );
            left_out += usize::from(!has);
        }
        assert_eq!(left_out, dropped, ".so.{major}");
    }
}

/// Static linkers read the copies without a word.
#[test]
fn copies_can_be_linked_with() {
    let bench = Bench::new();
    let source = bench.path("program.c");
    std::fs::write(
        &source,
        "int hipGetLastError(void); int main(void) { return hipGetLastError(); }",
    )
    .unwrap();
    for major in [5, 6, 7] {
        let program = bench.path("program");
        let mut cc = Command::new("cc");
        cc.arg(&source).arg("-o").arg(&program);
        let linked = cc
            .arg(bench.library().join(format!("libamdhip64.so.{major}")))
            .output()
            .expect("apt-get install gcc libc6-dev");
        let said = String::from_utf8_lossy(&linked.stderr).into_owned();
        assert!(
            linked.status.success() && said.is_empty(),
            ".so.{major}: {said}"
        );
        finish(&mut bench.command(&program));
    }
}

/// A code in place of a pointer, a number or a structure would be taken for one.
#[test]
fn functions_that_return_no_code_have_bodies() {
    let bodies: BTreeSet<String> = names("data/simulated.tsv");
    let answers = names("data/answers.tsv");
    for name in &answers {
        assert!(bodies.contains(name), "{name} would return 801");
    }
    let all = names(SYMBOLS);
    assert!(answers.is_subset(&all));
    assert!(answers.len() > 20);
    // As far as the headers of the distribution go; those of newer versions were looked at for the table.
    let header = std::fs::read_to_string("/usr/include/hip/hip_runtime_api.h")
        .expect("apt-get install libamdhip64-dev");
    let mut declared = 0;
    for line in header.lines() {
        let Some((before, _)) = line.split_once('(') else {
            continue;
        };
        let Some((result, name)) = before.rsplit_once([' ', '*']) else {
            continue;
        };
        let word = |c: char| c.is_ascii_alphanumeric() || "_* ".contains(c);
        if line.starts_with([' ', '}'])
            || line.starts_with("return")
            || !result.chars().all(word)
            || !all.contains(name)
        {
            continue;
        }
        declared += 1;
        if !result.split(' ').any(|word| word == "hipError_t") {
            assert!(answers.contains(name), "{line} is not in answers.tsv");
        }
    }
    assert!(declared > 200, "{declared} prototypes");
}

fn names(path: &str) -> BTreeSet<String> {
    table(path).into_iter().map(|(name, _)| name).collect()
}

/// The rows of a dispatch table up to the first whose symbol has no known version node.
fn known_rows(path: &str) -> Vec<(String, String)> {
    let symbols = names(SYMBOLS);
    let mut rows: Vec<(String, String)> = table(path).into_iter().collect();
    rows.sort_by_key(|(index, _)| index.parse::<usize>().unwrap());
    rows.into_iter()
        .take_while(|(_, symbol)| symbols.contains(symbol))
        .collect()
}

/// Every export of the newer copies calls the accessor of its table and then its own row: what the real ones do.
#[test]
fn exports_go_through_the_dispatch_tables() {
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    for path in [
        "../xsched-common/data/hip-dispatch-table.tsv",
        "../xsched-common/data/hip-compiler-dispatch-table.tsv",
    ] {
        for (index, symbol) in known_rows(path) {
            rows.insert(symbol, 8 + 8 * index.parse::<usize>().unwrap());
        }
    }
    for (fact, index) in [
        ("hipLaunchKernel", 214),
        ("hipMalloc", 215),
        ("hipModuleLaunchKernel", 308),
        ("hipGetProcAddress", 442),
    ] {
        assert_eq!(rows[fact], 8 + 8 * index, "{fact}");
    }
    let data = std::fs::read(SHARED.library().join("libamdhip64.so.7")).unwrap();
    let elf = object::File::parse(&*data).unwrap();
    let code = |address: u64, size: u64| {
        let segment = elf
            .segments()
            .find(|s| (s.address()..s.address() + s.size()).contains(&address))?;
        segment.data_range(address, size).unwrap()
    };
    let mut accessors: BTreeMap<u64, usize> = BTreeMap::new();
    for symbol in elf
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition())
    {
        // This one has a row, but the real export does not use it.
        let name = symbol.name().unwrap();
        let Some(row) = rows.get(name).filter(|_| name != "hipChooseDevice") else {
            continue;
        };
        let bytes = code(symbol.address(), 32).unwrap();
        assert_eq!(bytes[8], 0xe8, "{name}: call");
        let relative = i64::from(i32::from_le_bytes(bytes[9..13].try_into().unwrap()));
        let accessor = symbol.address().wrapping_add_signed(13 + relative);
        *accessors.entry(accessor).or_default() += 1;
        let found = match bytes[13..16] {
            [0x48, 0x8b, 0x40] => usize::from(bytes[16]),
            [0x48, 0x8b, 0x80] => u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize,
            _ => panic!("{name}: {bytes:x?}"),
        };
        assert_eq!(found, *row, "{name}");
    }
    // hipLaunchKernel, hipModuleLaunchKernel and hipMalloc have a second version node at the same address.
    assert_eq!(
        accessors.values().copied().collect::<BTreeSet<_>>(),
        BTreeSet::from([9, rows.len() - 9 - 1 + 3])
    );
    for accessor in accessors.keys() {
        let bytes = code(*accessor, 23).unwrap();
        assert_eq!(bytes[..7], [0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0xb6, 0x05]);
        assert_eq!(bytes[11..14], [0x84, 0xc0, 0x74]);
        assert_eq!(bytes[15..18], [0x48, 0x8b, 0x05]);
        assert_eq!(bytes[22], 0xc3);
    }
}

/// A tool that replaces entries redirects calls by symbol and by pointer.
#[test]
fn replaced_dispatch_entries_are_used() {
    let bench = Bench::new();
    let program = bench.compile("dispatch");
    let newest = known_rows("../xsched-common/data/hip-dispatch-table.tsv").len();
    for (major, rows) in [(6, 474), (7, newest)] {
        let library = bench.library().join(format!("libamdhip64.so.{major}"));
        let output = finish(bench.command(&program).arg(library).arg(rows.to_string()));
        assert_eq!(output.trim(), "ok");
    }
}

#[test]
fn other_files_are_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let error =
        hipsim::install::install(&std::env::current_exe().unwrap(), dir.path()).unwrap_err();
    assert!(
        error.to_string().contains("not a hipsim library"),
        "{error}"
    );
    assert!(hipsim::install::install(Path::new("/nonexistent"), dir.path()).is_err());
}

/// Every export that has no body answers 801; each is called, in a process of its own.
#[test]
fn what_is_not_simulated_says_so() {
    let bench = Bench::new();
    let program = bench.compile("unsupported");
    let simulated = names("data/simulated.tsv");
    let mut names: Vec<String> = names(SYMBOLS).into_iter().collect();
    names.retain(|name| !simulated.contains(name));
    assert!(names.len() > 100, "{} left", names.len());
    let library = bench.library().join("libamdhip64.so.5");
    let output = finish(bench.command(program).arg(library).args(&names));
    assert_eq!(output.trim(), format!("{} not supported", names.len()));
}
