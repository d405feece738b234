//! The control plane: doorbells, many clients, an agent that is gone.

pub mod crowd;
pub mod doorbell;
mod failopen;
pub mod scripted;

use std::path::Path;
use std::process::Command;

use xsched_common::api::{Change, Request};
use xsched_common::units::Class;

use crate::agent;
use crate::bench::report::Metric;
use crate::bench::workbench::Workbench;
use crate::build::Built;
use crate::dialogue::Dialogue;

/// Metrics that need the real agent and its clients.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    let bench = Workbench::new(built)?;
    let mut metrics = doorbell::measure(&bench)?;
    metrics.extend(crowd::measure(&bench)?);
    metrics.extend(failopen::measure(&bench)?);
    Ok(metrics)
}

/// Gives a process a class, as root.
pub fn set_class(run_dir: &Path, pid: u32, class: Class) -> anyhow::Result<()> {
    let change = Change {
        pid,
        class: Some(class),
        ..Change::default()
    };
    agent::ask(run_dir, &Request::Set(change)).map(drop)
}

/// This program as a scripted program that joins the agent of `bench`.
pub fn scripted(bench: &Workbench<'_>, arguments: &[&str]) -> anyhow::Result<Dialogue> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("scripted-program")
        .args(arguments)
        .env("XSCHED_RUN_DIR", bench.run_dir());
    Dialogue::start(&mut command, "a scripted")
}
