//! Finding the shim, and telling whether a program can be preloaded.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The shim's file name.
const FILE: &str = "libxsched_shim.so";

/// Names the shim, over all other places.
pub const SHIM_ENV: &str = "XSCHED_SHIM";

/// There is no shim that could be preloaded.
#[derive(Debug, thiserror::Error)]
pub enum NoShim {
    /// No such file.
    #[error(
        "cannot find {FILE} (looked at {}): name it with --shim FILE or {SHIM_ENV}",
        .looked.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotFound {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// LD_PRELOAD cannot say its path.
    #[error(
        "{} has a blank or a colon in its path, which LD_PRELOAD takes for a separator: copy it \
         elsewhere and name it with --shim FILE or {SHIM_ENV}", .path.display()
    )]
    Unnameable {
        /// The shim.
        path: PathBuf,
    },
}

/// The shim: named by flag or environment, beside this program (a build
/// folder), or where the package puts it.
pub fn find(flag: Option<&Path>) -> Result<PathBuf, NoShim> {
    let named = flag
        .map(Path::to_owned)
        .or_else(|| std::env::var_os(SHIM_ENV).map(PathBuf::from));
    let looked = match named {
        Some(path) => vec![path],
        None => {
            let exe = std::env::current_exe().unwrap_or_default();
            let beside = exe.parent().unwrap_or(Path::new("."));
            vec![
                beside.join(FILE),
                beside.join("../lib/xsched").join(FILE),
                Path::new("/usr/lib/xsched").join(FILE),
            ]
        }
    };
    // ld.so resolves a relative name against the program's own folder of the
    // moment, which changes with chdir: hand it an absolute one.
    let found = looked.iter().find_map(|path| path.canonicalize().ok());
    let found = found.ok_or(NoShim::NotFound { looked })?;
    // ld.so splits the list at both, and has no way to quote.
    if found
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|b| b" :".contains(b))
    {
        return Err(NoShim::Unnameable { path: found });
    }
    Ok(found)
}

/// Why preloading into a program has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpreloadable {
    /// No dynamic linker reads LD_PRELOAD for it.
    Static,
    /// The dynamic linker ignores LD_PRELOAD paths for it (AT_SECURE).
    Privileged,
}

/// Looks whether LD_PRELOAD will work for `command`. Scripts and files that
/// cannot be read are not judged.
pub fn examine(command: &OsStr) -> Option<Unpreloadable> {
    let path = resolve(command)?;
    if changes_identity(&path.metadata().ok()?) {
        return Some(Unpreloadable::Privileged);
    }
    let mut head = Vec::new();
    File::open(&path)
        .ok()?
        .take(64 << 10)
        .read_to_end(&mut head)
        .ok()?;
    (!has_interpreter(&head)?).then_some(Unpreloadable::Static)
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

/// Whether an ELF64 file's program headers name a dynamic linker; `None` for
/// anything else.
fn has_interpreter(head: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    if head.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let phoff = usize::try_from(u64::from_le_bytes(head.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(u16_at(54)?), usize::from(u16_at(56)?));
    for i in 0..count {
        let at = phoff.checked_add(i.checked_mul(size)?)?;
        let kind = head.get(at..at.checked_add(4)?)?;
        if u32::from_le_bytes(kind.try_into().ok()?) == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
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

    #[test]
    fn this_program_can_be_preloaded_and_nonsense_is_not_judged() {
        let me = std::env::current_exe().expect("I run");
        assert_eq!(examine(me.as_os_str()), None);
        assert_eq!(has_interpreter(b"#!/bin/sh"), None);
        assert_eq!(has_interpreter(b"\x7fELF\x02"), None);
        let mut endless = vec![0xff; 64];
        endless[..5].copy_from_slice(b"\x7fELF\x02");
        assert_eq!(has_interpreter(&endless), None);
    }

    #[test]
    fn a_shim_that_ld_preload_cannot_name_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        for name in ["a b.so", "a:b.so"] {
            let path = dir.path().join(name);
            File::create(&path).expect("file");
            let error = find(Some(&path)).expect_err("unnameable");
            assert!(error.to_string().contains("a blank or a colon"), "{error}");
        }
    }

    #[test]
    fn setuid_matters_only_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
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

    #[test]
    fn a_missing_shim_says_where_it_looked() {
        let error = find(Some(Path::new("/nonexistent/shim.so"))).expect_err("not there");
        assert!(
            error.to_string().contains("/nonexistent/shim.so"),
            "{error}"
        );
    }
}
