//! `bench observe`: what observing costs, the observed programs and us.
//!
//! The observed runtime does nothing (the one of the shim's own tests), so
//! that all the time measured is the probes'. bpftrace, counting by process,
//! is measured beside us on the same functions in the same run.

mod daemon;
mod diagnosis;
mod drain;
pub mod launcher;
mod price;

use anyhow::ensure;
use clap::ValueEnum as _;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::report::Metric;
use super::workbench::Workbench;
use crate::build::{self, Built};
use crate::provision;
use crate::real_runtime::{self, Above, Version};

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// A call with a probe on it, beside bpftrace
    Price,
    /// How fast what was counted is taken in
    Drain,
    /// A program that the daemon observes
    Steady,
    /// The daemon's own processor time, and how fast it goes
    Daemon,
    /// A process with hundreds of objects is diagnosed
    Diagnosis,
}

impl Part {
    fn measure(self, bench: &Workbench<'_>) -> anyhow::Result<Vec<Metric>> {
        match self {
            Part::Price => price::measure(bench),
            Part::Drain => Ok(vec![drain::measure(bench)?]),
            Part::Steady => Ok(vec![daemon::steady(bench)?]),
            Part::Daemon => Ok(vec![daemon::agents_time(bench)?, daemon::stop(bench)?]),
            Part::Diagnosis => diagnosis::measure(bench),
        }
    }
}

/// Measures one part, or all of them in the order in which they are listed.
pub fn measure(built: &Built, only: Option<Part>) -> anyhow::Result<Vec<Metric>> {
    prepare()?;
    let bench = Workbench::new(built)?;
    launcher::compile(&bench)?;
    let mut metrics = Vec::new();
    for part in Part::value_variants() {
        if only.is_none_or(|only| only == *part) {
            metrics.extend(part.measure(&bench)?);
        }
    }
    Ok(metrics)
}

/// The price of a call of AMD's own runtime. This process goes to where it is.
pub fn measure_real(built: &Built, version: Version) -> anyhow::Result<Vec<Metric>> {
    prepare()?;
    let bench = Workbench::new(built)?;
    launcher::compile(&bench)?;
    let work = bench.dir.join("real");
    let hsa = built.file("libhsasim.so");
    real_runtime::enter(version, &hsa, &work, Above::default())?;
    price::of_machines(&bench, real_runtime::machines(version))
}

fn prepare() -> anyhow::Result<()> {
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
    Ok(())
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
