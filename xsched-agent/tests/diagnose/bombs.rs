//! ELF files made to keep their readers busy or to fill their memory. Both
//! readers, diagnosis's and the observer's, end in time and within bounds.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xsched_host::elf::Elf;
use xsched_observe::ProbeSet;
use xsched_observe::site::sites_in;

use super::hostile::alone;

/// On a busy machine, without optimisation; it takes a tenth of it.
const IN_TIME: Duration = Duration::from_secs(30);

/// Address space of the program that predicts a bomb's bindings, KiB: libraries
/// and threads take most of it.
const ADDRESS_SPACE: u64 = 1_200_000;

const MIB: u64 = 1 << 20;

/// Where tables lie; addresses are file offsets.
const DYNAMIC: u64 = 0x1_0000;
const STRINGS: u64 = 2 * MIB;

/// Tags of the dynamic section (elf.h).
const HASH: u64 = 4;
const STRTAB: u64 = 5;
const SYMTAB: u64 = 6;
const RELA: u64 = 7;
const RELASZ: u64 = 8;
const STRSZ: u64 = 10;
const RELRSZ: u64 = 35;
const RELR: u64 = 36;
const GNU_HASH: u64 = 0x6fff_fef5;
const VERDEF: u64 = 0x6fff_fffc;
const VERDEFNUM: u64 = 0x6fff_fffd;
const VERNEED: u64 = 0x6fff_fffe;
const VERNEEDNUM: u64 = 0x6fff_ffff;
const VERSYM: u64 = 0x6fff_fff0;

/// A sparse file: small on disk, as large as it says for its readers.
struct Bomb {
    file: File,
    path: PathBuf,
    dynamic: BTreeMap<u64, u64>,
    segments: Vec<[u64; 3]>,
    header_count: Option<u16>,
    section_count: u16,
}

impl Bomb {
    fn new(directory: &Path, name: &str) -> Bomb {
        let path = directory.join(format!("lib{name}.so"));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("a file");
        file.set_len(500 * MIB).expect("sparse");
        let bomb = Bomb {
            file,
            path,
            dynamic: BTreeMap::new(),
            segments: vec![[1, 0, 500 * MIB], [2, DYNAMIC, 4096]],
            header_count: None,
            section_count: 0,
        };
        // A name of interest, and the needed strings.
        bomb.put(STRINGS, b"\0hipLaunchKernel\0hip_4.2\0");
        bomb.with(&[(STRTAB, STRINGS), (STRSZ, MIB)])
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).expect("written");
    }

    fn words(&self, at: u64, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.put(at, &bytes);
    }

    fn with(mut self, entries: &[(u64, u64)]) -> Bomb {
        self.dynamic.extend(entries.iter().copied());
        self
    }

    /// Writes the headers and has both readers read it.
    fn explode(self) {
        let mut header = vec![0; 64];
        header[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        header[16..20].copy_from_slice(&[3, 0, 62, 0]);
        header[32..40].copy_from_slice(&64u64.to_le_bytes());
        header[40..48].copy_from_slice(&(8 * MIB).to_le_bytes());
        header[54..56].copy_from_slice(&56u16.to_le_bytes());
        let count = self.header_count.unwrap_or(self.segments.len() as u16);
        header[56..58].copy_from_slice(&count.to_le_bytes());
        header[58..60].copy_from_slice(&64u16.to_le_bytes());
        header[60..62].copy_from_slice(&self.section_count.to_le_bytes());
        for [kind, at, len] in &self.segments {
            header.extend((*kind | 5 << 32).to_le_bytes());
            for word in [*at, *at, *at, *len, *len, 4096] {
                header.extend(word.to_le_bytes());
            }
        }
        self.put(0, &header);
        let dynamic: Vec<u8> = self
            .dynamic
            .iter()
            .flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat())
            .collect();
        self.put(DYNAMIC, &dynamic);
        let name = self.path.display();
        let began = Instant::now();
        let _ = Elf::read(&self.file);
        assert!(began.elapsed() < IN_TIME, "{name}: {:?}", began.elapsed());
        let began = Instant::now();
        let sites = sites_in(&self.file, ProbeSet::Work).map_or(0, |sites| sites.len());
        assert!(sites < 4_096, "{name}: {sites} sites");
        assert!(began.elapsed() < IN_TIME, "{name}: {:?}", began.elapsed());
        // Memory: a reader that takes more is ended by the allocator.
        let output = Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -v {ADDRESS_SPACE}; exec \"$0\" \"$@\""),
            ])
            .arg(env!("CARGO_BIN_EXE_xsched-agent"))
            .args(["diagnose", "--lib"])
            .arg(&self.path)
            .args(["--shim", "/nowhere/libnone.so"])
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some(), "{name}: {text}");
        assert!(!text.contains("memory allocation"), "{name}: {text}");
    }
}

