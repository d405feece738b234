//! What LD_PRELOAD can do for a program: whether its dynamic linker takes the
//! shim, and whether the program does.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use xsched_common::platform::{Platform, names};
use xsched_host::elf::{Elf, ElfError, Loader};

/// What was found out about a program.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Why it will run unscheduled.
    pub obstacle: Option<Obstacle>,
    /// Whether it has a library that will not start behind one that is
    /// preloaded.
    pub is_jealous: bool,
    /// The platforms whose runtime it is linked with.
    pub linked: Vec<Platform>,
}

/// Why the shim does not work in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No dynamic linker reads LD_PRELOAD for it.
    Static,
    /// The dynamic linker ignores LD_PRELOAD paths for it (AT_SECURE).
    Privileged,
    /// For a 32-bit or another processor: no GPU runtime runs there, and its
    /// dynamic linker complains of ours.
    OtherMachine,
    /// Its C library is not glibc, which every GPU runtime needs.
    Musl,
}

impl Obstacle {
    /// Whether LD_PRELOAD is set all the same: it does the program no harm,
    /// and its children may be of another kind.
    pub fn leaves_preload(self) -> bool {
        match self {
            Obstacle::Static | Obstacle::Privileged => true,
            Obstacle::OtherMachine | Obstacle::Musl => false,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Obstacle::Static => {
                "is statically linked: the shim cannot be loaded into it, it will run unscheduled"
            }
            Obstacle::Privileged => {
                "is setuid or setgid or has capabilities: the dynamic linker ignores the shim, it \
                 will run unscheduled"
            }
            Obstacle::OtherMachine => {
                "is no 64-bit program for x86-64: it is started without the shim, unscheduled"
            }
            Obstacle::Musl => {
                "uses musl instead of glibc, for which there is no GPU runtime: it is started \
                 without the shim, unscheduled"
            }
        })
    }
}

/// Looks whether LD_PRELOAD will work for `command`. Files that cannot be read
/// are not judged.
pub fn examine(command: &OsStr) -> Finding {
    resolve(command)
        .and_then(|path| examine_file(&path, MOST_SCRIPTS))
        .unwrap_or_default()
}

/// Interpreters of scripts that are scripts themselves: as many as Linux
/// follows (fs/exec.c).
const MOST_SCRIPTS: usize = 5;

fn examine_file(path: &Path, scripts: usize) -> Option<Finding> {
    let file = File::open(path).ok()?;
    if let Some(interpreter) = script(&file) {
        let next = interpreter.filter(|_| scripts > 0)?;
        return examine_file(&next, scripts - 1);
    }
    let metadata = file.metadata().ok()?;
    let found = |obstacle| Finding {
        obstacle: Some(obstacle),
        ..Finding::default()
    };
    if changes_identity(&metadata) || gains_capabilities(path) {
        return Some(found(Obstacle::Privileged));
    }
    let elf = match Elf::read(&file) {
        Ok(elf) => elf,
        Err(ElfError::WrongClass | ElfError::WrongMachine(_)) => {
            return Some(found(Obstacle::OtherMachine));
        }
        Err(_) => return None,
    };
    Some(match elf.loader {
        // Or a library.
        Loader::Static => Finding {
            linked: linked(&elf.needed),
            ..found(Obstacle::Static)
        },
        Loader::Dynamic if is_musl(&file) => found(Obstacle::Musl),
        Loader::Dynamic => Finding {
            obstacle: None,
            is_jealous: elf.needed.iter().any(|name| is_jealous(name)),
            linked: linked(&elf.needed),
        },
    })
}

/// The platforms of the runtimes among these libraries.
fn linked(needed: &[String]) -> Vec<Platform> {
    let is_needed = |platform: &Platform| {
        let of = |name: &String| names::runtime(name.as_bytes()) == Some(*platform);
        needed.iter().any(of)
    };
    Platform::ALL.into_iter().filter(is_needed).collect()
}

/// AddressSanitizer's runtime refuses to start behind another library that is
/// preloaded (gcc's and clang's names).
fn is_jealous(library: &str) -> bool {
    library.starts_with("libasan.so") || library.starts_with("libclang_rt.asan")
}

