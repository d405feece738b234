//! Lays out the built library under the names by which programs open it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the library could not be installed.
#[derive(Debug, Error)]
#[error("{path}: {source}; build it with `cargo build -p hsasim`")]
pub struct InstallError {
    /// The file.
    path: PathBuf,
    /// The cause.
    source: io::Error,
}

/// The name that HIP runtimes are linked with.
pub const SONAME: &str = "libhsa-runtime64.so.1";
/// The name that RCCL opens.
const PLAIN: &str = "libhsa-runtime64.so";

/// Installs `built` (the cdylib of this crate) into the folder `dir`, which is created. Files are replaced atomically.
///
/// # Errors
/// See [`InstallError`].
pub fn install(built: &Path, dir: &Path) -> Result<(), InstallError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| InstallError { path, source }
    };
    fs::create_dir_all(dir).map_err(at(dir))?;
    let fresh = |name: &str| dir.join(format!(".{name}.{}", std::process::id()));
    let (new, target) = (fresh(SONAME), dir.join(SONAME));
    fs::copy(built, &new).map_err(at(built))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).map_err(at(&new))?;
    fs::rename(&new, &target).map_err(at(&target))?;
    let (new, target) = (fresh(PLAIN), dir.join(PLAIN));
    // Left over only when a former install with this pid was interrupted.
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(SONAME, &new).map_err(at(&new))?;
    fs::rename(&new, &target).map_err(at(&target))
}
