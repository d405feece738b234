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

/// What lies over the machine's beside a runtime.
#[derive(Clone, Copy, Default)]
pub struct Above<'a> {
    /// Folders of more libraries; the first wins.
    pub libraries: &'a [PathBuf],
    /// Whether /sys tells of the simulated GPUs.
    pub with_kfd: bool,
}

/// Moves this process, and with it what it starts from now on, to where the real runtime and the simulated HSA library are
/// the ones that programs find. Called while the process has one thread. `work` holds what lies over the machine's folder.
///
/// # Errors
/// The runtime is not to be had, or the kernel allows no such namespace.
pub fn enter(version: Version, hsa: &Path, work: &Path, above: Above<'_>) -> anyhow::Result<()> {
    let libraries = provide(version)?;
    let names = work.join("names");
    hsasim::install::install(hsa, &names)?;
    for older in OLDER.iter().filter(|older| **older != version.soname()) {
        if version == Version::Seven || *older == OLDER[0] {
            symlink(version.soname(), names.join(older))?;
        }
    }
    namespace().with_context(|| format!("{version} needs a mount namespace: {}", advice()))?;
    let machine = PathBuf::from("/").join(LIBRARIES);
    let mut layers = vec![names.as_path()];
    layers.extend(above.libraries.iter().map(PathBuf::as_path));
    layers.extend([libraries.as_path(), &machine]);
    lay(&layers, &machine)?;
    if above.with_kfd {
        let class = work.join("class");
        super::kfd::write(&class)?;
        let machine = Path::new("/sys/class");
        lay(&[&class, machine], machine)?;
    }
    Ok(())
}

/// Lays folders over one another, the first on top, at `target`.
fn lay(layers: &[&Path], target: &Path) -> anyhow::Result<()> {
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
    let place = CString::new(target.as_os_str().as_bytes())?;
    mount(c"overlay", &place, libc::MS_RDONLY, Some(&options))
        .with_context(|| format!("cannot lay anything over {} (overlayfs)", target.display()))
}

/// What allows one on this machine.
fn advice() -> String {
    let switches = [
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let here: Vec<&str> = switches
        .iter()
        .filter(|(file, _)| Path::new(file).exists())
        .map(|(_, setting)| *setting)
        .collect();
    let settings = match here.as_slice() {
        [] => String::new(),
        here => format!(" (sysctl {})", here.join(" ")),
    };
    format!("run this as root with CAP_SYS_ADMIN, or allow user namespaces{settings}")
}

/// Root of a container may lack the capability, and gets it in a user namespace like everybody.
fn namespace() -> anyhow::Result<()> {
    let root = fs::metadata("/proc/self")?.uid() == 0;
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    if !root || unshare(libc::CLONE_NEWNS).is_err() {
        unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUSER)
            .context("cannot make a user namespace (unshare)")?;
        let write = |file: &str, text: String| {
            let path = Path::new("/proc/self").join(file);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("setgroups", "deny".to_owned())?;
        write("uid_map", format!("{0} {0} 1", user.as_raw()))?;
        write("gid_map", format!("{0} {0} 1", group.as_raw()))?;
    }
    mount(c"none", c"/", libc::MS_PRIVATE | libc::MS_REC, None)
        .context("cannot keep mounts from other namespaces (mount)")
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: changes what this process sees of the machine; it has one thread.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
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