/// What a `#!` line names; for `env`, the program that this starts. `None`: the
/// file is no script.
fn script(file: &File) -> Option<Option<PathBuf>> {
    // As much as Linux reads (BINPRM_BUF_SIZE).
    let mut head = Vec::new();
    file.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?;
    let line = line.split(|&b| b == b'\n').next().unwrap_or(line);
    let mut words = line
        .split(|b| b.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    let path = |word: &[u8]| PathBuf::from(OsString::from_vec(word.to_vec()));
    let Some(first) = words.next() else {
        return Some(None);
    };
    if !first.ends_with(b"/env") {
        return Some(Some(path(first)));
    }
    // Its options and assignments come first.
    let program = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='));
    Some(program.and_then(|program| resolve(OsStr::from_bytes(program))))
}

/// Whether the program's interpreter is musl's dynamic linker.
fn is_musl(file: &File) -> bool {
    interpreter(file).is_some_and(|path| {
        let name = path.rsplit(|&b| b == b'/').next().unwrap_or(&path);
        name.starts_with(b"ld-musl-")
    })
}

/// The path in the file's PT_INTERP.
fn interpreter(file: &File) -> Option<Vec<u8>> {
    const PT_INTERP: u64 = 3;
    const HEADER_LEN: usize = 56;
    let read = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
    };
    let number = |bytes: &[u8], at: usize, len: usize| {
        let mut value = [0; 8];
        value[..len].copy_from_slice(bytes.get(at..at + len)?);
        Some(u64::from_le_bytes(value))
    };
    let header = read(0, 64)?;
    let (table, count) = (number(&header, 32, 8)?, number(&header, 56, 2)?);
    for i in 0..count {
        let entry = read(table.checked_add(i * HEADER_LEN as u64)?, HEADER_LEN)?;
        if number(&entry, 0, 4)? == PT_INTERP {
            // A path; whatever is longer is none.
            let len = number(&entry, 32, 8)?.min(4096) as usize;
            let mut path = read(number(&entry, 8, 8)?, len)?;
            path.truncate(path.iter().position(|&b| b == 0).unwrap_or(path.len()));
            return Some(path);
        }
    }
    None
}

/// Whether a program gets another user or group than this process has: what
/// makes the kernel set AT_SECURE. A setuid-root program run by root does not.
fn changes_identity(program: &Metadata) -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    let mode = program.mode();
    let uid = [getuid(), geteuid()].map(rustix::process::Uid::as_raw);
    let gid = [getgid(), getegid()].map(rustix::process::Gid::as_raw);
    mode & 0o4000 != 0 && uid != [program.uid(); 2]
        || mode & 0o2010 == 0o2010 && gid != [program.gid(); 2]
}

/// Whether the file has capabilities that this user does not have anyway: the
/// other reason for AT_SECURE (capabilities(7)).
fn gains_capabilities(program: &Path) -> bool {
    let mut value = [0u8; 64];
    !rustix::process::getuid().is_root()
        && rustix::fs::getxattr(program, "security.capability", &mut value[..]).is_ok()
}

/// Whether there is surely no such program. Where PATH is not set, the C
/// library knows where to look.
pub fn is_missing(command: &OsStr) -> bool {
    match resolve(command) {
        Some(path) => path
            .metadata()
            .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound),
        None => std::env::var_os("PATH").is_some(),
    }
}

