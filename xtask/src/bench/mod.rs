//! `cargo xtask bench NAME`: measured figures against their bounds.
//!
//! Every benchmark builds in release, measures what it compares in turns, and
//! prints medians. Exit code 1 when a bound is missed.

mod all;
mod blame;
pub mod faults;
mod gate;
mod levers;
mod observe;
pub mod report;
pub mod sched;
mod workbench;
mod xtop;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{anyhow, bail, ensure};
use clap::ValueEnum as _;

use crate::build::{self, Profile};
use crate::platform::Platform;
use crate::real_runtime::Version;

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
    /// Of gate, and of sched with --model-only: in seconds, of a debug build,
    /// against bounds with room, as CI does
    #[arg(long)]
    check: bool,
    /// Of sched: the control plane alone, in two minutes
    #[arg(long, conflicts_with = "model_only")]
    control_only: bool,
    /// Of gate: whose shim
    #[arg(long, value_enum, default_value_t)]
    platform: Platform,
    /// One part alone. Of faults: herd, control, diagnosis, sanitizers; of
    /// observe: price, drain, steady, daemon, diagnosis
    #[arg(long)]
    part: Option<String>,
    /// Of gate, levers, and of observe's part price: on AMD's own runtime (real-6.4,
    /// real-7.2), over the simulated HSA library. Of all: a HIP runtime of this
    /// machine and its GPU, as /opt/rocm/lib/libamdhip64.so
    #[arg(long, value_name = "RUNTIME")]
    runtime: Option<String>,
    #[command(flatten)]
    all: all::Args,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Name {
    /// The study that xsched began with, experiment by experiment: all that
    /// follows of --quick, --out, --compare, --runtime
    All,
    /// Whether planted causes of slow bursts are named; root, about three
    /// minutes, not in release: what is measured is the account
    Blame,
    /// What hostile neighbours and odd programs cost the others; root
    Faults,
    /// What the shim costs while the gate is open
    Gate,
    /// What priorities of AMD's hardware queues bring in the model, on AMD's own
    /// runtime (--runtime; real-7.2 if left out); not in release: what is measured
    /// is the model
    Levers,
    /// What observing costs, beside bpftrace; root, about seven minutes
    Observe,
    /// What the policy brings: latencies, shares, and what control costs
    Sched,
    /// What the terminal view costs: frames, start, idle time, memory
    Xtop,
}

/// Measures and reports.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = args.runtime.as_deref();
    let real = |version| Version::from_str(version, false).map_err(|e| anyhow!("--runtime: {e}"));
    let metrics = match (args.name, runtime) {
        (Name::All, runtime) => return all::run(&args.all, args.json, runtime.map(Path::new)),
        (Name::Gate, Some(version)) => {
            let parts = ["xsched-agent", "xsched-shim", "hipsim", "hsasim"];
            gate::real::measure(&build_released(&parts)?, real(version)?)?
        }
        (Name::Observe, Some(version)) => {
            ensure!(
                args.part.as_deref() == Some("price"),
                "on a real runtime `bench observe` has --part price alone"
            );
            observe::measure_real(&build_released(&["hsasim"])?, real(version)?)?
        }
        (Name::Levers, version) => {
            let version = real(version.unwrap_or("real-7.2"))?;
            levers::measure(&build::all(Profile::Dev)?, version)?
        }
        (_, Some(_)) => {
            bail!("--runtime is for `bench all`, `bench gate`, `bench levers` and `bench observe`")
        }
        (Name::Gate, None) if args.check => gate::check(&build::all(Profile::Dev)?)?,
        (Name::Sched, None) if args.check && args.model_only => sched::check(),
        _ if args.check => bail!("--check is for `bench gate` and `bench sched --model-only`"),
        (Name::Sched, None) if args.model_only => sched::modelled::measure(sched::modelled::TIME),
        (Name::Sched, None) if args.control_only => sched::control::measure(&build_release()?)?,
        (name, None) => with_parts(name, args.part.as_deref(), args.platform)?,
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
    build_released(&[])
}

/// These packages; all if none is named.
fn build_released(packages: &[&str]) -> anyhow::Result<build::Built> {
    eprintln!("building in release ...");
    build::packages(Profile::Release, packages)
}

fn with_parts(
    name: Name,
    part: Option<&str>,
    platform: Platform,
) -> anyhow::Result<Vec<report::Metric>> {
    let has_parts = matches!(name, Name::Faults | Name::Observe);
    ensure!(
        part.is_none() || has_parts,
        "this benchmark has no parts: leave --part out"
    );
    match name {
        Name::All => bail!("`bench all` has no parts"),
        Name::Blame => {
            build::all(Profile::Dev)?;
            Ok(blame::measure())
        }
        Name::Faults => {
            let part = part.map(parsed).transpose()?;
            faults::measure(&build_release()?, part)
        }
        Name::Observe => {
            let part = part.map(parsed).transpose()?;
            observe::measure(&build_release()?, part)
        }
        Name::Levers => bail!("`bench levers` has no parts"),
        Name::Gate => gate::measure(&build_release()?, platform),
        Name::Sched => sched::measure(&build_release()?),
        Name::Xtop => xtop::measure(),
    }
}

/// The part of this name.
fn parsed<P: clap::ValueEnum>(name: &str) -> anyhow::Result<P> {
    let names = || {
        let values = P::value_variants().iter().filter_map(P::to_possible_value);
        let names: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
        names.join(", ")
    };
    P::from_str(name, false).map_err(|_| anyhow!("no part {name:?}: there are {}", names()))
}
