//! `boost`, `suspend`, `resume`: what takes precedence for a while.

use std::process::ExitCode;

use xsched_common::api::Request;

use super::attr::{self, Duration, pid};

/// Options of `boost`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  sudo xsched-agent boost --pid 4242 --for 30s
  sudo xsched-agent resume --pid 4242                 end it early

It ends by itself, with a restart of the agent at the latest. --json prints what
`set --json` prints. Exit codes: 0 done, 2 not done")]
pub struct BoostOptions {
    /// The process
    #[arg(long, value_parser = pid)]
    pid: u32,
    /// How long, as 30s, 500ms or plain seconds: 10ms to 1h
    #[arg(long = "for", value_name = "TIME")]
    duration: Duration,
    /// Print the attributes now in force as JSON
    #[arg(long)]
    json: bool,
}

/// Options of `suspend`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xsched-agent suspend --pid 4242 --timeout 10s
  xsched-agent resume --pid 4242                      end it early

The timeout is mandatory: nothing stays suspended because somebody forgot it.
It ends with a restart of the agent at the latest. --json prints what
`set --json` prints. Exit codes: 0 done, 2 not done")]
pub struct SuspendOptions {
    /// The process
    #[arg(long, value_parser = pid)]
    pid: u32,
    /// When it ends by itself, as 10s, 500ms or plain seconds: 10ms to 1h
    #[arg(long, value_name = "TIME")]
    timeout: Duration,
    /// Print the attributes now in force as JSON
    #[arg(long)]
    json: bool,
}

/// Options of `resume`.
#[derive(clap::Args)]
#[command(after_help = "\
--json prints what `set --json` prints. Exit codes: 0 done, 2 not done")]
pub struct ResumeOptions {
    /// The process
    #[arg(long, value_parser = pid)]
    pid: u32,
    /// Print the attributes now in force as JSON
    #[arg(long)]
    json: bool,
}

pub fn boost(options: &BoostOptions) -> anyhow::Result<ExitCode> {
    let request = Request::Boost {
        pid: options.pid,
        duration_ms: options.duration.as_millis(),
    };
    attr::settle(&request, options.json)
}

pub fn suspend(options: &SuspendOptions) -> anyhow::Result<ExitCode> {
    let request = Request::Suspend {
        pid: options.pid,
        timeout_ms: options.timeout.as_millis(),
    };
    attr::settle(&request, options.json)
}

pub fn resume(options: &ResumeOptions) -> anyhow::Result<ExitCode> {
    attr::settle(&Request::Resume { pid: options.pid }, options.json)
}