#[test]
fn counts_that_promise_more_than_there_is() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let bomb = |name| Bomb::new(dir.path(), name);
    let table = 300 * MIB;
    bomb("strings").with(&[(STRSZ, u64::MAX)]).explode();
    bomb("long-strings").with(&[(STRSZ, 64 * MIB)]).explode();
    bomb("relocations")
        .with(&[(RELA, table), (RELASZ, u64::MAX - 8)])
        .explode();
    bomb("many-relocations")
        .with(&[(RELA, 16 * MIB), (RELASZ, 64 * MIB)])
        .explode();
    let many = bomb("packed").with(&[(RELR, table), (RELRSZ, 64 * MIB)]);
    // A bitmap that names all that follows, 16 times a window apart.
    for i in 0..64 {
        many.words(
            table + 16 * i,
            &[(i * 0x10_0000) as u32, 0, u32::MAX, u32::MAX],
        );
    }
    many.with(&[(SYMTAB, table), (HASH, table + MIB)]).explode();
    let mut headers = bomb("program-headers");
    headers.header_count = Some(u16::MAX);
    headers.explode();
    let mut sections = bomb("sections");
    sections.section_count = u16::MAX;
    // Compressed (SHF_COMPRESSED), each of the whole file.
    for i in 0..1_000 {
        sections.words(
            8 * MIB + 64 * i,
            &[1, 1, 0x800, 0, 0, 0, 0, 0, 500 << 20, 0],
        );
    }
    sections.explode();
}

#[test]
fn hash_tables_and_symbols_without_end() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let bomb = |name| Bomb::new(dir.path(), name);
    let (hash, symbols) = (200 * MIB, 220 * MIB);
    let gnu = |name, head: &[u32]| {
        let bomb = bomb(name).with(&[(GNU_HASH, hash), (SYMTAB, symbols)]);
        bomb.words(hash, head);
        bomb
    };
    gnu("buckets", &[u32::MAX, 1, 1, 0]).explode();
    gnu("bloom", &[1, 1, u32::MAX, 0]).explode();
    // One bucket whose chain of even hashes never ends.
    gnu("chain", &[1, 1, 1, 0, 0, 0, 1]).explode();
    gnu("offset", &[1, 0, 0, 0, u32::MAX]).explode();
    // As many symbols as are read, each a definition of the same name.
    let many = bomb("symbols").with(&[(HASH, hash), (SYMTAB, symbols)]);
    many.words(hash, &[1, 2 << 20]);
    let one: Vec<u8> = [1u32.to_le_bytes().as_slice(), &[0x12, 0, 1, 0], &[0; 16]].concat();
    many.put(symbols, &one.repeat(200_000));
    many.explode();
}

#[test]
fn version_tables_that_go_round() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let at = 100 * MIB;
    let table = |name, tag, count, words: &[u32]| {
        let bomb = Bomb::new(dir.path(), name).with(&[
            (tag, at),
            (count, u64::from(u32::MAX)),
            (VERSYM, at + MIB),
            (SYMTAB, at + 2 * MIB),
            (HASH, at + 40 * MIB),
        ]);
        bomb.words(at + 40 * MIB, &[1, 1 << 20]);
        bomb.words(at, words);
        bomb
    };
    // Entries that follow each other at no distance, or have 65,535 parts.
    let need = [1 | 0xffff << 16, 1, 16, 1];
    table("needs", VERNEED, VERNEEDNUM, &need.repeat(100_000)).explode();
    let parts = [1 | 0xffff << 16, 1, 1, u32::MAX, 1, 1];
    table("parts", VERNEED, VERNEEDNUM, &parts.repeat(100_000)).explode();
    let definition = [1, 0xffff << 16 | 2, 1, 20, 1];
    table(
        "definitions",
        VERDEF,
        VERDEFNUM,
        &definition.repeat(100_000),
    )
    .explode();
}

#[test]
fn segments_that_overlap_and_notes_of_gibibytes() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let mut overlap = Bomb::new(dir.path(), "overlap").with(&[
        (RELR, 300 * MIB),
        (RELRSZ, 32 * MIB),
        (SYMTAB, 300 * MIB),
    ]);
    overlap
        .segments
        .extend((0..120).map(|i| [1, i * 4096, 400 * MIB]));
    overlap.put(300 * MIB, &[0xff; 4096]);
    overlap.explode();
    let mut notes = Bomb::new(dir.path(), "notes");
    notes
        .segments
        .extend((0..120).map(|i| [4, i * 4096, 4096 * MIB]));
    notes.explode();
}
