//! `record`: every call of the runtime, in a file that Perfetto shows.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use xsched_agent::record::{Recorder, Summary};
use xsched_common::platform::TITLES;
use xsched_host::process::ProcessId;
use xsched_host::text::counted;
use xsched_observe::{Plan, Scope};

use super::attr::{pid, seconds};
use super::{print, print_json, say};

/// Records every launch, copy and wait into a trace.
///
/// Open the file at https://ui.perfetto.dev (it stays on your machine): a line
/// for each stream with the launches on it; a line for each thread with its
/// launches, its waits and its waits at the gate, and its bursts; for a joined
/// process and each of its class groups the gate, the class and the work in
/// flight, looked at every few milliseconds. Click an event for the calling
/// library. Kernels have names where these are looked up while it records, or
/// where the program's symbols tell them; else launches have the function's.
/// While it records, each call of a recorded process takes one to six
/// microseconds longer. Needs root; no agent need run.
///
/// Waits and launches carry probes on their returns while it records: a C++
/// exception that passes such a call ends the program, and pthread_cancel
/// skips its destructors. Do not record programs that do that.
///
/// Ctrl-C ends the recording; the file is complete then. Exit code 0: all
/// calls recorded, 1: some were lost, or there were none, 2: could not record.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  sudo xsched-agent record -o trace.pftrace --duration 10
  sudo xsched-agent record 4242 -o trace.pftrace")]
pub struct Options {
    /// The trace; an existing file is replaced
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Only this process with its threads [default: all, also those that start]
    #[arg(value_name = "PID", value_parser = pid, conflicts_with = "pid")]
    process: Option<u32>,
    /// Only this process, as well
    #[arg(long, value_parser = pid)]
    pid: Option<u32>,
    /// How long to record, as 10s, 500ms or plain seconds [default: until
    /// Ctrl-C, or until the process ends]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    duration: Option<Duration>,
    /// Print a summary as JSON (times in ns, sizes in bytes)
    #[arg(long)]
    json: bool,
}

fn some_time(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("more than no time: 2s, 500ms or plain seconds".to_owned()),
        time => Ok(time),
    }
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let process = options
        .process
        .or(options.pid)
        .map(ProcessId::of)
        .transpose()?;
    let scope = process.map_or(Scope::All, |process| Scope::Pid(process.pid));
    let file = create(&options.output)?;
    let stop = stop_on_signals()?;
    let out = BufWriter::with_capacity(1 << 20, file);
    let mut recorder = match Recorder::start(Plan::recording(scope), out) {
        Ok(recorder) => recorder,
        Err(e) => {
            // Nothing was recorded: an empty file would look like a trace.
            let _ = std::fs::remove_file(&options.output);
            return Err(e.into());
        }
    };
    let started = Instant::now();
    let mut progress = Progress::start();
    while !stop.load(Relaxed)
        && options.duration.is_none_or(|most| started.elapsed() < most)
        && process.is_none_or(ProcessId::is_alive)
    {
        recorder.turn()?;
        progress.show(|| recorder.progress());
    }
    progress.end();
    let (summary, _) = recorder.finish()?;
    report(options, &summary)?;
    let whole = summary.lost == 0 && summary.recorded > 0;
    Ok(ExitCode::from(u8::from(!whole)))
}

/// Only for its owner: a trace holds other users' arguments.
fn create(path: &Path) -> anyhow::Result<File> {
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    opened.map_err(|e| {
        let shown = path.display();
        let next = match e.kind() {
            ErrorKind::NotFound => "its folder does not exist: make it, or name another",
            ErrorKind::IsADirectory => "that is a folder: name a file in it",
            ErrorKind::PermissionDenied => "its folder does not let this user write: name another",
            ErrorKind::ReadOnlyFilesystem => "nothing can be written there: name another folder",
            ErrorKind::StorageFull => "no room is left there: name another folder",
            _ => "name another file with -o",
        };
        anyhow::anyhow!("cannot create {shown}: {e}; {next}")
    })
}

/// Set by SIGINT and SIGTERM.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt()).context("SIGINT")?,
            signal(SignalKind::terminate()).context("SIGTERM")?,
        )
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            set.store(true, Relaxed);
        })?;
    Ok(stop)
}

/// One line on a terminal, once a second.
struct Progress {
    next: Instant,
    shown: bool,
}

impl Progress {
    fn start() -> Progress {
        Progress {
            next: Instant::now() + Duration::from_secs(1),
            shown: false,
        }
    }

    fn show(&mut self, summary: impl FnOnce() -> Summary) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + Duration::from_secs(1);
        let mut stderr = std::io::stderr();
        if !stderr.is_terminal() {
            return;
        }
        let s = summary();
        self.shown = true;
        let _ = write!(
            stderr,
            "\r\x1b[Krecording {:.0} s: {} of {}, {} lost, {} (Ctrl-C ends it)",
            s.duration_ns.as_secs_f64(),
            counted(s.recorded, "call"),
            counted(s.processes, "process"),
            s.lost,
            size(s.bytes)
        );
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn report(options: &Options, summary: &Summary) -> anyhow::Result<()> {
    for limit in &summary.limits {
        say(limit);
    }
    if summary.lost > 0 {
        let reasons: Vec<String> = summary
            .lost_by_reason
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        say(&format!(
            "{} of {} missing in the trace ({}): record one process with --pid",
            summary.lost,
            match summary.events {
                1 => "1 event is".to_owned(),
                n => format!("{n} events are"),
            },
            reasons.join(", ")
        ));
    }
    if summary.recorded == 0 {
        say(&format!(
            "no call was seen: does anything use {TITLES} just now? `xsched-agent ps` lists the \
             processes that do"
        ));
    }
    if options.json {
        return print_json(summary);
    }
    let waits = measured(summary.waits, "wait");
    print(&format!(
        "{}: {}, {:.1} s, {} and {waits} of {} ({}, {}), {}, {}\nopen it at https://ui.perfetto.dev\n",
        options.output.display(),
        size(summary.bytes),
        summary.duration_ns.as_secs_f64(),
        counted(summary.launches, "launch"),
        counted(summary.processes, "process"),
        counted(summary.threads, "thread"),
        counted(summary.streams, "stream"),
        measured(summary.bursts, "burst"),
        counted(summary.gate_waits, "gate wait"),
    ))
}

/// What was not measured is not zero.
fn measured(n: Option<u64>, one: &str) -> String {
    match n {
        Some(n) => counted(n, one),
        None => format!("an unknown number of {one}s"),
    }
}
