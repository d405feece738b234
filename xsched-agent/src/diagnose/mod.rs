//! Diagnosis: why work of a process escapes scheduling.
//!
//! Ground truth first, explanation second. [`survey`](Survey) and bindings
//! say what is mapped and where calls lead, the environment how the process
//! was started, a [`CallSource`] which calls it makes. Findings are drawn
//! from these facts alone, and the dynamic linker's rules explain them.
//! Nothing here changes the process or names BPF.

mod absence;
mod agent_view;
mod all;
mod bindings;
mod bypass;
mod calls;
mod dispatch;
mod environment;
mod facts;
mod files;
mod findings;
mod fork;
mod inversion;
pub mod linker;
mod lookups;
mod namespaces;
mod observe;
mod offline;
mod patience;
mod preload;
mod report;
mod shims;
mod survey;
mod table;
mod tokens;

use std::time::{Duration, Instant};

pub use crate::elf;
pub use agent_view::AgentView;
pub use all::{AllReports, View, diagnose_all};
pub use calls::{CallSource, Observed, ObservedCall};
pub use offline::{Files, PredictError, predict};
pub use report::{BindingRow, Examined, Report};

use environment::{Environment, GpuUse};
use facts::Facts;
use preload::PreloadState;
use survey::Survey;

use xsched_common::platform::names::ShimNames;

use crate::process::{self, ProcessError, ProcessId};

/// What to examine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The process.
    pub pid: u32,
    /// How long to observe its calls; zero for not at all.
    pub duration: Duration,
    /// Further libraries that are shims, by file name or path.
    pub shim_names: Vec<String>,
}

/// Why a process could not be examined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It has no address space.
    #[error("process {0} has no memory: it is a zombie or a kernel thread")]
    NoMemory(u32),
    /// No runtime, and no sign that one was wanted.
    #[error(
        "process {0} does not use HIP: no libamdhip64 is mapped (if it loads HIP later, diagnose it \
         then)"
    )]
    NotHip(u32),
    /// It ended.
    #[error(
        "process {0} exited while it was examined: diagnose it while it runs, or a new instance"
    )]
    Exited(u32),
    /// Whoever reads it is held up.
    #[error(
        "process {0} was given up: it, or others of its user, hold up whoever reads their memory maps \
         or files; look at it again later, or end it (kill -9 {0})"
    )]
    HeldUp(u32),
    /// Whoever would read it is held up by others.
    #[error(
        "nothing was examined: processes of other users hold up all who read memory maps or files, and          no place is left; root's processes are examined all the same"
    )]
    Crowded,
    /// The kernel refuses a thread to examine it.
    #[error("nothing was examined: the kernel refuses a thread ({0}): see the limits on tasks")]
    NoThread(std::io::Error),
    /// It executed another program.
    #[error("process {0} executed another program while it was examined: run diagnose again")]
    Executed(u32),
}

/// What `read` says of a process's memory, within the limits of a diagnosis.
///
/// # Errors
/// Somebody holds up whoever reads it.
pub(crate) fn read_patiently<T: Send + 'static>(
    pid: u32,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let stage = patience::Stage::default();
    patience::examine(pid, Duration::ZERO, &stage, || Ok(read()))
}

/// Every code that a finding can have.
pub fn codes() -> impl Iterator<Item = &'static str> {
    findings::CHECKS.iter().map(|check| check.code)
}

/// Examines a process, its calls included where this machine allows it. Ends
/// in time, whatever the process does to whoever reads it.
pub fn diagnose(options: &Options) -> Result<Report, Error> {
    diagnose_seen(options, || None)
}

/// The same, with what a running agent says about the process: `agent` is
/// asked after the observation, so that gates are judged as they are then.
pub fn diagnose_seen(
    options: &Options,
    agent: impl FnOnce() -> Option<AgentView> + Send + 'static,
) -> Result<Report, Error> {
    let stage = patience::Stage::default();
    let mut probes = patience::Staged {
        source: observe::Probes {
            shim_names: options.shim_names.clone(),
        },
        stage: stage.clone(),
    };
    let subject = options.clone();
    patience::examine(options.pid, options.duration, &stage, move || {
        examine(&subject, Some(&mut probes), agent)
    })
}

/// Examines a process. `calls` watches its calls for [`Options::duration`];
/// without one, the report is about bindings alone and says so.
pub fn diagnose_with(
    options: &Options,
    calls: Option<&mut dyn CallSource>,
) -> Result<Report, Error> {
    examine(options, calls, || None)
}