fn resolve(command: &OsStr) -> Option<PathBuf> {
    let path = Path::new(command);
    if path.components().count() > 1 {
        return Some(path.to_owned());
    }
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(path))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    fn file(content: &[u8]) -> tempfile::TempPath {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(content).expect("written");
        file.into_temp_path()
    }

    /// A header, one program header for the interpreter, its path, and a
    /// dynamic section that says nothing.
    fn program(class: u8, machine: u16, interpreter: Option<&str>) -> Vec<u8> {
        let mut elf = b"\x7fELF".to_vec();
        elf.extend([class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        elf.extend(3u16.to_le_bytes());
        elf.extend(machine.to_le_bytes());
        elf.resize(32, 0);
        elf.extend(64u64.to_le_bytes());
        elf.resize(54, 0);
        elf.extend(56u16.to_le_bytes());
        elf.extend(2u16.to_le_bytes());
        elf.resize(64, 0);
        let path = interpreter.unwrap_or("");
        let entries = [
            (
                if interpreter.is_some() { 3u32 } else { 4 },
                176,
                path.len() + 1,
            ),
            (2, 240, 16),
        ];
        for (kind, offset, len) in entries {
            elf.extend(kind.to_le_bytes());
            elf.extend(4u32.to_le_bytes());
            for word in [
                offset as u64,
                offset as u64,
                offset as u64,
                len as u64,
                len as u64,
                8,
            ] {
                elf.extend(word.to_le_bytes());
            }
        }
        elf.extend(path.as_bytes());
        elf.resize(512, 0);
        elf
    }

    fn obstacle(content: &[u8]) -> Option<Obstacle> {
        examine(file(content).as_os_str()).obstacle
    }

    #[test]
    fn this_program_can_be_preloaded_and_nonsense_is_not_judged() {
        let me = std::env::current_exe().expect("I run");
        assert_eq!(examine(me.as_os_str()), Finding::default());
        assert_eq!(obstacle(b"no program"), None);
        assert_eq!(obstacle(b"\x7fELF\x02"), None);
        let mut endless = vec![0xff; 64];
        endless[..5].copy_from_slice(b"\x7fELF\x02");
        assert_eq!(
            interpreter(&File::open(file(&endless)).expect("opens")),
            None
        );
    }

    #[test]
    fn programs_of_another_kind_are_known() {
        const GLIBC: Option<&str> = Some("/lib64/ld-linux-x86-64.so.2");
        let musl = Some("/lib/ld-musl-x86_64.so.1");
        assert_eq!(obstacle(&program(2, 62, GLIBC)), None);
        assert_eq!(obstacle(&program(2, 62, musl)), Some(Obstacle::Musl));
        assert_eq!(
            obstacle(&program(1, 3, GLIBC)),
            Some(Obstacle::OtherMachine)
        );
        assert_eq!(
            obstacle(&program(2, 183, GLIBC)),
            Some(Obstacle::OtherMachine)
        );
    }

    #[test]
    fn scripts_are_judged_by_what_runs_them() {
        let musl = file(&program(2, 62, Some("/lib/ld-musl-x86_64.so.1")));
        let shown = musl.display();
        for line in [
            format!("#!{shown} -x\nrest"),
            format!("#! {shown}"),
            format!("#!/usr/bin/env -S A=b {shown} -u\n"),
        ] {
            assert_eq!(obstacle(line.as_bytes()), Some(Obstacle::Musl), "{line}");
        }
        assert_eq!(obstacle(b"#!/bin/sh\n"), None);
        assert_eq!(obstacle(b"#!"), None);
        let circle = file(b"");
        std::fs::write(&circle, format!("#!{}\n", circle.display())).expect("written");
        assert_eq!(examine(circle.as_os_str()), Finding::default());
    }

    #[test]
    fn the_platforms_of_linked_runtimes_are_known() {
        let of = |names: &[&str]| linked(&names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["libc.so.6"]), []);
        assert_eq!(of(&["libamdhip64.so.6", "libc.so.6"]), [Platform::Hip]);
        assert_eq!(of(&["libcuda.so.1", "libcudart.so.12"]), [Platform::Cuda]);
    }

    #[test]
    fn the_runtime_that_insists_on_being_first_is_known() {
        for name in ["libasan.so.8", "libclang_rt.asan-x86_64.so"] {
            assert!(is_jealous(name));
        }
        assert!(!is_jealous("libtsan.so.2"));
    }

    #[test]
    fn setuid_matters_only_to_others() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let set = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), mode).expect("chmod");
            changes_identity(&file.path().metadata().expect("stat"))
        };
        assert!(!set(0o755));
        assert!(!set(0o4755), "our own file");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(file.path(), Some(65534), None).expect("chown");
            assert!(set(0o4755));
        }
    }
}
