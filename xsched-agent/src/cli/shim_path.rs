//! Finding the shim, and telling whether a program can be preloaded.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The shim's file name.
const FILE: &str = "libxsched_shim.so";

/// Names the shim, over all other places.
pub const SHIM_ENV: &str = "XSCHED_SHIM";

/// There is no shim.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot find {FILE} (looked at {}): name it with --shim FILE or {SHIM_ENV}",
    .looked.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
)]
pub struct NoShim {
    looked: Vec<PathBuf>,
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
    found.ok_or(NoShim { looked })
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
    let mode = path.metadata().ok()?.permissions().mode();
    if mode & 0o6000 != 0 {
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
    fn a_missing_shim_says_where_it_looked() {
        let error = find(Some(Path::new("/nonexistent/shim.so"))).expect_err("not there");
        assert!(
            error.to_string().contains("/nonexistent/shim.so"),
            "{error}"
        );
    }
}
