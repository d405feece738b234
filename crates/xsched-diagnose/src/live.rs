//! The facts of a process that runs.

use xsched_common::platform::names::ShimNames;
use xsched_host::process::{self, ProcessError, ProcessId};
use xsched_host::text::more_rights;

use crate::Options;
use crate::error::Error;
use crate::facts::agent_view::AgentView;
use crate::facts::bindings::{self, Binding, Memory};
use crate::facts::calls::{CallSource, Observed};
use crate::facts::dispatch::{self, Redirection};
use crate::facts::environment::{Environment, GpuUse};
use crate::facts::held::{self, Held};
use crate::facts::mapped::MappedObjects;
use crate::facts::namespaces::Namespaces;
use crate::facts::preload::PreloadState;
use crate::facts::{Collected, Facts, inversion};

/// What there is to know of a process; `agent` is asked last.
pub fn collect(
    options: &Options,
    calls: Option<&mut dyn CallSource>,
    agent: impl FnOnce() -> Option<AgentView>,
) -> Result<Collected, Error> {
    let subject = Subject::of(options.pid)?;
    let shim_names = ShimNames::with(&options.shim_names);
    let mut limits = Vec::new();
    // A first look, before anybody waits for the observation.
    let first = subject.look(&shim_names)?;
    let observed = observe(options, calls, &mut limits);
    // A second one after it: libraries were opened and slots bound meanwhile.
    let (mapped, environment) = match observed {
        Some(_) => subject.look(&shim_names)?,
        None => first,
    };
    let references = References::read(options.pid, &mapped, &mut limits)?;
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
    let References {
        bindings,
        lookups,
        held,
        namespaces,
        redirections,
    } = references;
    let facts = Facts {
        agent,
        waits,
        pid: Some(options.pid),
        exe: subject.exe,
        mapped,
        bindings,
        lookups,
        held,
        namespaces,
        redirections,
        environment,
        observed,
        shim_names,
        missing: Vec::new(),
    };
    Ok(Collected { facts, limits })
}

fn observe(
    options: &Options,
    calls: Option<&mut dyn CallSource>,
    limits: &mut Vec<String>,
) -> Option<Observed> {
    let calls = calls.filter(|_| !options.duration.is_zero());
    let Some(calls) = calls else {
        limits.push("calls were not observed: only bindings were read".into());
        return None;
    };
    calls
        .observe(options.pid, options.duration)
        .inspect_err(|reason| limits.push(format!("calls were not observed: {reason}")))
        .ok()
}

/// What the process's memory says of its references.
#[derive(Default)]
struct References {
    bindings: Vec<Binding>,
    lookups: Vec<Binding>,
    held: Vec<Held>,
    namespaces: Option<Namespaces>,
    redirections: Vec<Redirection>,
}

impl References {
    fn read(
        pid: u32,
        mapped: &MappedObjects,
        limits: &mut Vec<String>,
    ) -> Result<References, Error> {
        let memory = match Memory::open(pid) {
            Ok(memory) => memory,
            Err(e) => {
                limits.push(format!(
                    "bindings were not read: /proc/{pid}/mem: {e} ({}, or see \
                     /proc/sys/kernel/yama/ptrace_scope)",
                    more_rights()
                ));
                return Ok(References::default());
            }
        };
        let writable = writable(pid)?;
        let lookups = bindings::read_lookups(mapped, &memory);
        let bindings = bindings::read(mapped, &memory);
        if bindings.len() >= bindings::MAX_BINDINGS {
            let count = bindings.len();
            limits.push(format!("only the first {count} bindings were read"));
        }
        Ok(References {
            held: held::held(mapped, &lookups, &memory, &writable),
            namespaces: Namespaces::read(mapped, &memory),
            redirections: dispatch::redirections(mapped, &memory, &writable),
            bindings,
            lookups,
        })
    }
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

    fn look(&self, shims: &ShimNames) -> Result<(MappedObjects, Environment), Error> {
        let gone = |e| match e {
            ProcessError::Gone(pid) => Error::Exited(pid),
            other => Error::Process(other),
        };
        let mapped = MappedObjects::take(self.id.pid, &self.exe, shims).map_err(gone)?;
        let environment = Environment::read(self.id, &mapped).map_err(gone)?;
        self.check_unchanged()?;
        let asked = environment
            .preloads
            .iter()
            .any(|p| p.state != PreloadState::Mapped && shims.kind(&p.entry).is_some());
        if mapped.runtimes().next().is_none() && !asked && environment.gpu == GpuUse::NotSeen {
            return Err(Error::NoRuntime(self.id.pid));
        }
        Ok((mapped, environment))
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
