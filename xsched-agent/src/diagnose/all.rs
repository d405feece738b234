//! Diagnosis of every process on the machine that uses HIP.

use std::fmt;
use std::time::{Duration, Instant};

use super::{AgentView, Error, Options, Report, diagnose_seen};
use crate::process::{self, ProcessError};

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

/// How many processes are observed at once: each observation holds probes
/// of its own.
const AT_ONCE: usize = 8;

/// Diagnoses every process that uses HIP or was meant to; `options.pid` does
/// not matter. Processes come and go meanwhile: those that are gone are left
/// out. `agent` says what a running agent knows about a process.
pub fn diagnose_all(
    options: &Options,
    agent: impl Fn(u32) -> Option<AgentView> + Sync,
) -> std::io::Result<AllReports> {
    let started = Instant::now();
    let mut pids = process::all_pids()?;
    pids.sort_unstable();
    pids.retain(|&pid| pid != std::process::id());
    let mut out = AllReports {
        reports: Vec::new(),
        refused: Vec::new(),
        took: Duration::ZERO,
    };
    // First without observation: most processes have nothing to do with HIP.
    let of_bindings = Options {
        duration: Duration::ZERO,
        ..options.clone()
    };
    for pid in pids {
        let of_this = Options {
            pid,
            ..of_bindings.clone()
        };
        out.take(pid, diagnose_seen(&of_this, || agent(pid)));
    }
    if !options.duration.is_zero() {
        let pids: Vec<u32> = out.reports.drain(..).map(|r| r.pid).collect();
        for batch in pids.chunks(AT_ONCE) {
            for (pid, result) in observed(options, &agent, batch) {
                out.take(pid, result);
            }
        }
    }
    out.took = started.elapsed();
    Ok(out)
}

fn observed(
    options: &Options,
    agent: &(impl Fn(u32) -> Option<AgentView> + Sync),
    pids: &[u32],
) -> Vec<(u32, Result<Report, Error>)> {
    std::thread::scope(|scope| {
        let running: Vec<_> = pids
            .iter()
            .map(|&pid| {
                let options = Options {
                    pid,
                    ..options.clone()
                };
                let examine = move || diagnose_seen(&options, || agent(pid));
                (pid, scope.spawn(examine))
            })
            .collect();
        running
            .into_iter()
            .filter_map(|(pid, thread)| Some((pid, thread.join().ok()?)))
            .collect()
    })
}

impl AllReports {
    fn take(&mut self, pid: u32, result: Result<Report, Error>) {
        match result {
            Ok(report) => self.reports.push(report),
            Err(
                Error::NotHip(_)
                | Error::NoMemory(_)
                | Error::Exited(_)
                | Error::Executed(_)
                | Error::Process(ProcessError::Gone(_)),
            ) => {}
            Err(e) => self.refused.push((pid, e.to_string())),
        }
    }
}

impl fmt::Display for AllReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = self.reports.iter().filter(|r| !r.is_clean());
        writeln!(
            f,
            "{} HIP, {} with errors or warnings; took {:.2} s.",
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
                1 => writeln!(f, "Not seen: {reason}")?,
                _ => writeln!(f, "Not seen: {count} processes, among them {pid}: {reason}")?,
            }
        }
        Ok(())
    }
}
