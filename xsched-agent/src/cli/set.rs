//! `set`: changes a class.

use std::process::ExitCode;

use xsched_common::api::{Change, Request};
use xsched_common::units::Class;

use super::{client, print, run_dir};

/// Root may set any class; other users may lower their own processes.
#[derive(clap::Args)]
pub struct Options {
    /// The process
    #[arg(long)]
    pid: u32,
    /// realtime, high, normal or low
    #[arg(long)]
    class: Class,
    /// Print {"pid", "class", "joined"}
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let request = Request::Set(Change {
        pid: options.pid,
        class: Some(options.class),
        ..Change::default()
    });
    let settled = client::set(&run_dir(), &request)?;
    if options.json {
        print(&format!("{}\n", serde_json::to_string(&settled)?))?;
    } else if settled.joined {
        print(&format!(
            "process {} is now class {}\n",
            settled.pid, settled.class
        ))?;
    } else {
        print(&format!(
            "process {} is class {}, but has not joined: it is scheduled only under the shim \
             (`xsched-agent diagnose --pid {}` tells why it is not)\n",
            settled.pid, settled.class, settled.pid
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
