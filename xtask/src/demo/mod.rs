//! `cargo xtask demo`: the whole product on one machine, without a GPU.
//!
//! A high-class service and a low-class batch program share one simulated
//! device: the service alone, beside the batch natively, and beside it under
//! xsched. Then a program whose library bypasses the shim is diagnosed.

mod report;
mod scenario;
pub mod stage;

use crate::build::{self, Profile};
use crate::progress::note;

/// Options of `demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// What to play it with: figures are for release
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
}

/// Builds, plays the scenario, prints the report.
pub fn run(args: &Args) -> anyhow::Result<()> {
    note("building (some minutes the first time)");
    let built = build::all(args.profile)?;
    let report = scenario::play(&built)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(())
}
