//! `cargo xtask bench NAME`: measured figures against their bounds.
//!
//! Every benchmark builds in release, measures what it compares in turns, and
//! prints medians. Exit code 1 when a bound is missed.

mod dialogue;
pub mod faults;
mod gate;
mod observe;
mod report;
pub mod sched;
mod workbench;

use std::process::ExitCode;

use crate::build::{self, Profile};

/// Options of `bench`.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_enum)]
    name: Name,
    /// Print {"machine", "kernel", "commit", "device", "metrics": [...]}
    #[arg(long)]
    json: bool,
    /// Of sched: the virtual-time model alone, in half a minute
    #[arg(long)]
    model_only: bool,
    /// Of sched: the control plane alone, in two minutes
    #[arg(long, conflicts_with = "model_only")]
    control_only: bool,
    /// Of faults: one part alone
    #[arg(long, value_enum)]
    part: Option<faults::Part>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Name {
    /// What hostile neighbours and odd programs cost the others; root
    Faults,
    /// What the shim costs while the gate is open
    Gate,
    /// What observing costs, beside bpftrace; root, about seven minutes
    Observe,
    /// What the policy brings: latencies, shares, and what control costs
    Sched,
}

/// Measures and reports.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let metrics = match args.name {
        Name::Sched if args.model_only => sched::modelled::measure(),
        Name::Sched if args.control_only => sched::control::measure(&build_release()?)?,
        name => with_parts(name, args.part)?,
    };
    let report = report::Report::of(metrics);
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(ExitCode::from(u8::from(!report.ok())))
}

fn build_release() -> anyhow::Result<build::Built> {
    eprintln!("building in release ...");
    build::all(Profile::Release)
}

fn with_parts(name: Name, part: Option<faults::Part>) -> anyhow::Result<Vec<report::Metric>> {
    let built = build_release()?;
    match name {
        Name::Faults => faults::measure(&built, part),
        Name::Gate => gate::measure(&built),
        Name::Observe => observe::measure(&built),
        Name::Sched => sched::measure(&built),
    }
}
