//! A full trace of every process with a runtime, or of one, in a file that Perfetto
//! shows (<https://ui.perfetto.dev>).
//!
//! Perfetto's own format rather than Chrome's JSON: names are numbers, so a
//! launch takes tens of bytes, times are exact in nanoseconds, and lines for
//! streams need no tricks.

mod gates;
mod names;
mod process;
mod scene;
mod threads;
mod writer;

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use xsched_common::bpf::Drop as Lost;
use xsched_common::units::Nanos;
use xsched_host::clock;
use xsched_observe::{CountsError, Drops, Observer, Plan, Returns, Unavailable, Watched};

use gates::Gates;
use perfetto::{CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME};
use scene::Scene;
use writer::{Category, TraceWriter, Track, Value};

pub use scene::GATE_WAIT;
pub use xsched_workload::perfetto;

/// Records that are handled between two looks at anything else.
const BATCH: usize = 65_536;

/// Time between two looks for new images and for losses.
const LOOK: Duration = Duration::from_millis(250);

/// Time between two looks for processes and groups that have joined an agent:
/// their memory maps are read for it.
const SEEK: Duration = Duration::from_millis(700);

/// Time between two looks at an empty ring.
const NAP: Duration = Duration::from_millis(5);

/// A recording that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Probes cannot be set.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The trace cannot be written.
    #[error("cannot write the trace, which is incomplete: {0}")]
    Write(#[from] io::Error),
    /// The kernel does not say what was lost.
    #[error(transparent)]
    Counts(#[from] CountsError),
}

/// What a recording holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Time recorded.
    pub duration_ns: Nanos,
    /// Probe hits, as the kernel counted them.
    pub events: u64,
    /// Of these, handed over and written.
    pub recorded: u64,
    /// Of these, lost; `events` is `recorded` plus `lost`.
    pub lost: u64,
    /// Why, without reasons that did not occur.
    pub lost_by_reason: std::collections::BTreeMap<&'static str, u64>,
    /// Processes that called.
    pub processes: u64,
    /// Their threads that did.
    pub threads: u64,
    /// Streams that were named.
    pub streams: u64,
    /// Launches of kernels and graphs.
    pub launches: u64,
    /// Kernels that have names in the trace: those that were looked up by name
    /// while it was recorded, and those that the program's symbols tell.
    pub kernels: u64,
    /// Waits of the host whose beginning and end were seen; null where ends
    /// are not probed, which `limits` says.
    pub waits: Option<u64>,
    /// Bursts of threads: first launch after idle to the return of a wait;
    /// null as above.
    pub bursts: Option<u64>,
    /// Launches of processes under the shim that waited at the gate.
    pub gate_waits: u64,
    /// Calls of the runtime to its own functions, which are left out.
    pub nested: u64,
    /// Size of the trace.
    pub bytes: u64,
    /// What is not in the trace, and why.
    pub limits: Vec<String>,
}

impl Summary {
    /// Hits that are neither recorded nor known to be lost: zero, or the
    /// recorder is wrong.
    pub fn unaccounted(&self) -> i128 {
        i128::from(self.events) - i128::from(self.recorded) - i128::from(self.lost)
    }
}

/// A recording under way.
pub struct Recorder<W: Write> {
    observer: Observer,
    writer: TraceWriter<W>,
    scene: Scene,
    gates: Gates,
    summary: Summary,
    own: Track,
    drops: Drops,
    started: Instant,
    looked: Instant,
    /// When clients of an agent were last looked for.
    sought: Instant,
}

impl<W: Write> Recorder<W> {
    /// Sets probes and begins the trace. `plan` is
    /// [`Plan::recording`], or near to it.
    ///
    /// # Errors
    /// What this machine lacks, or that `out` cannot be written.
    pub fn start(plan: Plan, out: W) -> Result<Recorder<W>, RecordError> {
        let observer = Observer::start(plan)?;
        let counted = (observer.returns() == Returns::OfWaits).then_some(0);
        let clocks = [
            (CLOCK_REALTIME, clock::unix()),
            (CLOCK_MONOTONIC, clock::monotonic()),
            (CLOCK_BOOTTIME, clock::boottime()),
        ];
        let mut writer = TraceWriter::begin(out, &clocks)?;
        let own = writer.line(None, "xsched-agent record")?;
        let now = Instant::now();
        let (_, drops) = observer.totals()?;
        Ok(Recorder {
            scene: Scene::new(observer.returns()),
            gates: Gates::default(),
            observer,
            writer,
            summary: Summary {
                waits: counted,
                bursts: counted,
                ..Summary::default()
            },
            own,
            drops,
            started: now,
            looked: now,
            sought: now,
        })
    }

