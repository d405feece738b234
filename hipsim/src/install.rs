//! Lays out the built library as a ROCm installation does: `libamdhip64.so.5`, `.so.6`, `.so.7` and `libamdhip64.so`.
//!
//! The copies differ in three places of equal length: the SONAME, the mark of the ABI's major version, and the first
//! instructions of each export, which are those the real runtimes of that version have there (tools that attach probes
//! behave differently on them).

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _};
use thiserror::Error;

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
/// `endbr64; push %rbp; pop %rbp; xchg %ax,%ax`: the 6.x and 7.x runtimes begin with the first two.
const ENTRY_6: [u8; 8] = [0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x5d, 0x66, 0x90];

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
    let link = dir.join("libamdhip64.so");
    let fresh = dir.join(format!(".libamdhip64.so.{}", std::process::id()));
    // Left over only when a former install with this pid was interrupted.
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink("libamdhip64.so.5", &fresh).map_err(io(&fresh))?;
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
            if let Some(entry) = copy.get_mut(at..at + 8).filter(|entry| **entry == ENTRY_5) {
                entry.copy_from_slice(&ENTRY_6);
                entries += 1;
            }
        }
        if entries == 0 {
            return Err("no export entries");
        }
    }
    Ok(copy)
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
