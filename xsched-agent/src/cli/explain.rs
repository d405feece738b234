//! `explain`: why a process has the attributes it has.

use std::process::ExitCode;

use xsched_client::blocking as client;
use xsched_common::api::{Explanation, Request};

use super::attr::{self, pid};
use super::{endpoint, print, print_json};

/// Options of `explain`.
#[derive(clap::Args)]
#[command(after_help = "\
  +  something of it is in force
  -  nothing of it is, and why

--json prints {\"settled\", \"steps\": [{\"source\", \"applied\", \"because\"}]}; settled
is what `set --json` prints. Exit codes: 0 done, 2 not done")]
pub struct Options {
    /// The process
    #[arg(long, value_parser = pid)]
    pid: u32,
    /// Print the steps as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let explanation = client::explain(&endpoint(), &Request::Explain { pid: options.pid })?;
    if options.json {
        print_json(&explanation)?;
    } else {
        print(&text(&explanation))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(explanation: &Explanation) -> String {
    let mut text = attr::text(&explanation.settled);
    for step in &explanation.steps {
        let mark = if step.applied { '+' } else { '-' };
        text += &format!("  {mark} {}: {}\n", step.source, step.because);
    }
    text
}
