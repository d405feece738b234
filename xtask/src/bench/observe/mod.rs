//! `bench observe`: what observing costs, the observed programs and us.
//!
//! The observed runtime does nothing (the one of the shim's own tests), so
//! that all the time measured is the probes'. bpftrace, counting by process,
//! is measured beside us on the same functions in the same run.

mod daemon;
mod diagnosis;
mod drain;
mod launcher;
mod price;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::report::Metric;
use super::workbench::Workbench;
use crate::build::{self, Built};
use crate::provision;

/// All metrics of the benchmark.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    ensure!(
        provision::is_root()?,
        "observing needs root: run it as root (sudo)"
    );
    provision::ensure_benchmarks()?;
    build::run(build::cargo().args([
        "build",
        "--release",
        "--quiet",
        "--package",
        "xsched-agent",
        "--example",
        "observing",
    ]))?;
    // bpftrace raises it to what its maps take and refuses to work where that
    // is more than it may; 8 MiB, which many machines have, are too few.
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Memlock, unlimited).context("more memory to lock (RLIMIT_MEMLOCK)")?;
    let bench = Workbench::new(built)?;
    launcher::compile(&bench)?;
    let mut metrics = price::measure(&bench)?;
    metrics.push(drain::measure(&bench)?);
    metrics.push(daemon::steady(&bench)?);
    metrics.push(daemon::agents_time(&bench)?);
    metrics.push(daemon::stop(&bench)?);
    metrics.extend(diagnosis::measure(&bench)?);
    Ok(metrics)
}

/// Says what is being measured: all of it takes minutes.
fn progress(what: &str) {
    eprintln!("  {what}");
}
