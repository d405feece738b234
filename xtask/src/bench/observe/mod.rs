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

use anyhow::ensure;
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
        "xsched-observe",
        "--example",
        "observing",
    ]))?;
    raise_locked_memory();
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

/// Lifts the limit of locked memory, which bounds BPF maps before Linux 5.11
/// (<https://lore.kernel.org/bpf/20201201215900.3569844-1-guro@fb.com/>).
///
/// Root without CAP_SYS_RESOURCE may not. bpftrace then complains and goes on;
/// where the kernel does count, its maps fail and the comparison says so.
fn raise_locked_memory() {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        progress(&format!(
            "the limit of locked memory stays ({error}): bpftrace may complain"
        ));
    }
}

/// Says what is being measured: all of it takes minutes.
fn progress(what: &str) {
    eprintln!("  {what}");
}
