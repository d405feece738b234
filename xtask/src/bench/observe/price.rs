//! What a hit costs the program, ours and bpftrace's, on the same functions.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::super::report::Metric;
use super::super::workbench::{Shim, Workbench};
use super::launcher::{Counted, launcher, observing};
use super::progress;
use crate::dialogue::Dialogue;
use crate::stats::{median, spread};

/// Alternating rounds.
const ROUNDS: usize = 9;
/// Calls timed at once.
const CALLS: u64 = 50_000;
/// The same of a real runtime, which looks for a kernel first.
const REAL_CALLS: u64 = 5_000;
/// Times that they are timed; the median counts.
const TIMES: usize = 5;

/// How long bpftrace has to end.
const ASKED_AGAIN: Duration = Duration::from_secs(3);

/// A function whose calls are timed, in a program of its own.
struct Entry {
    name: &'static str,
    program: Dialogue,
    file: PathBuf,
    kind: &'static str,
    calls: u64,
    bare: Vec<f64>,
    ours: Vec<f64>,
    bpftrace: Vec<f64>,
}

pub fn measure(bench: &Workbench<'_>) -> anyhow::Result<Vec<Metric>> {
    let of = |name: &str| bench.dir.join(name).join("libamdhip64.so.5");
    let mut entries = [
        Entry::new(bench, "endbr64", "endbr64", of("endbr64"))?,
        Entry::new(bench, "push", "push", of("push"))?,
        Entry::shims(bench, "nop5", "push")?,
    ];
    compare(bench, &mut entries)?;
    let [endbr64, push, nop5] = &entries;
    Ok(vec![
        ratio("endbr64_vs_bpftrace", endbr64, endbr64, 0.30),
        ratio("push_vs_bpftrace", push, push, 1.10),
        // Behind the NOP a hit costs what it does on `push`; on it 0.75 would be
        // had, but children of a bare clone die there (observe/site.rs).
        ratio("nop5_vs_bpftrace_push", nop5, push, 1.10),
    ])
}

/// The same on a runtime that the machine's programs find, which begins its functions with `endbr64`.
pub fn of_machines(bench: &Workbench<'_>, file: PathBuf) -> anyhow::Result<Vec<Metric>> {
    let mut entries = [Entry {
        calls: REAL_CALLS,
        ..Entry::new(bench, "endbr64", "none", file)?
    }];
    compare(bench, &mut entries)?;
    let [endbr64] = &entries;
    Ok(vec![ratio("endbr64_vs_bpftrace", endbr64, endbr64, 0.30)])
}

/// Times them in turns: bare, under our probes, under bpftrace's.
fn compare(bench: &Workbench<'_>, entries: &mut [Entry]) -> anyhow::Result<()> {
    for round in 1..=ROUNDS {
        for entry in &mut *entries {
            let bare = entry.time()?;
            entry.bare.push(bare);
            let pid = entry.program.pid().to_string();
            let file = entry.file.display().to_string();
            let ours = observing(bench, &["price", entry.kind, &file, &pid])?;
            let probed = entry.time()?;
            entry.ours.push(probed - bare);
            let counted = Counted::of(ours)?;
            ensure!(
                counted.events >= entry.calls * TIMES as u64 || entry.kind == "shim",
                "our probes on {} missed calls: {counted:?}",
                entry.name
            );
            // On the shim's export bpftrace is not compared.
            if entry.kind == "runtime" {
                let theirs = Bpftrace::start(bench, &file, &mut entry.program)?;
                let probed = entry.time()?;
                entry.bpftrace.push(probed - bare);
                theirs.stop(entry.calls * TIMES as u64)?;
            }
        }
        let now: Vec<String> = entries.iter().map(Entry::last).collect();
        progress(&format!(
            "price of a call, round {round} of {ROUNDS}: {}",
            now.join("; ")
        ));
    }
    Ok(())
}

