//! What rules ask about a process, read from /proc when it is asked.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xsched_host::cgroup::{Placement, Workload};
use xsched_host::process::{self, Credentials, ProcessError};

use crate::workloads::{self, Job, Pod, Workloads};

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
    workloads: Workloads,
    workload: OnceCell<Result<Option<Workload>, Unknown>>,
    job: OnceCell<Option<Job>>,
}

impl Facts {
    /// Nothing is read yet; what is known of pods and jobs is in `workloads`.
    pub fn of(pid: u32, reach: Reach, workloads: &Workloads) -> Facts {
        Facts {
            pid,
            reach,
            exe: OnceCell::new(),
            credentials: OnceCell::new(),
            placement: OnceCell::new(),
            arguments: OnceCell::new(),
            environ: OnceCell::new(),
            workloads: workloads.clone(),
            workload: OnceCell::new(),
            job: OnceCell::new(),
        }
    }

    /// One that was recorded: its command line is all that is known, and the
    /// program that it names is taken for the executable.
    pub fn recorded(command: Vec<OsString>) -> Facts {
        let unknown = || Unknown::Unreadable("a recording does not know it".to_owned());
        let exe = command.first().map(PathBuf::from).ok_or_else(unknown);
        Facts {
            pid: 0,
            reach: Reach::Memory,
            exe: OnceCell::from(exe),
            credentials: OnceCell::from(Err(unknown())),
            placement: OnceCell::from(Err(unknown())),
            arguments: OnceCell::from(Ok(command)),
            environ: OnceCell::from(Err(unknown())),
            workloads: Workloads::default(),
            workload: OnceCell::from(Err(unknown())),
            job: OnceCell::from(None),
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

    /// The pod or job that it belongs to, by root's word.
    pub fn workload(&self) -> Result<Option<&Workload>, Unknown> {
        let read = || {
            let found = self.placement()?.workload(self.pid);
            found.map_err(unreadable)
        };
        let found = self.workload.get_or_init(read).as_ref();
        found.map(Option::as_ref).map_err(Clone::clone)
    }

    /// What is known of its pod: nothing where it is in none.
    pub fn pod(&self) -> Option<Arc<Pod>> {
        match self.workload() {
            Ok(Some(Workload::Pod(place))) => self.workloads.pod(&place.uid),
            _ => None,
        }
    }

    /// What is known of its job: nothing where it is in none.
    pub fn job(&self) -> Option<&Job> {
        let read = || match self.workload() {
            Ok(Some(Workload::Job(place))) => self.workloads.job(place.id),
            _ => None,
        };
        self.job.get_or_init(read).as_ref()
    }

    /// What its environment says of a job of which root has left no record: its
    /// user's word.
    pub fn job_by_itself(&self) -> Result<Option<Job>, Unknown> {
        match self.workload()? {
            Some(Workload::Job(_)) if self.job().is_none() => {
                Ok(Some(workloads::of_environment(self.environ()?)))
            }
            _ => Ok(None),
        }
    }

    /// The same process, as if its job were this one.
    pub fn believing(&self, job: Job) -> Facts {
        Facts {
            job: OnceCell::from(Some(job)),
            ..Facts::of(self.pid, self.reach, &self.workloads)
        }
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
            workloads: Workloads::default(),
            workload: OnceCell::from(Ok(None)),
            job: OnceCell::new(),
        }
    }

    /// The same in this workload, of which so much is known.
    #[cfg(test)]
    pub fn in_workload(self, workload: Workload, workloads: Workloads, job: Option<Job>) -> Facts {
        Facts {
            workload: OnceCell::from(Ok(Some(workload))),
            workloads,
            job: OnceCell::from(job),
            ..self
        }
    }
}

fn unreadable(error: ProcessError) -> Unknown {
    Unknown::Unreadable(error.to_string())
}
