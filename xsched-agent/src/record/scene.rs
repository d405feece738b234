//! From records of calls to tracks: who called, on which stream, for how
//! long.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;

use xsched_common::bpf::{CallMoment, CallRecord, CallRoute};
use xsched_common::platform::{ArgumentAt, ENTRY_POINTS, EntryPoint, Platform};
use xsched_common::units::{Nanos, StreamClass};
use xsched_host::process;
use xsched_host::text::printable;
use xsched_observe::{Caller, ObjectKind, Observer, Returns, effective_stream};

use super::Summary;
use super::threads::{Thread, Wait};
use super::writer::{Category, TraceWriter, Track, Value};

/// A shim's own work and two probes take a few microseconds; what takes
/// longer has waited at the gate.
pub const GATE_WAIT: Nanos = Nanos::from_micros(20);

/// Streams with a line of their own, per process; further ones share one. A
/// program can make up handles without end.
const MAX_STREAMS: usize = 1_024;

/// Call sites that are remembered per process.
const MAX_CALLERS: usize = 65_536;

/// Kernels whose names are remembered, per process.
const MAX_KERNELS: usize = 65_536;

/// What of a call is shown with it.
#[derive(Clone, Debug)]
struct Call {
    /// The kernel, else the function.
    name: Arc<str>,
    caller: Arc<str>,
    stream: String,
    route: &'static str,
}

/// Who knows what a process was started with, and what is at its addresses. A
/// process can hold up whoever reads its memory map, which they survive.
pub trait Places {
    /// Its program and arguments; none where they cannot be read.
    fn arguments(&mut self, pid: u32) -> Vec<OsString>;
    /// The library that it belongs to.
    fn caller(&mut self, pid: u32, address: u64) -> Caller;
    /// What begins there.
    fn symbol(&mut self, pid: u32, address: u64) -> Option<String>;
}

impl Places for Observer {
    fn arguments(&mut self, pid: u32) -> Vec<OsString> {
        let read = self.read_of(pid, move || process::arguments(pid));
        read.and_then(Result::ok).unwrap_or_default()
    }

    fn caller(&mut self, pid: u32, address: u64) -> Caller {
        Observer::caller(self, pid, address)
    }

    fn symbol(&mut self, pid: u32, address: u64) -> Option<String> {
        Observer::symbol(self, pid, address)
    }
}

struct KnownThread {
    track: Track,
    bursts: Option<Track>,
    thread: Thread<Call>,
}

struct KnownProcess {
    returns: Returns,
    track: Track,
    threads: HashMap<u32, KnownThread>,
    streams: HashMap<u64, Track>,
    others: Option<Track>,
    callers: HashMap<u64, (Arc<str>, ObjectKind)>,
    /// Names of kernels by handle or address; none where nothing tells.
    kernels: HashMap<u64, Option<Arc<str>>>,
}

/// Everybody who was seen in a recording.
pub struct Scene {
    returns: Returns,
    processes: HashMap<u32, KnownProcess>,
    /// Names that were told before the process's first call.
    early: HashMap<(u32, u64), Arc<str>>,
}

impl Scene {
    /// Nobody yet. `returns` says whether the ends of waits are told of.
    pub fn new(returns: Returns) -> Scene {
        Scene {
            returns,
            processes: HashMap::new(),
            early: HashMap::new(),
        }
    }

    /// Everybody's number and line.
    pub fn processes(&self) -> impl Iterator<Item = (u32, Track)> {
        self.processes
            .iter()
            .map(|(pid, known)| (*pid, known.track))
    }

    /// A process has looked a kernel up by its name.
    pub fn name_kernel(&mut self, pid: u32, handle: u64, name: &str, summary: &mut Summary) {
        let name = Arc::from(printable(name));
        summary.kernels += 1;
        match self.processes.get_mut(&pid) {
            Some(known) if known.kernels.len() < MAX_KERNELS => {
                known.kernels.insert(handle, Some(name));
            }
            None if self.early.len() < MAX_KERNELS => {
                self.early.insert((pid, handle), name);
            }
            _ => {}
        }
    }

