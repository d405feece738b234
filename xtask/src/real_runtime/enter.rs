//! A mount namespace in which a runtime's libraries lie over the machine's.
//!
//! Programs of the machine go on running there, on the newer C library. A library path would not do: it reaches programs of
//! the machine with its own loader, which the newer C library does not fit.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::{LIBRARIES, Version, provide};

/// Names of older ABIs, under which programs of the machine's own compiler ask for a runtime; no symbol changed its node.
const OLDER: [&str; 2] = ["libamdhip64.so.5", "libamdhip64.so.6"];

/// Moves this process, and with it what it starts from now on, to where the real runtime and the simulated HSA library are
/// the ones that programs find. Called while the process has one thread. `work` holds what lies over the machine's folder.
///
/// # Errors
/// The runtime is not to be had, or the kernel allows no such namespace.
pub fn enter(version: Version, hsa: &Path, work: &Path) -> anyhow::Result<()> {
    let libraries = provide(version)?;
    let names = work.join("names");
    hsasim::install::install(hsa, &names)?;
    for older in OLDER.iter().filter(|older| **older != version.soname()) {
        if version == Version::Seven || *older == OLDER[0] {
            symlink(version.soname(), names.join(older))?;
        }
    }
    namespace().with_context(|| {
        format!("{version} needs a mount namespace: run this as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)")
    })?;
    let machine = PathBuf::from("/").join(LIBRARIES);
    let layers = [&names, &libraries, &machine];
    let mut options = b"lowerdir=".to_vec();
    for (index, layer) in layers.iter().enumerate() {
        let bytes = layer.as_os_str().as_bytes();
        ensure!(
            !bytes.contains(&b':') && !bytes.contains(&b','),
            "{} has a character that mount options reserve",
            layer.display()
        );
        if index > 0 {
            options.push(b':');
        }
        options.extend_from_slice(bytes);
    }
    let options = CString::new(options)?;
    let target = CString::new(machine.as_os_str().as_bytes())?;
    mount(c"overlay", &target, libc::MS_RDONLY, Some(&options)).with_context(|| {
        format!(
            "cannot lay {} over {} (overlayfs)",
            libraries.display(),
            machine.display()
        )
    })
}

fn namespace() -> anyhow::Result<()> {
    let root = fs::metadata("/proc/self")?.uid() == 0;
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let flags = if root {
        libc::CLONE_NEWNS
    } else {
        libc::CLONE_NEWNS | libc::CLONE_NEWUSER
    };
    // SAFETY: changes what this process sees of the machine; it has one thread.
    if unsafe { libc::unshare(flags) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    if !root {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write(
            "/proc/self/uid_map",
            format!("{} {} 1", user.as_raw(), user.as_raw()),
        )?;
        fs::write(
            "/proc/self/gid_map",
            format!("{} {} 1", group.as_raw(), group.as_raw()),
        )?;
    }
    Ok(mount(c"none", c"/", libc::MS_PRIVATE | libc::MS_REC, None)?)
}

fn mount(
    kind: &CStr,
    target: &CStr,
    flags: libc::c_ulong,
    options: Option<&CStr>,
) -> io::Result<()> {
    let options = options.map_or(std::ptr::null(), |options| options.as_ptr().cast());
    // SAFETY: all are C strings or null.
    match unsafe {
        libc::mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            options,
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
