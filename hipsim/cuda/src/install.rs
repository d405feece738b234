//! Lays the built libraries out as a driver's installation does: `libcuda.so.1` and `libcuda.so`, with hipsim's library beside them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::hip::FILE;

/// Why the libraries could not be installed.
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
    /// hipsim's library has another name than expected.
    #[error("{0} is no hipsim library: it has no SONAME libamdhip64.so.7")]
    Soname(PathBuf),
}

/// The newest of hipsim's faces: its numbers of memory types are CUDA's.
const FACE: &str = "libamdhip64.so.7";
const SONAME: &[u8] = b"\0libamdhip64.so.7\0";
/// Of the same length, so that nobody who asks for a HIP runtime by name gets this one.
const OWN_SONAME: &[u8] = b"\0libhipsim.so\0\0\0\0\0";

/// Installs `built` (the cdylib of this crate) into the folder `dir`, which is created, and beside it hipsim's library, out of the
/// folder `hip` that `hipsim::install` made. Files are replaced atomically: programs that run on older copies keep them.
///
/// # Errors
/// See [`InstallError`].
pub fn install(built: &Path, hip: &Path, dir: &Path) -> Result<(), InstallError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { path, source }
    };
    fs::create_dir_all(dir).map_err(io(dir))?;
    let face = hip.join(FACE);
    let mut library = fs::read(&face).map_err(io(&face))?;
    let found = library
        .windows(SONAME.len())
        .position(|window| window == SONAME);
    let at = found.ok_or_else(|| InstallError::Soname(face.clone()))?;
    library[at..at + SONAME.len()].copy_from_slice(OWN_SONAME);

    let driver = fs::read(built).map_err(io(built))?;
    for (name, bytes) in [(FILE, &library), ("libcuda.so.1", &driver)] {
        let fresh = dir.join(format!(".{name}.{}", std::process::id()));
        fs::write(&fresh, bytes).map_err(io(&fresh))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).map_err(io(&fresh))?;
        let target = dir.join(name);
        fs::rename(&fresh, &target).map_err(io(&target))?;
    }
    let link = dir.join("libcuda.so");
    let fresh = dir.join(format!(".libcuda.so.{}", std::process::id()));
    // Left over only when a former install with this pid was interrupted.
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink("libcuda.so.1", &fresh).map_err(io(&fresh))?;
    fs::rename(&fresh, &link).map_err(io(&link))
}
