//! Opening files that another process chose.
//!
//! A path that a process controls may lead to a FIFO, a device or out of its
//! root through an absolute symbolic link; opening, blocking on or following
//! any of these is what this file prevents.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// The most that is read of a configuration file.
const MAX_CONFIG: u64 = 1 << 20;

/// Opens a regular file and nothing else.
pub fn open_regular(path: &str) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    // Asked again: the path may lead elsewhere by now.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// The root directory of a process: paths resolve as they would in it.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    working_directory: String,
}

impl Root {
    /// The root of this process; needs the right to trace it.
    pub fn of(pid: u32) -> io::Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root {
            directory: rustix::fs::openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?,
            working_directory: fs::read_link(format!("/proc/{pid}/cwd"))
                .map(|p| p.to_string_lossy().into_owned())
                .unwrap_or_else(|_| "/".into()),
        })
    }

    /// What is at `path`, symbolic links followed inside the root.
    pub fn stat(&self, path: &str) -> io::Result<Metadata> {
        fs::metadata(self.handle(path)?.path())
    }

    /// Opens the regular file at `path`.
    pub fn open(&self, path: &str) -> io::Result<File> {
        open_regular(&self.handle(path)?.path())
    }

    /// The text of the small file at `path`; empty when it cannot be read.
    pub fn read_config(&self, path: &str) -> String {
        let mut out = Vec::new();
        if let Ok(file) = self.open(path) {
            // What was read before an error is as good as a shorter file.
            let _ = file.take(MAX_CONFIG).read_to_end(&mut out);
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The names in the directory at `path`; none when it cannot be read.
    pub fn list(&self, path: &str) -> Vec<String> {
        const MAX_NAMES: usize = 1024;
        let Ok(handle) = self.handle(path) else {
            return Vec::new();
        };
        let entries = fs::read_dir(handle.path()).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .take(MAX_NAMES)
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Whether paths here mean something else than in this process.
    pub fn differs_from_ours(&self, pid: u32) -> bool {
        let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/mnt")).ok();
        let root = |of: &str| fs::read_link(format!("/proc/{of}/root")).ok();
        let pid = pid.to_string();
        namespace(&pid) != namespace("self") || root(&pid) != root("self")
    }

    fn handle(&self, path: &str) -> io::Result<Handle> {
        let absolute = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{}/{path}", self.working_directory),
        };
        let fd = rustix::fs::openat2(
            &self.directory,
            absolute,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )?;
        Ok(Handle(fd))
    }
}

/// A file that is named, but not opened.
struct Handle(OwnedFd);

impl Handle {
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_is_refused_and_does_not_block() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("mkfifo");
        assert!(open_regular(fifo.to_str().expect("utf-8")).is_err());
        assert!(open_regular("/dev/null").is_err());
    }

    #[test]
    fn this_process_sees_its_own_root() {
        let root = Root::of(std::process::id()).expect("my root");
        assert!(root.stat("/proc").expect("it exists").is_dir());
        assert!(root.stat("Cargo.toml").expect("relative").is_file());
        assert!(!root.differs_from_ours(std::process::id()));
        assert!(root.open("/dev/null").is_err());
        assert_eq!(root.read_config("/no/such/file"), "");
    }
}
