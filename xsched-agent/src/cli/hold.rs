//! `boost`, `suspend`, `resume`: what takes precedence for a while.

use std::process::ExitCode;

use xsched_common::api::Request;

use super::attr::{self, Duration, Subject};

/// Options of `boost`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  sudo xsched-agent boost 4242 --for 30s
  sudo xsched-agent resume 4242                 end it early

It ends by itself, with a restart of the agent at the latest. --json prints what
`set --json` prints. Exit codes: 0 done, 2 not done")]
pub struct BoostOptions {
    #[command(flatten)]
    subject: Subject,
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
  xsched-agent suspend 4242 --timeout 10s
  xsched-agent resume 4242                      end it early

The timeout is mandatory: nothing stays suspended because somebody forgot it.
It ends with a restart of the agent at the latest. --json prints what
`set --json` prints. Exit codes: 0 done, 2 not done")]
pub struct SuspendOptions {
    #[command(flatten)]
    subject: Subject,
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
Examples:
  sudo xsched-agent resume 4242

--json prints what `set --json` prints. Exit codes: 0 done, 2 not done")]
pub struct ResumeOptions {
    #[command(flatten)]
    subject: Subject,
    /// Print the attributes now in force as JSON
    #[arg(long)]
    json: bool,
}

pub fn boost(options: &BoostOptions) -> anyhow::Result<ExitCode> {
    let request = Request::Boost {
        pid: options.subject.pid(),
        duration_ms: options.duration.as_millis(),
    };
    attr::settle(&request, options.json)
}

pub fn suspend(options: &SuspendOptions) -> anyhow::Result<ExitCode> {
    let request = Request::Suspend {
        pid: options.subject.pid(),
        timeout_ms: options.timeout.as_millis(),
    };
    attr::settle(&request, options.json)
}

pub fn resume(options: &ResumeOptions) -> anyhow::Result<ExitCode> {
    attr::settle(
        &Request::Resume {
            pid: options.subject.pid(),
        },
        options.json,
    )
}
