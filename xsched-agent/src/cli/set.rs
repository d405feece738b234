//! `set`: changes the terms of a process.

use std::process::ExitCode;

use xsched_common::api::{Change, Request};
use xsched_common::units::{Class, Weight};

use super::terms::{self, Target};

/// Options of `set`.
#[derive(clap::Args)]
#[command(
    group = clap::ArgGroup::new("terms").required(true).multiple(true),
    after_help = "\
Examples:
  sudo xsched-agent set --pid 4242 --class high --slo 30ms
  xsched-agent set --pid 4242 --class low --weight 50
  sudo xsched-agent set --pid 4242 --slo none

--json prints {\"pid\", \"class\", \"weight\", \"slo_p99_ns\", \"hold\", \"joined\"}: the
terms now in force; hold is null or {\"hold\", \"remaining_ns\"}; joined is false
for a process that the shim has not brought in: it is not scheduled

Exit codes: 0 done, 2 not done; the message says why"
)]
pub struct Options {
    /// The process
    #[arg(long)]
    pid: u32,
    /// realtime, high, normal or low
    #[arg(long, group = "terms")]
    class: Option<Class>,
    /// Its share within the class, 1 to 10000 (modes share and slo); others
    /// have 100
    #[arg(long, group = "terms")]
    weight: Option<Weight>,
    /// The P99 of its bursts to reach, as 30ms (mode slo); none removes it
    #[arg(long, value_name = "TIME", group = "terms")]
    slo: Option<Target>,
    /// Print the terms now in force as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let request = Request::Set(Change {
        pid: options.pid,
        class: options.class,
        weight: options.weight,
        slo_p99_ns: options.slo.map(|target| target.0),
        ..Change::default()
    });
    terms::settle(&request, options.json)
}
