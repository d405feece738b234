//! Files whose file system a user may serve, or not.
//!
//! To set a probe the kernel reads the probed page, with every fork on the
//! machine shut out (`dup_mmap_sem`, `prepare_uprobe` in
//! kernel/events/uprobes.c), and whoever serves the file system decides how
//! long that takes. So files of FUSE are not probed, nor those seen through an
//! overlay that somebody may have mounted over one: in a mount namespace that
//! belongs to a user namespace of its own.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use xsched_host::foreign::FileSystem;

/// Whether somebody else than root may serve a file of this file system that
/// process `pid` has mapped.
pub(super) fn may_be_served(file_system: FileSystem, pid: u32) -> bool {
    match file_system {
        FileSystem::Fuse => true,
        FileSystem::Overlay => !has_mounts_of_ours(pid),
        FileSystem::Other => false,
    }
}

/// Whether only who is root here can mount where the process is.
fn has_mounts_of_ours(pid: u32) -> bool {
    let theirs = File::open(format!("/proc/{pid}/ns/mnt")).and_then(|mounts| owner(&mounts));
    let own = File::open("/proc/self/ns/user");
    matches!((theirs, own), (Ok(theirs), Ok(own)) if is_same(&theirs, &own))
}

/// The user namespace that a namespace belongs to (ioctl_nsfs(2)).
fn owner(namespace: &File) -> io::Result<File> {
    /// linux/nsfs.h
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: the request takes no argument.
    let fd = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    match fd {
        0.. => {
            // SAFETY: new and owned by nobody else.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            Ok(File::from(fd))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

fn is_same(a: &File, b: &File) -> bool {
    let id = |file: &File| file.metadata().map(|stat| (stat.dev(), stat.ino()));
    matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn overlays_of_other_user_namespaces_are_not_trusted() {
        let me = std::process::id();
        assert!(!may_be_served(FileSystem::Other, me));
        assert!(may_be_served(FileSystem::Fuse, me));
        if !rustix::process::geteuid().is_root() {
            return eprintln!("LEFT OUT: only root sees all namespaces");
        }
        assert!(!may_be_served(FileSystem::Overlay, me));
        let mut start = Command::new("unshare");
        start
            .args(["-U", "-m", "sleep", "600"])
            .stderr(Stdio::null());
        let mut child = start.spawn().expect("unshare (util-linux)");
        let end = Instant::now() + Duration::from_secs(10);
        let ended = loop {
            if may_be_served(FileSystem::Overlay, child.id()) {
                break false;
            }
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                break true;
            }
            assert!(Instant::now() < end, "it has mounts of its own");
            std::thread::sleep(Duration::from_millis(5));
        };
        if ended {
            eprintln!("LEFT OUT: no user namespaces here");
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