    /// Takes in a record. `places` finds out what is at an address of its
    /// process.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn take<W: Write>(
        &mut self,
        record: &CallRecord,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
        places: &mut impl Places,
    ) -> io::Result<()> {
        let (Some(entry), Some(moment)) = (
            ENTRY_POINTS.get(usize::from(record.api)),
            CallMoment::from_raw(record.moment),
        ) else {
            return Ok(());
        };
        let process = match self.processes.entry(record.tgid) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                summary.processes += 1;
                let known = new.insert(KnownProcess::introduce(
                    record.tgid,
                    entry.platform,
                    self.returns,
                    writer,
                    places,
                )?);
                let early = self.early.extract_if(|(pid, _), _| *pid == record.tgid);
                let early = early.map(|((_, handle), name)| (handle, Some(name)));
                known.kernels.extend(early);
                known
            }
        };
        match moment {
            CallMoment::Entry => process.entered(record, entry, writer, summary, places),
            CallMoment::Return => process.returned(record, entry, writer, summary),
        }
    }

    /// The recording has ended: waits that go on are shown up to `now`.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn end<W: Write>(&mut self, now: Nanos, writer: &mut TraceWriter<W>) -> io::Result<()> {
        for process in self.processes.values_mut() {
            for known in process.threads.values_mut() {
                // Inner ones end no later than outer ones.
                let waits = known.thread.waiting().into_iter().rev();
                for wait in waits.filter(|wait| ENTRY_POINTS[usize::from(wait.api)].drains()) {
                    let name = ENTRY_POINTS[usize::from(wait.api)].symbol;
                    let details = [
                        ("caller", Value::Text(&wait.call.caller)),
                        ("unfinished", Value::Text("yes")),
                    ];
                    let to = now.max(wait.from);
                    writer.slice(known.track, wait.from, to, name, Category::Wait, &details)?;
                }
            }
        }
        Ok(())
    }
}

impl KnownProcess {
    fn introduce<W: Write>(
        pid: u32,
        platform: Platform,
        returns: Returns,
        writer: &mut TraceWriter<W>,
        places: &mut impl Places,
    ) -> io::Result<KnownProcess> {
        let name = process::stat(pid).map_or_else(
            |_| "(gone too soon to be asked)".to_owned(),
            |stat| stat.comm,
        );
        let arguments = places.arguments(pid);
        let arguments = arguments
            .iter()
            .take(64)
            .map(|argument| printable(&argument.to_string_lossy()))
            .collect();
        Ok(KnownProcess {
            returns,
            track: writer.process(pid, &printable(&name), platform.name(), arguments)?,
            threads: HashMap::new(),
            streams: HashMap::new(),
            others: None,
            callers: HashMap::new(),
            kernels: HashMap::new(),
        })
    }

    fn entered<W: Write>(
        &mut self,
        record: &CallRecord,
        entry: &'static EntryPoint,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
        places: &mut impl Places,
    ) -> io::Result<()> {
        let (caller, kind) = self.caller(record, places);
        let at = Nanos(record.time_ns);
        let drains = entry.drains();
        if kind == ObjectKind::Runtime && !drains {
            // The inner half of a call that is shown already.
            summary.nested += 1;
            return Ok(());
        }
        let class = effective_stream(entry, StreamClass::of_handle(record.stream));
        let through = kind == ObjectKind::Shim || record.route == CallRoute::Shim as u8;
        let route = match through {
            true => "through the shim",
            false => "direct",
        };
        let track = self.thread(record, writer, summary)?.track;
        let waited = Nanos(record.since_shim_ns);
        if waited >= GATE_WAIT {
            summary.gate_waits += 1;
            let entered = Nanos(record.time_ns.saturating_sub(waited.0));
            let details = [("before", Value::Text(entry.symbol))];
            writer.slice(track, entered, at, "gate wait", Category::Gate, &details)?;
        }
        if drains {
            let stream = match entry.stream_at {
                ArgumentAt::Nowhere => "all that it waits for".to_owned(),
                _ => stream_name(record, class),
            };
            if self.returns == Returns::Leave {
                // When it ends nobody tells.
                let details = [
                    ("caller", Value::Text(&caller)),
                    ("stream", Value::Text(&stream)),
                    ("route", Value::Text(route)),
                ];
                return writer.moment(track, at, entry.symbol, Category::Wait, &details);
            }
            let call = Call {
                name: entry.symbol.into(),
                caller,
                stream,
                route,
            };
            self.thread(record, writer, summary)?
                .thread
                .entered(record.api, at, call);
            return Ok(());
        }
        let kernel = match entry.is_launch() {
            true => self.kernel(record, summary, places),
            false => None,
        };
        let name = kernel.clone().unwrap_or_else(|| entry.symbol.into());
        let category = match entry.is_launch() {
            true => Category::Launch,
            false => Category::Copy,
        };
        if entry.is_launch() {
            summary.launches += 1;
            let call = Call {
                name: Arc::clone(&name),
                caller: Arc::clone(&caller),
                stream: stream_name(record, class),
                route,
            };
            let ends_are_told = self.returns == Returns::OfWaits;
            let known = self.thread(record, writer, summary)?;
            known.thread.launched(at);
            if ends_are_told {
                known.thread.entered(record.api, at, call);
            }
        }
        let stream = self.stream(record, class, writer, summary)?;
        let details = [
            ("caller", Value::Text(&caller)),
            ("route", Value::Text(route)),
            ("function", Value::Text(entry.symbol)),
            ("tid", Value::Number(u64::from(record.tid))),
        ];
        writer.moment(stream, at, &name, category, &details)
    }

