//! Diagnosis of every process on the machine that uses a runtime.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use xsched_common::platform::TITLES;
use xsched_host::process::{self, ProcessError};

use super::{AgentView, CallSource, Error, Options, Report, diagnose};

/// What was found out about all of them.
#[derive(Debug)]
pub struct AllReports {
    /// One per process, by pid.
    pub reports: Vec<Report>,
    /// Processes that could not be examined, with the reason.
    pub refused: Vec<(u32, String)>,
    /// How long it took.
    pub took: Duration,
}

/// How many processes are examined at once: each observation holds probes
/// of its own, and one process that holds up its examination must not hold
/// up the others'.
const AT_ONCE: usize = 8;

/// What a running agent knows about a process.
pub type View = Arc<dyn Fn(u32) -> Option<AgentView> + Send + Sync>;

/// Diagnoses every process that uses a runtime or was meant to; `options.pid` does
/// not matter. Processes come and go meanwhile: those that are gone are left
/// out.
///
/// # Errors
/// /proc cannot be listed.
pub fn diagnose_all(
    options: &Options,
    calls: &(impl CallSource + Clone + Send + Sync + 'static),
    agent: &View,
) -> std::io::Result<AllReports> {
    let started = Instant::now();
    let mut pids = process::all_pids()?;
    pids.retain(|&pid| pid != std::process::id());
    let mut out = AllReports {
        reports: Vec::new(),
        refused: Vec::new(),
        took: Duration::ZERO,
    };
    // First without observation: most processes have nothing to do with a runtime.
    let of_bindings = Options {
        duration: Duration::ZERO,
        ..options.clone()
    };
    out.take(examined(&of_bindings, calls, agent, pids));
    if !options.duration.is_zero() {
        let pids = out.reports.drain(..).map(|r| r.pid).collect();
        out.take(examined(options, calls, agent, pids));
    }
    out.took = started.elapsed();
    Ok(out)
}

fn examined(
    options: &Options,
    calls: &(impl CallSource + Clone + Send + Sync + 'static),
    agent: &View,
    mut pids: Vec<u32>,
) -> Vec<(u32, Result<Report, Error>)> {
    // Taken from the end: the oldest first.
    pids.sort_unstable_by_key(|&pid| std::cmp::Reverse(pid));
    let pids = Mutex::new(pids);
    let next = || pids.lock().ok()?.pop();
    let work = || {
        let mut done = Vec::new();
        while let Some(pid) = next() {
            let options = Options {
                pid,
                ..options.clone()
            };
            let agent = Arc::clone(agent);
            let calls = calls.clone();
            done.push((pid, diagnose(&options, calls, move || agent(pid))));
        }
        done
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().filter_map(|worker| worker.join().ok());
        done.flatten().collect()
    })
}

impl AllReports {
    fn take(&mut self, mut results: Vec<(u32, Result<Report, Error>)>) {
        results.sort_unstable_by_key(|(pid, _)| *pid);
        for (pid, result) in results {
            match result {
                Ok(report) => self.reports.push(report),
                Err(
                    Error::NoRuntime(_)
                    | Error::NoMemory(_)
                    | Error::Exited(_)
                    | Error::Executed(_)
                    | Error::Process(ProcessError::Gone(_)),
                ) => {}
                Err(e) => self.refused.push((pid, e.to_string())),
            }
        }
    }
}

impl fmt::Display for AllReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = self.reports.iter().filter(|r| !r.is_clean());
        writeln!(
            f,
            "{} {TITLES}, {} with errors or warnings; took {:.2} s.",
            match self.reports.len() {
                1 => "1 process uses".to_owned(),
                n => format!("{n} processes use"),
            },
            with.count(),
            self.took.as_secs_f64()
        )?;
        if let Some((pid, reason)) = self.refused.first() {
            let count = self.refused.len();
            match count {
                1 => writeln!(f, "Limits: {reason}")?,
                _ => writeln!(f, "Limits: {count} processes, among them {pid}: {reason}")?,
            }
        }
        Ok(())
    }
}
