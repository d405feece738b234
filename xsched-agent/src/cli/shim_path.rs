//! Finding the shims.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use xsched_common::platform::Platform;

/// Names the shim, over all other places.
pub const SHIM_ENV: &str = "XSCHED_SHIM";

/// There is no shim that could be preloaded.
#[derive(Debug, thiserror::Error)]
pub enum NoShim {
    /// No such file.
    #[error(
        "cannot find {file} (looked at {}): name it with --shim FILE or {SHIM_ENV}",
        .looked.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotFound {
        /// Its name.
        file: &'static str,
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

/// The shim that is named by flag or environment, or else that of the first
/// platform.
pub fn find(flag: Option<&Path>) -> Result<PathBuf, NoShim> {
    match named(flag) {
        Some(path) => nameable(Platform::ALL[0], vec![path]),
        None => of(Platform::ALL[0]),
    }
}

/// The shim that the user names, for whatever platform it is.
pub fn named(flag: Option<&Path>) -> Option<PathBuf> {
    flag.map(Path::to_owned)
        .or_else(|| std::env::var_os(SHIM_ENV).map(PathBuf::from))
}

/// A platform's shim: beside this program (a build folder), or where the
/// package puts it.
pub fn of(platform: Platform) -> Result<PathBuf, NoShim> {
    let file = platform.names().shim;
    let exe = std::env::current_exe().unwrap_or_default();
    let beside = exe.parent().unwrap_or(Path::new("."));
    let looked = vec![
        beside.join(file),
        beside.join("../lib/xsched").join(file),
        Path::new("/usr/lib/xsched").join(file),
    ];
    nameable(platform, looked)
}

/// The first of them that there is, if LD_PRELOAD can say its path.
fn nameable(platform: Platform, looked: Vec<PathBuf>) -> Result<PathBuf, NoShim> {
    // ld.so resolves a relative name against the program's own folder of the
    // moment, which changes with chdir: hand it an absolute one.
    let found = looked.iter().find_map(|path| path.canonicalize().ok());
    let file = platform.names().shim;
    let found = found.ok_or(NoShim::NotFound { file, looked })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_that_ld_preload_cannot_name_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        for name in ["a b.so", "a:b.so"] {
            let path = dir.path().join(name);
            std::fs::File::create(&path).expect("file");
            let error = find(Some(&path)).expect_err("unnameable");
            assert!(error.to_string().contains("a blank or a colon"), "{error}");
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
