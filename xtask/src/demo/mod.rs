//! `cargo xtask demo`: the whole product on one machine, without a GPU.
//!
//! A high-class service and a low-class batch program share one simulated
//! device: the service alone, beside the batch natively, and beside it under
//! xsched. Then a program whose library bypasses the shim is diagnosed.

use stage::Ground;

mod report;
pub mod scenario;
pub mod stage;

use crate::build::{self, Profile};
use crate::platform::Platform;
use crate::progress::note;
use crate::real_runtime::{self, Version};

/// Options of `demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Play it on AMD's own runtime, on the simulated HSA library, instead of hipsim
    #[arg(long, value_enum, conflicts_with = "platform")]
    runtime: Option<Version>,
    /// Whose programs play it, on the simulated device
    #[arg(long, value_enum, default_value_t)]
    platform: Platform,
    /// What to play it with: figures are for release
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
}

/// What the scenario starts on a real runtime.
const ON_REAL: [&str; 5] = [
    "xsched-agent",
    "xsched-shim",
    "hsasim",
    "hipsim",
    "hipsim-samples",
];

/// Builds, plays the scenario, prints the report.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(version) = args.runtime {
        real_runtime::provide(version)?;
    }
    note("building (some minutes the first time)");
    let built = match args.runtime {
        Some(_) => build::packages(args.profile, &ON_REAL)?,
        None => build::all(args.profile)?,
    };
    let report = scenario::play(
        &built,
        match args.runtime {
            Some(version) => Ground::Real(version),
            None => Ground::Simulated(args.platform),
        },
    )?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(())
}
