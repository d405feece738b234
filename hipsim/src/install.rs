//! Lays out the built library as a ROCm installation does: `libamdhip64.so.5`, `.so.6`, `.so.7` and `libamdhip64.so`.
//!
//! The copies differ in places of equal length: the SONAME, the mark of the ABI's major version, the code of each export,
//! which in the newer two goes through a dispatch table in the way the real runtimes do (tools that attach probes behave
//! differently on it, and some read the table's layout from it), and the exports that the real runtimes have dropped by then.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _};
use thiserror::Error;

use crate::abi::exports;

/// Why the library could not be installed.
#[derive(Debug, Error)]
pub enum InstallError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The library was not built by this crate, or another version of it.
    #[error("{path} is not a hipsim library ({what}); build it with `cargo build -p hipsim`")]
    NotHipsim {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
}

const SONAME: &[u8] = b"\0libamdhip64.so.5\0";
const MARK: &[u8] = b"hipsim-abi-major:\0\0\0\0\0\0\x05";
/// `push %rbp; mov %rsp,%rbp; pop %rbp; nopl (%rax)`: the 5.x runtimes begin with the first two.
const ENTRY_5: [u8; 8] = [0x55, 0x48, 0x89, 0xe5, 0x5d, 0x0f, 0x1f, 0x00];
/// Bytes of each of an export's two forms, which follow each other.
const FORM: usize = 32;
/// The second form goes through a table: `endbr64; sub $8,%rsp; call accessor`, and the displacement follows.
const THROUGH_TABLE: [u8; 9] = [0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83, 0xec, 0x08, 0xe8];
/// Or it goes straight to its body: `endbr64; jmp *body(%rip)`.
const STRAIGHT: [u8; 6] = [0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25];

/// Installs `built` (the cdylib of this crate) into the folder `dir`, which is created. Files are replaced atomically:
/// programs that run on an older copy keep it.
///
/// # Errors
/// See [`InstallError`].
pub fn install(built: &Path, dir: &Path) -> Result<(), InstallError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { path, source }
    };
    fs::create_dir_all(dir).map_err(io(dir))?;
    let image = fs::read(built).map_err(io(built))?;
    for major in [5, 6, 7] {
        let copy = version(&image, major).map_err(|what| InstallError::NotHipsim {
            path: built.to_owned(),
            what,
        })?;
        let target = dir.join(format!("libamdhip64.so.{major}"));
        let fresh = dir.join(format!(".libamdhip64.so.{major}.{}", std::process::id()));
        fs::write(&fresh, copy).map_err(io(&fresh))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).map_err(io(&fresh))?;
        fs::rename(&fresh, &target).map_err(io(&target))?;
    }
    // As on a machine with several of them: the name without a version is the newest's.
    let link = dir.join("libamdhip64.so");
    let fresh = dir.join(format!(".libamdhip64.so.{}", std::process::id()));
    // Left over only when a former install with this pid was interrupted.
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink("libamdhip64.so.7", &fresh).map_err(io(&fresh))?;
    fs::rename(&fresh, &link).map_err(io(&link))
}

/// The image for one major version.
fn version(image: &[u8], major: u8) -> Result<Vec<u8>, &'static str> {
    let elf = ElfFile64::<Endianness>::parse(image).map_err(|_| "not an ELF file")?;
    let mut copy = image.to_vec();
    let strings = elf
        .section_by_name(".dynstr")
        .and_then(|section| section.file_range());
    let (start, size) = strings.ok_or("no .dynstr")?;
    let strings = image
        .get(start as usize..(start + size) as usize)
        .ok_or("a .dynstr outside the file")?;
    let soname = find(strings, SONAME).ok_or("another SONAME")?;
    // The digit is the last character before the terminator.
    copy[start as usize + soname + SONAME.len() - 2] = b'0' + major;
    let mark = find(image, MARK).ok_or("no version mark")?;
    copy[mark + MARK.len() - 1] = major;
    if major > 5 {
        let mut entries = 0;
        for symbol in elf
            .dynamic_symbols()
            .filter(|symbol| symbol.is_definition())
        {
            let Some(at) = file_offset(&elf, symbol.address()) else {
                continue;
            };
            // Another name of an export moved already is left alone.
            if let Some(export) = copy
                .get_mut(at..at + 2 * FORM)
                .filter(|export| export.starts_with(&ENTRY_5))
            {
                use_second_form(export).ok_or("exports of another form")?;
                entries += 1;
            }
        }
        if entries == 0 {
            return Err("no export entries");
        }
    }
    hide(&elf, &mut copy, |name| !exports::has(major, name))?;
    Ok(copy)
}

