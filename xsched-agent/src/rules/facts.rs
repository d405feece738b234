//! What rules ask about a process, read from /proc when it is asked.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use xsched_host::cgroup::Placement;
use xsched_host::process::{self, Credentials, ProcessError};

/// Whether what lies in the process's own memory may be read.
///
/// The arguments and the environment are read through the process's memory
/// map. Whoever does that waits for the map's lock, which the process's
/// threads take, for the lock that an exec holds, and for pages that are
/// swapped out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only what the kernel itself keeps: this never waits for the process.
    Kernel,
    /// Everything.
    Memory,
}

/// Why a fact is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// [`Reach::Kernel`] does not allow to read it.
    NotRead,
    /// It cannot be read, for people.
    Unreadable(String),
}

/// One process, as far as it was asked about.
pub struct Facts {
    pid: u32,
    reach: Reach,
    exe: OnceCell<Result<PathBuf, Unknown>>,
    credentials: OnceCell<Result<Credentials, Unknown>>,
    placement: OnceCell<Result<Placement, Unknown>>,
    arguments: OnceCell<Result<Vec<OsString>, Unknown>>,
    environ: OnceCell<Result<Vec<OsString>, Unknown>>,
}

impl Facts {
    /// Nothing is read yet.
    pub fn of(pid: u32, reach: Reach) -> Facts {
        Facts {
            pid,
            reach,
            exe: OnceCell::new(),
            credentials: OnceCell::new(),
            placement: OnceCell::new(),
            arguments: OnceCell::new(),
            environ: OnceCell::new(),
        }
    }

    /// The executable, without the mark of deletion: an update replaces files
    /// of running programs.
    pub fn exe(&self) -> Result<&Path, Unknown> {
        let exe = self.exe.get_or_init(|| {
            let path = process::exe(self.pid).map_err(unreadable)?;
            let alive = path
                .to_str()
                .and_then(|path| path.strip_suffix(" (deleted)"));
            Ok(alive.map_or_else(|| path.clone(), PathBuf::from))
        });
        exe.as_deref().map_err(Clone::clone)
    }

    /// Users and groups.
    pub fn credentials(&self) -> Result<&Credentials, Unknown> {
        let read = || process::credentials(self.pid).map_err(unreadable);
        self.credentials
            .get_or_init(read)
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Its control group, and how far that is root's word.
    pub fn placement(&self) -> Result<&Placement, Unknown> {
        let read = || Placement::of(self.pid).map_err(unreadable);
        self.placement
            .get_or_init(read)
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The arguments, `argv[0]` first.
    pub fn arguments(&self) -> Result<&[OsString], Unknown> {
        let read = || self.read_memory(process::arguments);
        self.arguments
            .get_or_init(read)
            .as_deref()
            .map_err(Clone::clone)
    }

    /// The environment at its start, as `NAME=value`.
    pub fn environ(&self) -> Result<&[OsString], Unknown> {
        let read = || self.read_memory(process::environ);
        self.environ
            .get_or_init(read)
            .as_deref()
            .map_err(Clone::clone)
    }

    fn read_memory(
        &self,
        read: fn(u32) -> Result<Vec<OsString>, ProcessError>,
    ) -> Result<Vec<OsString>, Unknown> {
        match self.reach {
            Reach::Kernel => Err(Unknown::NotRead),
            Reach::Memory => read(self.pid).map_err(unreadable),
        }
    }

    /// A process that was read earlier, or is made up.
    #[cfg(test)]
    pub fn known(
        exe: &str,
        credentials: Credentials,
        placement: Placement,
        arguments: &[&str],
        environ: &[&str],
    ) -> Facts {
        let list = |texts: &[&str]| Ok(texts.iter().map(OsString::from).collect());
        Facts {
            pid: 0,
            reach: Reach::Memory,
            exe: OnceCell::from(Ok(exe.into())),
            credentials: OnceCell::from(Ok(credentials)),
            placement: OnceCell::from(Ok(placement)),
            arguments: OnceCell::from(list(arguments)),
            environ: OnceCell::from(list(environ)),
        }
    }
}

fn unreadable(error: ProcessError) -> Unknown {
    Unknown::Unreadable(error.to_string())
}