/// Ours on one entry over bpftrace's on another, round by round.
fn ratio(name: &'static str, ours: &Entry, theirs: &Entry, bound: f64) -> Metric {
    let rounds = ours.ours.iter().zip(&theirs.bpftrace);
    let ratios: Vec<f64> = rounds.map(|(ours, theirs)| ours / theirs).collect();
    Metric::at_most(name, "x", median(&ratios), bound)
        .spread(spread(&ratios))
        .detail(format!(
            "{:.0} ns on {}, bpftrace {:.0} ns on {}, unprobed {:.0} ns",
            median(&ours.ours),
            ours.name,
            median(&theirs.bpftrace),
            theirs.name,
            median(&ours.bare),
        ))
}

impl Entry {
    /// A runtime's function; the program finds that in the folder `runtime`.
    fn new(
        bench: &Workbench<'_>,
        name: &'static str,
        runtime: &str,
        file: PathBuf,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            name,
            program: launcher(bench, runtime, Shim::Without, &[])?,
            file,
            kind: "runtime",
            calls: CALLS,
            bare: Vec::new(),
            ours: Vec::new(),
            bpftrace: Vec::new(),
        })
    }

    /// The shim's export before that.
    fn shims(bench: &Workbench<'_>, name: &'static str, runtime: &str) -> anyhow::Result<Self> {
        Ok(Self {
            program: launcher(bench, runtime, Shim::With, &[])?,
            kind: "shim",
            ..Self::new(bench, name, runtime, bench.built.file("libxsched_shim.so"))?
        })
    }

    fn time(&mut self) -> anyhow::Result<f64> {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            times.push(self.program.number(&format!("calls {}", self.calls))?);
        }
        Ok(median(&times))
    }

    fn last(&self) -> String {
        let last = |values: &[f64]| values.last().map_or("-".to_owned(), |v| format!("{v:.0}"));
        format!(
            "{} {} ns, bpftrace {}",
            self.name,
            last(&self.ours),
            last(&self.bpftrace)
        )
    }
}

/// bpftrace, counting a function's calls by process.
struct Bpftrace(Dialogue);

/// It compiles its program first.
const START: Duration = Duration::from_secs(30);

impl Bpftrace {
    fn start(
        bench: &Workbench<'_>,
        file: &str,
        program: &mut Dialogue,
    ) -> anyhow::Result<Bpftrace> {
        let source = format!("uprobe:{file}:hipLaunchKernel {{ @[pid] = count(); }}");
        // It complains about machines without tracefs and works all the same.
        let complaints = bench.dir.join("bpftrace.log");
        let mut command = Command::new("bpftrace");
        command
            .args(["-e", &source])
            .stderr(File::create(&complaints)?);
        let running = Bpftrace(Dialogue::start(&mut command, "bpftrace")?);
        // It says that it attaches before it does: its probe shows in the
        // price of a call.
        let bare = program.number("calls 1000")?;
        let deadline = Instant::now() + START;
        while program.number("calls 1000")? < 3.0 * bare + 100.0 {
            ensure!(
                Instant::now() < deadline,
                "bpftrace does not attach: {}",
                std::fs::read_to_string(&complaints)?
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    /// Ends it, and looks whether it counted so many calls.
    fn stop(mut self, calls: u64) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.0.pid().cast_signed()).context("a pid")?;
        let (ended, end) = channel::<()>();
        let counted = std::thread::scope(|scope| {
            // 0.17 misses a signal now and then, and waits for ever.
            scope.spawn(move || {
                while kill_process(pid, Signal::INT).is_ok()
                    && end.recv_timeout(ASKED_AGAIN) == Err(RecvTimeoutError::Timeout)
                {
                }
            });
            let mut counted = 0;
            while let Ok(line) = self.0.line() {
                if let Some((_, count)) = line.split_once("]: ") {
                    counted += count.parse::<u64>().unwrap_or(0);
                }
            }
            drop(ended);
            counted
        });
        // It loses some now and then (239,280 of 250,000 once).
        ensure!(
            counted * 10 >= calls * 9,
            "bpftrace counted {counted} calls of {calls}"
        );
        Ok(())
    }
}
