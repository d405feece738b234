//! Diagnosis: why work of a process escapes scheduling.
//!
//! It walks one way. Facts are collected, of a live process ([`diagnose`]) or
//! from files ([`predict`]): what is mapped and where calls lead, how the
//! process was started, which calls a [`CallSource`] sees it make. From these
//! alone come the references that lead past a shim, explained by the dynamic
//! linker's rules; from both the findings; and from all of it the report.
//! Nothing here changes the process or names BPF.

mod all;
mod bypasses;
mod error;
mod facts;
mod findings;
pub mod linker;
mod live;
mod offline;
mod report;

use std::time::{Duration, Instant};

use xsched_host::readers::apart::{self, Stage};

pub use all::{AllReports, View, diagnose_all};
pub use error::{Error, PredictError};
pub use facts::agent_view::AgentView;
pub use facts::calls::{CallSource, Observed, ObservedCall};
pub use offline::Files;
pub use report::{BindingRow, Examined, Report};

use facts::Collected;
use facts::calls::Staged;

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

/// Every code that a finding can have.
pub fn codes() -> impl Iterator<Item = &'static str> {
    findings::CHECKS.iter().map(|check| check.code)
}

/// Examines a process, its calls included if `calls` can watch them. Ends in
/// time, whatever the process does to whoever reads it. `agent` is what a
/// running agent says about the process: it is asked after the observation, so
/// that gates are judged as they are then.
pub fn diagnose(
    options: &Options,
    calls: impl CallSource + Send + 'static,
    agent: impl FnOnce() -> Option<AgentView> + Send + 'static,
) -> Result<Report, Error> {
    let stage = Stage::default();
    let mut calls = Staged {
        source: calls,
        stage: stage.clone(),
    };
    let subject = options.clone();
    apart::examine(options.pid, options.duration, &stage, move || {
        examine(&subject, Some(&mut calls), agent)
    })?
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
    let collected = live::collect(options, calls, agent)?;
    Ok(judged(collected, started))
}

/// Predicts every binding of a program from its files.
///
/// # Errors
/// A file cannot be loaded, or none of them uses the runtime.
pub fn predict(files: &Files) -> Result<Report, PredictError> {
    let started = Instant::now();
    let collected = offline::collect(files)?;
    Ok(judged(collected, started))
}

fn judged(Collected { facts, limits }: Collected, started: Instant) -> Report {
    let bypasses = bypasses::find(&facts);
    let findings = findings::of(&facts, &bypasses);
    let mut report = Report::new(&facts, findings, limits);
    report.examined.took = started.elapsed();
    report
}