    /// The name of the kernel that a launch names, if anything tells it.
    fn kernel(
        &mut self,
        record: &CallRecord,
        summary: &mut Summary,
        places: &mut impl Places,
    ) -> Option<Arc<str>> {
        if let Some(known) = self.kernels.get(&record.kernel) {
            return known.clone();
        }
        if record.kernel == 0 || self.kernels.len() >= MAX_KERNELS {
            return None;
        }
        // A handle lies in no file; what stands for a kernel in a program does.
        let name: Option<Arc<str>> = places
            .symbol(record.tgid, record.kernel)
            .map(|name| name.into());
        summary.kernels += u64::from(name.is_some());
        self.kernels.insert(record.kernel, name.clone());
        name
    }

    fn returned<W: Write>(
        &mut self,
        record: &CallRecord,
        entry: &'static EntryPoint,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
    ) -> io::Result<()> {
        let process = self.track;
        let at = Nanos(record.time_ns);
        let known = self.thread(record, writer, summary)?;
        if !entry.drains() {
            let Some(Wait { from, call, .. }) = known.thread.left(record.api) else {
                return Ok(());
            };
            let details = [
                ("caller", Value::Text(&call.caller)),
                ("stream", Value::Text(&call.stream)),
                ("route", Value::Text(call.route)),
                ("function", Value::Text(entry.symbol)),
            ];
            let (track, to) = (known.track, at.max(from));
            return writer.slice(track, from, to, &call.name, Category::Launch, &details);
        }
        let (wait, burst) = known.thread.returned(record.api);
        if let Some(Wait { from, call, .. }) = wait {
            *summary.waits.get_or_insert(0) += 1;
            let details = [
                ("caller", Value::Text(&call.caller)),
                ("stream", Value::Text(&call.stream)),
                ("route", Value::Text(call.route)),
            ];
            let (track, to) = (known.track, at.max(from));
            writer.slice(track, from, to, &call.name, Category::Wait, &details)?;
        }
        if let Some(burst) = burst {
            *summary.bursts.get_or_insert(0) += 1;
            let bursts = match known.bursts {
                Some(track) => track,
                None => {
                    let name = format!("bursts of thread {}", record.tid);
                    *known.bursts.insert(writer.line(Some(process), &name)?)
                }
            };
            let details = [("launches", Value::Number(burst.launches))];
            let to = at.max(burst.from);
            writer.slice(bursts, burst.from, to, "burst", Category::Burst, &details)?;
        }
        Ok(())
    }

    fn caller(&mut self, record: &CallRecord, places: &mut impl Places) -> (Arc<str>, ObjectKind) {
        if let Some((name, kind)) = self.callers.get(&record.caller) {
            return (Arc::clone(name), *kind);
        }
        if self.callers.len() >= MAX_CALLERS {
            return (Arc::from("(others)"), ObjectKind::Others);
        }
        let caller = places.caller(record.tgid, record.caller);
        let known = (Arc::from(caller.object.name.as_str()), caller.object.kind);
        self.callers
            .insert(record.caller, (Arc::clone(&known.0), known.1));
        known
    }

    fn thread<W: Write>(
        &mut self,
        record: &CallRecord,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
    ) -> io::Result<&mut KnownThread> {
        match self.threads.entry(record.tid) {
            std::collections::hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::hash_map::Entry::Vacant(new) => {
                summary.threads += 1;
                let name = process::thread_name(record.tgid, record.tid);
                let name = printable(&name.unwrap_or_default());
                let track = writer.thread(self.track, record.tgid, record.tid, &name)?;
                Ok(new.insert(KnownThread {
                    track,
                    bursts: None,
                    thread: Thread::default(),
                }))
            }
        }
    }

    fn stream<W: Write>(
        &mut self,
        record: &CallRecord,
        class: StreamClass,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
    ) -> io::Result<Track> {
        // Each thread has its own stream per thread.
        let key = match class {
            StreamClass::PerThread => u64::from(record.tid) << 32 | 2,
            _ => record.stream,
        };
        if let Some(&track) = self.streams.get(&key) {
            return Ok(track);
        }
        if self.streams.len() >= MAX_STREAMS {
            return match self.others {
                Some(track) => Ok(track),
                None => {
                    let track = writer.line(Some(self.track), "other streams")?;
                    Ok(*self.others.insert(track))
                }
            };
        }
        summary.streams += 1;
        let track = writer.line(Some(self.track), &stream_name(record, class))?;
        self.streams.insert(key, track);
        Ok(track)
    }
}

fn stream_name(record: &CallRecord, class: StreamClass) -> String {
    match class {
        StreamClass::Null => "null stream".to_owned(),
        StreamClass::Legacy => "legacy stream".to_owned(),
        StreamClass::PerThread => format!("stream of thread {}", record.tid),
        StreamClass::Created if record.stream == 0 => "a stream named before".to_owned(),
        StreamClass::Created => format!("stream {:#x}", record.stream),
    }
}

#[cfg(test)]
mod tests;