/// Where `st_info` is in an entry of the symbol table.
const INFO: usize = 4;

/// Empties the entries of symbols in the dynamic symbol table. The hash table still leads there; the linker compares the name,
/// which is no symbol's, and goes on. What is left is a weak reference to nothing: local symbols at this place are complained
/// about by ld.
fn hide(
    elf: &ElfFile64<'_, Endianness>,
    copy: &mut [u8],
    hidden: impl Fn(&str) -> bool,
) -> Result<(), &'static str> {
    let range = |name| {
        let section = elf.section_by_name(name)?;
        let (start, size) = section.file_range()?;
        Some((start as usize, size as usize))
    };
    let (symbols, _) = range(".dynsym").ok_or("no .dynsym")?;
    let (versions, _) = range(".gnu.version").ok_or("no .gnu.version")?;
    let symbol_size = size_of::<elf::Sym64<Endianness>>();
    for symbol in elf
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition())
    {
        let name = symbol.name().map_err(|_| "a symbol without a name")?;
        if !is_own(name) || !hidden(name) {
            continue;
        }
        let index = symbol.index().0;
        let at = symbols + index * symbol_size;
        let entry = copy.get_mut(at..at + symbol_size);
        let entry = entry.ok_or("a symbol outside the file")?;
        entry.fill(0);
        entry[INFO] = elf::STB_WEAK.0 << 4;
        let at = versions + index * 2;
        let version = copy.get_mut(at..at + 2);
        version
            .ok_or("a symbol outside the file")?
            .copy_from_slice(&elf::VER_NDX_GLOBAL.0.to_le_bytes());
    }
    Ok(())
}

/// Whether it is one of the runtime's functions; the version nodes are symbols too.
fn is_own(name: &str) -> bool {
    exports::NAMES.contains(&name)
}

/// Moves an export's second form over its first. Both instructions that refer to other places do so relative to themselves.
fn use_second_form(export: &mut [u8]) -> Option<()> {
    let (first, second) = export.split_at_mut(FORM);
    let at = [&THROUGH_TABLE[..], &STRAIGHT[..]]
        .into_iter()
        .find(|form| second.starts_with(form))?
        .len();
    first.copy_from_slice(second);
    let displacement = first.get_mut(at..at + 4)?;
    let moved = i32::from_le_bytes((&*displacement).try_into().ok()?).checked_add(FORM as i32)?;
    displacement.copy_from_slice(&moved.to_le_bytes());
    // What is left behind cannot be taken for another export.
    second.fill(0xcc);
    Some(())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Where a virtual address lies in the file.
fn file_offset(elf: &ElfFile64<'_, Endianness>, address: u64) -> Option<usize> {
    let endian = elf.endian();
    let headers = elf.elf_header().program_headers(endian, elf.data()).ok()?;
    headers
        .iter()
        .filter(|header| header.p_type(endian) == elf::PT_LOAD)
        .find_map(|header| {
            let inside = address.checked_sub(header.p_vaddr(endian))?;
            (inside < header.p_filesz(endian))
                .then(|| usize::try_from(header.p_offset(endian) + inside).ok())?
        })
}