    /// Takes in what has happened; returns within about [`LOOK`].
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn turn(&mut self) -> Result<(), RecordError> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.observer.refresh();
            self.note_losses()?;
        }
        if self.sought.elapsed() >= SEEK {
            self.sought = Instant::now();
            self.seek()?;
        }
        self.gates.look(clock::monotonic(), &mut self.writer)?;
        if self.drain()? < BATCH {
            self.observer.wait(NAP);
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<usize, RecordError> {
        let mut records = Vec::new();
        let drained = self
            .observer
            .drain_records(BATCH, |record| records.push(record));
        self.summary.recorded += drained as u64;
        // Behind the calls: a kernel that one launches was looked up before it.
        let mut names = Vec::new();
        self.observer.drain_kernel_names(|name| names.push(name));
        // And behind those: who looks one up has begun before.
        for (pid, at) in self.observer.take_begun() {
            self.ended(pid, at)?;
        }
        let (scene, summary) = (&mut self.scene, &mut self.summary);
        for kernel in &names {
            let end = kernel.name.iter().position(|&byte| byte == 0);
            let name = &kernel.name[..end.unwrap_or(kernel.name.len())];
            let name = String::from_utf8_lossy(name);
            scene.name_kernel(kernel.tgid, kernel.handle, &name, summary);
        }
        for record in &records {
            let writer = &mut self.writer;
            scene.take(record, writer, summary, &mut self.observer)?;
        }
        if drained < BATCH {
            scene.settle(&mut self.writer)?;
        }
        Ok(drained)
    }

    /// Looks for clients of agents, and for processes that are gone.
    fn seek(&mut self) -> io::Result<()> {
        let ended = self.gates.find(self.scene.processes(), &mut self.observer);
        let now = clock::monotonic();
        for pid in ended {
            self.observer.forget(pid);
            self.ended(pid, now)?;
        }
        self.scene
            .forget_early(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        Ok(())
    }

    /// The program of a process has ended.
    fn ended(&mut self, pid: u32, at: Nanos) -> io::Result<()> {
        self.scene.ended(pid, at);
        self.gates.ended(pid, at, &mut self.writer)
    }

    /// Losses are in the trace where they happened, not only at its end.
    fn note_losses(&mut self) -> Result<(), RecordError> {
        let (_, drops) = self.observer.totals()?;
        let new = drops.since(&self.drops);
        self.drops = drops;
        for reason in Lost::ALL.into_iter().filter(|&reason| new.of(reason) > 0) {
            let details = [
                ("reason", Value::Text(reason.name())),
                ("events", Value::Number(new.of(reason))),
            ];
            self.writer.moment(
                self.own,
                clock::monotonic(),
                "lost",
                Category::Recording,
                &details,
            )?;
        }
        Ok(())
    }

    /// How it goes.
    pub fn progress(&self) -> Summary {
        Summary {
            duration_ns: Nanos(self.started.elapsed().as_nanos() as u64),
            lost: self.drops.calls(),
            bytes: self.writer.written(),
            ..self.summary.clone()
        }
    }

    /// Takes the probes away, and ends the trace with what is left.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn finish(mut self) -> Result<(Summary, W), RecordError> {
        self.summary.duration_ns = Nanos(self.started.elapsed().as_nanos() as u64);
        self.observer.watch(Watched::nobody());
        while self.drain()? > 0 {}
        self.note_losses()?;
        let now = clock::monotonic();
        self.scene.end(now, &mut self.writer)?;
        self.gates.end(now, &mut self.writer)?;
        let (events, drops) = self.observer.totals()?;
        self.summary.events = events;
        self.summary.lost = drops.calls();
        self.summary.lost_by_reason = Lost::ALL
            .into_iter()
            .filter(|&reason| drops.of(reason) > 0)
            .map(|reason| (reason.name(), drops.of(reason)))
            .collect();
        self.summary.limits = self.observer.limits().map(str::to_owned).collect();
        self.summary.limits.extend(self.scene.limits());
        self.summary.limits.extend(self.gates.limits());
        if let Some(missing) = self.observer.lifecycle_missing() {
            self.summary.limits.push(format!(
                "programs that an exec began count as the one before: {missing}"
            ));
        }
        let details = [
            ("events", Value::Number(events)),
            ("recorded", Value::Number(self.summary.recorded)),
            ("lost", Value::Number(self.summary.lost)),
        ];
        self.writer.moment(
            self.own,
            clock::monotonic(),
            "end of the recording",
            Category::Recording,
            &details,
        )?;
        self.summary.bytes = self.writer.written();
        let out = self.writer.finish()?;
        Ok((self.summary, out))
    }
}
