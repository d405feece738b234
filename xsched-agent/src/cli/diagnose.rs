//! `diagnose`: why work of a process escapes scheduling.

use std::process::ExitCode;
use std::time::Duration;

use xsched_agent::diagnose;

use super::print;

/// Reads the process's bindings from its memory, watches its launches for a
/// while, and explains each that does not pass the gate. The process never
/// notices. Exit code 0: nothing found, 1: findings, 2: could not examine.
#[derive(clap::Args)]
pub struct Options {
    /// The process
    #[arg(long)]
    pid: u32,
    /// Watch its launches for this many seconds; 0: bindings only
    #[arg(long, value_name = "SECS", default_value_t = 3.0)]
    duration: f64,
    /// Another shim to look for, by file name (ours and XSched's are known)
    #[arg(long, value_name = "NAME")]
    shim: Vec<String>,
    /// Print {"pid", "exe", "shim", "runtimes", "bindings", "calls", "findings", "limits"}
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        (0.0..=3600.0).contains(&options.duration),
        "--duration takes 0 to 3600 seconds"
    );
    let report = diagnose::diagnose(&diagnose::Options {
        pid: options.pid,
        duration: Duration::from_secs_f64(options.duration),
        shim_names: options.shim.clone(),
    })?;
    if options.json {
        print(&format!("{}\n", serde_json::to_string(&report)?))?;
    } else {
        print(&report.to_string())?;
    }
    Ok(ExitCode::from(u8::from(!report.findings.is_empty())))
}
