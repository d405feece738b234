//! `diagnose`: why work of a process escapes scheduling.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use xsched_agent::diagnosis::Probes;
use xsched_client::{Error, blocking as client};
use xsched_common::api::Snapshot;
use xsched_common::platform::Platform;
use xsched_diagnose::{AgentView, Files, Report, View};

use super::attr::{pid, seconds};
use super::{endpoint, preload, print, print_json, shim_path, shims};

/// Explains which launches do not pass the gate, and why.
///
/// With --pid it reads a process's bindings from its memory and watches its
/// launches for a while; the process never notices. With --exe or --lib
/// nothing runs: the bindings are predicted from the files. Exit code 0:
/// nothing wrong, 1: errors or warnings, 2: could not examine.
#[derive(clap::Args)]
#[command(
    group(clap::ArgGroup::new("subject").required(true).multiple(true)),
    after_help = "\
Examples:
  sudo xsched-agent diagnose 4242
  sudo xsched-agent diagnose --all
  xsched-agent diagnose --exe ./serve"
)]
pub struct Options {
    /// The process
    #[arg(value_name = "PID", group = "subject", conflicts_with_all = ["pid", "all", "exe", "lib"], value_parser = pid)]
    process: Option<u32>,
    /// The process, as well
    #[arg(long, group = "subject", conflicts_with_all = ["all", "exe", "lib"], value_parser = pid)]
    pid: Option<u32>,
    /// Every process that uses a GPU runtime; bindings only unless --duration is given
    #[arg(long, group = "subject", conflicts_with_all = ["exe", "lib"])]
    all: bool,
    /// Predict the bindings of a program that does not run
    #[arg(long, group = "subject", value_name = "FILE")]
    exe: Option<PathBuf>,
    /// Predict the bindings of libraries as a program opens them
    #[arg(long, group = "subject", value_name = "FILE", num_args = 1..)]
    lib: Vec<PathBuf>,
    /// Watch the launches for so long, as 2s, 500ms or plain seconds; 0:
    /// bindings only [default: 3s]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["exe", "lib"], value_parser = seconds)]
    duration: Option<Duration>,
    /// Another shim to look for, by file name (ours and XSched's are known);
    /// for a prediction, the file to preload [default: ours]
    #[arg(long, value_name = "NAME")]
    shim: Vec<String>,
    /// For a prediction: the runtime, instead of the one that would be found
    #[arg(long, value_name = "FILE", conflicts_with_all = ["process", "pid", "all"])]
    runtime: Option<PathBuf>,
    /// Print JSON, one report per line (docs/diagnose.schema.json)
    #[arg(long)]
    json: bool,
}

const DURATION: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(3600);

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let duration = match (options.duration, options.all) {
        (Some(duration), _) => duration,
        (None, true) => Duration::ZERO,
        (None, false) => DURATION,
    };
    anyhow::ensure!(duration <= LONGEST, "--duration takes an hour at most (1h)");
    let found = match options.process.or(options.pid) {
        Some(pid) => {
            let subject = live(options, pid, duration);
            let unheard = Arc::new(OnceLock::new());
            let view = {
                let unheard = Arc::clone(&unheard);
                move || Some(AgentView::of(&heard(snapshot(), &unheard)?, pid))
            };
            let mut report = xsched_diagnose::diagnose(&subject, Probes::with(&subject), view)?;
            report.limits.extend(unheard.get().cloned());
            show(options, &report, report.to_string())?;
            !report.is_clean()
        }
        None if options.all => all(options, duration)?,
        None => {
            let report = xsched_diagnose::predict(&files(options)?)?;
            show(options, &report, format!("{}\n{report}", report.table()))?;
            !report.is_clean()
        }
    };
    Ok(ExitCode::from(u8::from(found)))
}

fn show(options: &Options, report: &Report, text: String) -> anyhow::Result<()> {
    match options.json {
        true => print_json(report),
        false => print(&text),
    }
}

fn live(options: &Options, pid: u32, duration: Duration) -> xsched_diagnose::Options {
    xsched_diagnose::Options {
        pid,
        duration,
        shim_names: options.shim.clone(),
    }
}

/// What the agent says, if one runs; the error is a line for people.
fn snapshot() -> Result<Option<Snapshot>, String> {
    match client::list(&endpoint()) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(Error::NoAgent { .. }) => Ok(None),
        Err(e) => Err(format!("what the agent knows: {e}")),
    }
}

/// The snapshot; where the agent does not answer, `unheard` says so.
fn heard(
    snapshot: Result<Option<Snapshot>, String>,
    unheard: &OnceLock<String>,
) -> Option<Snapshot> {
    snapshot.unwrap_or_else(|why| {
        // Asked once.
        let _ = unheard.set(why);
        None
    })
}

/// Whether any process has findings.
fn all(options: &Options, duration: Duration) -> anyhow::Result<bool> {
    // Asked once: an agent that hangs would keep each of them waiting.
    let unheard = OnceLock::new();
    let snapshot = heard(snapshot(), &unheard);
    let unheard = unheard.into_inner();
    let view: View = Arc::new(move |pid| Some(AgentView::of(snapshot.as_ref()?, pid)));
    let subject = live(options, 0, duration);
    let mut done = xsched_diagnose::diagnose_all(&subject, &Probes::with(&subject), &view)?;
    for report in &mut done.reports {
        report.limits.extend(unheard.clone());
        show(options, report, report.summary())?;
    }
    if !options.json {
        print(&done.to_string())?;
        if let Some(unheard) = unheard {
            print(&format!("Limits: {unheard}\n"))?;
        }
    }
    Ok(!done.reports.iter().all(Report::is_clean))
}

/// The shims of the platforms that the files are linked with.
fn shims_of(options: &Options) -> anyhow::Result<Vec<PathBuf>> {
    let files = options.exe.iter().chain(&options.lib);
    let linked = files.flat_map(|file| preload::examine(file.as_os_str()).linked);
    let linked: BTreeSet<Platform> = linked.collect();
    if linked.is_empty() {
        return Ok(vec![shim_path::find(None)?]);
    }
    let linked: Vec<Platform> = linked.into_iter().collect();
    Ok(shims::choose(None, &linked)?.paths)
}

fn files(options: &Options) -> anyhow::Result<Files> {
    let shims = match options.shim.is_empty() {
        true => shims_of(options)?,
        false => options.shim.iter().map(PathBuf::from).collect(),
    };
    Ok(Files {
        program: options.exe.clone(),
        libraries: options.lib.clone(),
        shims,
        runtime: options.runtime.clone(),
        library_path: std::env::var("LD_LIBRARY_PATH").unwrap_or_default(),
    })
}