/// Examines a process with all that there is to know; `agent` is asked last.
pub fn examine(
    options: &Options,
    calls: Option<&mut dyn CallSource>,
    agent: impl FnOnce() -> Option<AgentView>,
) -> Result<Report, Error> {
    let started = Instant::now();
    let subject = Subject::of(options.pid)?;
    let shim_names = ShimNames::with(&options.shim_names);
    let mut limits = Vec::new();
    // A first look, before anybody waits for the observation.
    let (survey, environment) = subject.look(&shim_names)?;
    let observed = match calls {
        _ if options.duration.is_zero() => None,
        Some(source) => match source.observe(options.pid, options.duration) {
            Ok(observed) => Some(observed),
            Err(reason) => {
                limits.push(format!("calls were not observed: {reason}"));
                None
            }
        },
        None => None,
    };
    if observed.is_none() && limits.is_empty() {
        limits.push("calls were not observed: only bindings were read".into());
    }
    // A second one after it: libraries were opened and slots bound meanwhile.
    let (survey, environment) = match observed {
        Some(_) => subject.look(&shim_names)?,
        None => (survey, environment),
    };
    let (mut namespaces, mut redirections) = (None, Vec::new());
    let (mut looked_up, mut held) = (Vec::new(), Vec::new());
    let bindings = match bindings::Memory::open(options.pid) {
        Ok(memory) => {
            namespaces = namespaces::Namespaces::read(&survey, &memory);
            let writable = writable(options.pid)?;
            redirections = dispatch::redirections(&survey, &memory, &writable);
            looked_up = bindings::read_lookups(&survey, &memory);
            held = lookups::held(&survey, &looked_up, &memory, &writable);
            let bindings = bindings::read(&survey, &memory);
            if bindings.len() >= bindings::MAX_BINDINGS {
                limits.push(format!(
                    "only the first {} bindings were read",
                    bindings.len()
                ));
            }
            bindings
        }
        Err(e) => {
            limits.push(format!(
                "bindings were not read: /proc/{}/mem: {e} ({}, or see \
                 /proc/sys/kernel/yama/ptrace_scope)",
                options.pid,
                crate::text::more_rights()
            ));
            Vec::new()
        }
    };
    subject.check_unchanged()?;
    if process::stat(options.pid).is_ok_and(|stat| stat.stopped) {
        limits.push(format!(
            "the process is stopped (SIGSTOP, or a debugger) and calls nothing; to continue it: \
             kill -CONT {}",
            options.pid
        ));
    }
    // A row of an earlier process with this pid says nothing.
    let agent = agent().map(|mut agent| {
        let start_time = subject.id.start_time;
        agent.process = agent.process.filter(|row| row.start_time == start_time);
        agent
    });
    let held_back = agent.as_ref().map(AgentView::held_back_below);
    let waits = inversion::lasting_waits(options.pid, &held_back.unwrap_or_default());
    let facts = Facts {
        agent,
        waits,
        pid: Some(options.pid),
        exe: subject.exe,
        survey,
        bindings,
        lookups: looked_up,
        held,
        namespaces,
        redirections,
        environment,
        observed,
        shim_names,
        missing: Vec::new(),
    };
    let mut report = Report::new(&facts, findings::of(&facts), limits);
    report.examined.took = started.elapsed();
    Ok(report)
}

/// The process and the program it runs: what must not change underneath.
struct Subject {
    id: ProcessId,
    exe: String,
    /// Differs for every program executed: it holds randomised addresses.
    auxv: Vec<u8>,
}

impl Subject {
    fn of(pid: u32) -> Result<Subject, Error> {
        let id = ProcessId::of(pid)?;
        // The right to read maps is asked first: its error names the owner,
        // while a missing exe also means "no memory".
        if process::maps(pid)?.is_empty() {
            return Err(Error::NoMemory(pid));
        }
        let exe = process::exe(pid)?.to_string_lossy().into_owned();
        Ok(Subject {
            id,
            exe: exe.strip_suffix(" (deleted)").unwrap_or(&exe).to_owned(),
            auxv: auxv(pid),
        })
    }

    fn look(&self, shims: &ShimNames) -> Result<(Survey, Environment), Error> {
        let gone = |e| match e {
            ProcessError::Gone(pid) => Error::Exited(pid),
            other => Error::Process(other),
        };
        let survey = Survey::take(self.id.pid, &self.exe, shims).map_err(gone)?;
        let environment = Environment::read(self.id, &survey).map_err(gone)?;
        self.check_unchanged()?;
        let asked = environment
            .preloads
            .iter()
            .any(|p| p.state != PreloadState::Mapped && shims.kind(&p.entry).is_some());
        if survey.runtimes().next().is_none() && !asked && environment.gpu == GpuUse::NotSeen {
            return Err(Error::NotHip(self.id.pid));
        }
        Ok((survey, environment))
    }

    fn check_unchanged(&self) -> Result<(), Error> {
        if !self.id.is_alive() || process::maps(self.id.pid).is_ok_and(|maps| maps.is_empty()) {
            return Err(Error::Exited(self.id.pid));
        }
        if auxv(self.id.pid) != self.auxv {
            return Err(Error::Executed(self.id.pid));
        }
        Ok(())
    }
}

fn writable(pid: u32) -> Result<Vec<std::ops::Range<u64>>, Error> {
    let maps = process::maps(pid)?.into_iter();
    Ok(maps.filter(|m| m.writable).map(|m| m.range).collect())
}

fn auxv(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default()
}
