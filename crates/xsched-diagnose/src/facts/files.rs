//! The files of another process's root, with the rights of that process.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, ResolveFlags};
use xsched_host::foreign::{self, NAMED, Rights};
use xsched_host::process;

/// The most that is read of a configuration file.
const MAX_CONFIG: u64 = 64 << 10;

/// The root directory of a process: paths resolve as they would in it, and
/// only what the process itself could read is read.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    working_directory: String,
    rights: Rights,
}

impl Root {
    /// The root of this process; needs the right to trace it.
    pub fn of(pid: u32) -> io::Result<Root> {
        let credentials = process::credentials(pid).map_err(io::Error::other)?;
        Ok(Root {
            directory: foreign::root_of(pid)?,
            working_directory: fs::read_link(format!("/proc/{pid}/cwd"))
                .map(|p| p.to_string_lossy().into_owned())
                .unwrap_or_else(|_| "/".into()),
            rights: Rights::of(credentials),
        })
    }

    /// What is at `path`, symbolic links followed inside the root.
    pub fn stat(&self, path: &str) -> io::Result<Metadata> {
        self.rights.exercise(|| foreign::stat(&self.named(path)?))
    }

    /// Opens the regular file at `path`.
    pub fn open(&self, path: &str) -> io::Result<File> {
        self.rights.exercise(|| foreign::reopen(self.named(path)?))
    }

    /// Whether there is something at `path` of our own root, as far as the
    /// process would be let there.
    pub fn exists_outside(&self, path: &str) -> bool {
        let named = || {
            let how = ResolveFlags::NO_MAGICLINKS;
            Ok(rustix::fs::openat2(CWD, path, NAMED, Mode::empty(), how)?)
        };
        self.rights.exercise(named).is_ok()
    }

    /// The text of the small file at `path`; empty when it cannot be read.
    pub fn read_config(&self, path: &str) -> String {
        let mut out = Vec::new();
        let read = self.rights.exercise(|| {
            let file = foreign::reopen(self.named(path)?)?;
            file.take(MAX_CONFIG).read_to_end(&mut out)
        });
        // What was read before an error is as good as a shorter file.
        let _ = read;
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The names in the directory at `path`; none when it cannot be read.
    pub fn list(&self, path: &str) -> Vec<String> {
        const MAX_NAMES: usize = 1024;
        let listed = self.rights.exercise(|| {
            let named = self.named(path)?;
            let entries = fs::read_dir(foreign::path_of(&named))?.flatten();
            let names = entries.take(MAX_NAMES).map(|e| e.file_name());
            Ok(names.collect::<Vec<_>>())
        });
        let mut names: Vec<String> = listed
            .unwrap_or_default()
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
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

    fn named(&self, path: &str) -> io::Result<OwnedFd> {
        let absolute = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{}/{path}", self.working_directory),
        };
        Ok(rustix::fs::openat2(
            &self.directory,
            absolute,
            NAMED,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_sees_its_own_root() {
        let root = Root::of(std::process::id()).expect("my root");
        assert!(root.stat("/proc").expect("it exists").is_dir());
        assert!(root.stat("Cargo.toml").expect("relative").is_file());
        assert!(!root.differs_from_ours(std::process::id()));
        assert!(root.open("/dev/null").is_err());
        assert!(root.open("/proc/self/stat").is_err());
        assert!(root.open("/proc/version").is_err(), "nothing of /proc");
        assert!(root.exists_outside("/proc") && !root.exists_outside("/proc/self/exe"));
        assert_eq!(root.read_config("/no/such/file"), "");
    }
}
