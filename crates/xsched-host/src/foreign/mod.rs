//! Files that another process names: by a mapping, its environment, its
//! arguments.
//!
//! Whoever names a file decides where the name leads: to a FIFO, a device,
//! through a symbolic link or a mount of its own to a file that only we may
//! read. So nothing is opened before it is known what it is (O_PATH names a
//! file without opening it), nothing but regular files is opened at all, and
//! that is done without blocking. A mapping is opened as the kernel knows it;
//! any other name with the rights of the process that named it.

mod rights;

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use rights::Rights;

use crate::process::Mapping;

/// Names a file without opening it.
pub const NAMED: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// File systems whose files `fstat` shows on another device than
/// /proc/PID/maps does (linux/magic.h).
const OVERLAYFS: i64 = 0x794c_7630;
const BTRFS: i64 = 0x9123_683e;
const FUSE: i64 = 0x6573_5546;
/// Its files show more to those with more rights whenever they are read, not
/// only when they are opened.
const PROC: i64 = 0x9fa0;

/// Why the file behind a mapping cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BehindError {
    /// The kernel refused, or it is no regular file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another file has the name now.
    #[error("another file has its name now")]
    Replaced,
}

/// Opens the regular file at `path` of this process's own root and nothing
/// else: a FIFO, a device, a directory are not even opened.
///
/// # Errors
/// It cannot be opened or is no regular file.
pub fn open_regular(path: &str) -> io::Result<File> {
    reopen(rustix::fs::openat(CWD, path, NAMED, Mode::empty())?)
}

/// Opens what `named` names, if it is a regular file.
///
/// # Errors
/// It cannot be opened or is no regular file.
pub fn reopen(named: impl AsFd) -> io::Result<File> {
    if !stat(&named)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if rustix::fs::fstatfs(&named)?.f_type == PROC {
        return Err(io::Error::other("a file of /proc"));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = path_of(&named);
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?.into())
}

/// What `named` names.
///
/// # Errors
/// Its file system does not say.
pub fn stat(named: &impl AsFd) -> io::Result<Metadata> {
    fs::metadata(path_of(named))
}

/// A path to what an open descriptor names, for calls that take paths.
pub fn path_of(named: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", named.as_fd().as_raw_fd())
}

/// The root directory of a process, to resolve its paths in; takes the right
/// to trace it.
///
/// # Errors
/// It is gone, or that right is missing.
pub fn root_of(pid: u32) -> io::Result<OwnedFd> {
    let flags = NAMED | OFlags::DIRECTORY;
    Ok(rustix::fs::openat(
        CWD,
        format!("/proc/{pid}/root"),
        flags,
        Mode::empty(),
    )?)
}

/// Opens the file behind a mapping: through the mapping itself, which no name
/// can turn elsewhere and which works for deleted files and in any mount
/// namespace. That takes CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE
/// (proc_pid_map_files(5)); without them the path is looked up in the
/// process's root, through no symbolic link, and must lead to the mapped
/// file. It may wait for the process's memory map, and for whoever serves the
/// file system.
///
/// # Errors
/// It is not mapped any more, cannot be opened, or is no regular file.
pub fn behind(pid: u32, mapping: &Mapping) -> Result<File, BehindError> {
    let range = &mapping.range;
    let exact = format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end);
    match rustix::fs::openat(CWD, exact, NAMED, Mode::empty()) {
        Ok(named) => Ok(reopen(named)?),
        Err(Errno::PERM | Errno::ACCESS) => by_path(pid, mapping),
        Err(e) => Err(BehindError::Io(e.into())),
    }
}

fn by_path(pid: u32, mapping: &Mapping) -> Result<File, BehindError> {
    let named = rustix::fs::openat2(
        root_of(pid)?,
        &mapping.path,
        NAMED | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS,
    )
    .map_err(io::Error::from)?;
    if !is_mapped(&stat(&named)?, &named, mapping) {
        return Err(BehindError::Replaced);
    }
    Ok(reopen(named)?)
}

/// Whether a file is the one behind `mapping`. Both its numbers must agree:
/// in a file system of its own a process can have any inode's number.
fn is_mapped(stat: &Metadata, named: &OwnedFd, mapping: &Mapping) -> bool {
    let device = (rustix::fs::major(stat.dev()), rustix::fs::minor(stat.dev()));
    let shows_another =
        || rustix::fs::fstatfs(named).is_ok_and(|fs| matches!(fs.f_type, OVERLAYFS | BTRFS));
    stat.ino() == mapping.inode && (device == mapping.device || shows_another())
}

/// Kinds of file systems that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A program serves it.
    Fuse,
    /// `fstat` does not show the real inode, nor the kernel the real file
    /// system.
    Overlay,
    /// Any other.
    Other,
}

impl FileSystem {
    /// That of an open file.
    ///
    /// # Errors
    /// It does not say.
    pub fn of(file: &File) -> io::Result<FileSystem> {
        Ok(match rustix::fs::fstatfs(file)?.f_type {
            FUSE => FileSystem::Fuse,
            OVERLAYFS => FileSystem::Overlay,
            _ => FileSystem::Other,
        })
    }
}

#[cfg(test)]
mod tests;
